/** Waiting and trying again: backoff, sleeping under a signal, operations that end with their client. */

import { closedError, type RunwrightError } from "./errors.js";

/** How often a call that is safe to repeat is sent at most. */
export const TRIES = 5;
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 5_000;

/** Milliseconds to wait after so many failures in a row: from 0.1 s up to 5 s, with jitter, at least what the server asks. */
export function backoff(failures: number, error: RunwrightError, growth = 2): number {
  const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * growth ** Math.min(failures - 1, 16));
  return Math.max(delay * (0.5 + Math.random() / 2), Math.min(error.retryAfterMs, LONGEST_DELAY_MS));
}

/** How a stream or a wait, which goes on for as long as it takes, stands with its server. */
export class Contact {
  readonly #giveUpAt: number;
  #everMade = false;
  #failures = 0;

  /** A server that has never answered is given up after that time: an address that is wrong does not get right. */
  constructor(giveUpAfterMs: number) {
    this.#giveUpAt = performance.now() + giveUpAfterMs;
  }

  /** True once the server has answered. */
  get isMade(): boolean {
    return this.#everMade;
  }

  /** The server answered. */
  made(): void {
    this.#everMade = true;
    this.#failures = 0;
  }

  /** The call failed. Returns how long to wait before the next, or throws what does not pass by waiting. */
  lost(error: RunwrightError): number {
    this.#failures++;
    const isLate = !this.#everMade && performance.now() >= this.#giveUpAt;
    if (isLate || !(error.retryable || (this.#failures < TRIES && isUnexplained(error)))) throw error;
    return backoff(this.#failures, error);
  }
}

/** What a dying process or a proxy says, without the server's own words. It is not believed for ever. */
function isUnexplained(error: RunwrightError): boolean {
  const codes = ["CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"];
  return error.isBare && codes.includes(error.code);
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
