/** Waiting and trying again: backoff, sleeping under a signal, operations that end with their client. */

import { closedError, type RunwrightError } from "./errors.js";

const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 5_000;

/** Milliseconds to wait after so many failures in a row: doubling up to 5 s, with jitter, at least what the server asks. */
export function backoff(failures: number, error: RunwrightError): number {
  const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures - 1, 16));
  const asked = 1000 * Number.parseFloat(error.metadata["retry_after"] ?? "0");
  return Math.max(delay * (0.5 + Math.random() / 2), Math.min(asked || 0, LONGEST_DELAY_MS));
}

/** Sleeps, or rejects with the signal's reason. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const leave = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", leave);
      resolve();
    }, ms);
    signal.addEventListener("abort", leave, { once: true });
  });
}

/** The operations of one client that are under way, ended together when it closes. */
export class Operations {
  readonly #running = new Set<AbortController>();
  #isClosed = false;

  /** A new operation, which the caller's signal ends as well. Must be given back with `done`. */
  begin(signal?: AbortSignal): Operation {
    if (this.#isClosed) throw closedError();
    signal?.throwIfAborted();
    const controller = new AbortController();
    const leave = (): void => {
      controller.abort(signal?.reason);
    };
    signal?.addEventListener("abort", leave, { once: true });
    this.#running.add(controller);
    const done = (): void => {
      signal?.removeEventListener("abort", leave);
      this.#running.delete(controller);
    };
    return { controller, signal: controller.signal, done };
  }

  /** Ends all of them; new ones are refused. */
  close(): void {
    this.#isClosed = true;
    for (const controller of [...this.#running]) controller.abort(closedError());
  }
}

/** One of {@link Operations}. */
export interface Operation {
  readonly controller: AbortController;
  readonly signal: AbortSignal;
  readonly done: () => void;
}
