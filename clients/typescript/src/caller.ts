/** What every call of a client goes through: its deadline, its signal, and another try where that is safe. */

import type { CallOptions } from "./calls.js";
import type { Connection } from "./connection.js";
import { asRunwrightError } from "./diagnosis.js";
import { backoff, Operations, sleep, TRIES } from "./patience.js";

/** Calls over one connection. */
export abstract class Caller {
  protected readonly operations = new Operations();

  protected constructor(
    protected readonly connection: Connection,
    protected readonly deadlineMs: number,
  ) {}

  /** Every call here may be sent again: reads, starts with an id, cancels, registrations. */
  protected async call<T>(
    options: CallOptions | undefined,
    send: (call: { signal: AbortSignal; timeoutMs: number }) => Promise<T>,
  ): Promise<T> {
    const operation = this.operations.begin(options?.signal);
    const end = performance.now() + (options?.deadlineMs ?? this.deadlineMs);
    try {
      for (let failures = 1; ; failures++) {
        const timeoutMs = timeout(end - performance.now());
        try {
          const answer = await send({ signal: operation.signal, timeoutMs });
          this.connection.peer.heard = true;
          return answer;
        } catch (thrown) {
          operation.signal.throwIfAborted();
          const error = asRunwrightError(thrown, this.connection.peer);
          const delay = backoff(failures, error, 4); // the tries together outlast a restart
          const isLast = failures === TRIES || performance.now() + delay >= end;
          if (isLast || !error.retryable || error.code !== "UNAVAILABLE") throw error;
          await sleep(delay, operation.signal);
        }
      }
    } finally {
      operation.done();
    }
  }
}

/** Milliseconds as gRPC takes them: whole, and with at most eight digits. */
export function timeout(ms: number): number {
  return Math.max(1, Math.min(Math.ceil(ms), 99_999_999));
}

/** The main part of an answer; throws where the server left it out. */
export function present<T>(message: T | undefined): T {
  if (message === undefined) throw asRunwrightError(new Error("The server's answer lacks its main part."));
  return message;
}
