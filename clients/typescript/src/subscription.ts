/** A stream of events that comes back by itself. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import { asRunwrightError, type Peer } from "./diagnosis.js";
import { RepairNeeded, RunwrightError } from "./errors.js";
import { type Event, type EventFrame, EventKind } from "./gen/runwright/v1/event_pb.js";
import { type RunSnapshot, RunStatus } from "./gen/runwright/v1/run_pb.js";
import type {
  EventFilterSchema,
  EventView,
  StreamScope,
  SubscribeRequestSchema,
  SubscribeResponse,
} from "./gen/runwright/v1/runtime_service_pb.js";
import { Contact, type Operations, sleep } from "./patience.js";

/** Options of {@link Client.subscribe}. */
export interface SubscribeOptions {
  /** Where to go on: the cursor of the last frame seen. Absent: from the beginning. */
  readonly after?: string;
  /** Only what happens from now on; not beside `after`. */
  readonly liveOnly?: boolean;
  /** Which events of the scope. A cursor is good for the scope and filter it was made for. */
  readonly filter?: MessageInitShape<typeof EventFilterSchema>;
  /** `EventView.FULL` for the content that events refer to. */
  readonly view?: EventView;
  /** Also the text of models while they answer, as events of kind MODEL_STREAM_DELTA, which are not stored. */
  readonly deltas?: boolean;
  /**
   * Ends the stream of one run, read without a filter, as soon as {@link Client.wait} would return: also when the run
   * needs repair or is HELD.
   */
  readonly untilDone?: boolean;
  /**
   * Goes on while a run needs repair, for whoever waits until somebody else has settled it. Absent: the stream of one run,
   * read without a filter, ends with {@link RepairNeeded} then.
   */
  readonly throughRepair?: boolean;
  /** Leaves the stream; reading then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Told of each connection that broke or could not be made. */
  readonly onReconnect?: (error: RunwrightError) => void;
}

const ASK_AGAIN_MS = 1_000; // after nobody could say how a run stands

type Request = MessageInitShape<typeof SubscribeRequestSchema>;

/** The server that is asked, and how long it may take to open a stream. */
export interface Served {
  readonly openMs: number;
  readonly peer: Peer;
  /** As {@link Client.snapshot}. */
  readonly snapshot: (runId: string, signal: AbortSignal) => Promise<RunSnapshot>;
  /** As {@link Client.wait}. */
  readonly wait: (runId: string, signal: AbortSignal) => Promise<RunSnapshot>;
}

/** Opens one stream. */
export type OpenStream = (request: Request, call: { signal: AbortSignal }) => AsyncIterable<SubscribeResponse>;

/**
 * Frames in order, each event once. To leave it, end the `for await` loop, call {@link Subscription.close}, or use
 * `await using`; leaving never cancels a run.
 */
export class Subscription implements AsyncIterableIterator<EventFrame>, AsyncDisposable {
  readonly #frames: AsyncGenerator<EventFrame, void, undefined>;
  readonly #left = new AbortController();
  #cursor: string;
  #reconnects = 0;
  #seq = 0n; // of the last event that was handed out
  #standing: RunSnapshot | undefined;
  #isAsked = false; // how the run stands
  #isToAsk = false;
  #isStanding = false; // and its reader has had everything: the stream was left for that

  /** Made by {@link Client.subscribe}. */
  constructor(open: OpenStream, operations: Operations, scope: StreamScope, options: SubscribeOptions, server: Served) {
    this.#cursor = options.after ?? "";
    if (options.untilDone && (scope.scope.case !== "runId" || options.filter !== undefined || options.throughRepair)) {
      throw new TypeError("untilDone: only of one run, without a filter, and not throughRepair.");
    }
    this.#frames = this.#follow(open, operations, scope, options, server);
  }

  /** Where to come back to: the cursor of the last frame that was handed out, exclusive. */
  get cursor(): string {
    return this.#cursor;
  }

  /** How often the stream had to be opened again. */
  get reconnects(): number {
    return this.#reconnects;
  }

  /** The next frame. */
  next(): Promise<IteratorResult<EventFrame, void>> {
    return this.#frames.next();
  }

  /** Leaves the stream. */
  async return(): Promise<IteratorResult<EventFrame, void>> {
    this.#left.abort();
    return this.#frames.return();
  }

  /** Leaves the stream; a read that waits ends as if the stream had. */
  async close(): Promise<void> {
    await this.return();
  }

  /** As {@link Subscription.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Only the events, without bookmarks and gaps. Leaving them leaves the subscription. */
  async *events(): AsyncGenerator<Event, void, undefined> {
    for await (const frame of this) if (frame.item.case === "event") yield frame.item.value;
  }

  /** Finds out whether the run stands still; ends the stream once all of its events have been handed out. */
  async #awaitDone(server: Served, runId: string, signal: AbortSignal): Promise<void> {
    try {
      const run = await server.wait(runId, signal);
      if (run.status !== RunStatus.REPAIR_NEEDED && run.status !== RunStatus.HELD) return;
      this.#standing = run;
      if (this.#isOver()) this.#left.abort();
    } catch {
      // The stream meets the same, and says so.
    }
  }

  /** Whether nothing more is to come of a run that stands still. */
  #isOver(frame?: EventFrame): boolean {
    if (frame?.item.case === "event" && frame.item.value.seq > this.#seq) this.#seq = frame.item.value.seq;
    const run = this.#standing;
    return run !== undefined && (this.#seq >= run.lastSeq || this.#cursor === run.lastCursor);
  }

  /** Asks how the run stands, where a reader is told that it needs repair, unless it is being asked. */
  async #look(server: Served, runId: string, signal: AbortSignal): Promise<void> {
    if (this.#isAsked) return;
    this.#isAsked = true;
    try {
      for (;;) {
        this.#isToAsk = false;
        const run = await asked(server, runId, signal);
        const stands = run.status === RunStatus.REPAIR_NEEDED;
        // One that stands still has no next frame with which to ask: what came meanwhile is asked about at once.
        if (stands ? this.#seq > run.lastSeq : this.#isToAsk) continue;
        if (stands) this.#standing = run;
        break;
      }
      if (this.#isOver()) {
        this.#isStanding = true;
        this.#left.abort();
      }
    } catch {
      this.#isToAsk = true; // the stream was left meanwhile
    } finally {
      this.#isAsked = false;
    }
  }

  /** What an event says of repair, where a reader is told of it. */
  #noteRepair({ item }: EventFrame, look: () => void): void {
    if (item.case === "event") {
      if (item.value.kind === EventKind.TOOL_RECOVERY_REQUIRED) this.#isToAsk = true;
      if (this.#standing !== undefined && item.value.seq > this.#standing.lastSeq) {
        this.#standing = undefined; // it has gone on since it was asked
        this.#isToAsk = true;
      }
    }
    if (this.#isToAsk) look();
  }

  async *#follow(
    open: OpenStream,
    operations: Operations,
    scope: StreamScope,
    options: SubscribeOptions,
    server: Served,
  ): AsyncGenerator<EventFrame, void, undefined> {
    const operation = operations.begin(options.signal);
    this.#left.signal.addEventListener("abort", () => {
      operation.controller.abort(this.#left.signal.reason);
    });
    const { after: afterCursor, liveOnly, filter, view, deltas: includeDeltas } = options;
    const request: Request = { scope, afterCursor, liveOnly, filter, view, includeDeltas };
    const { openMs, peer } = server;
    const contact = new Contact(openMs);
    const isOne = scope.scope.case === "runId" && filter === undefined;
    const tells = isOne && !options.untilDone && !options.throughRepair;
    const runId = scope.scope.case === "runId" ? scope.scope.value : "";
    const look = (): void => void this.#look(server, runId, operation.signal);
    if (options.untilDone) void this.#awaitDone(server, runId, operation.signal);
    if (tells && (afterCursor !== undefined || liveOnly)) look(); // what says so may have come before
    let isKnown = false;
    try {
      for (;;) {
        try {
          for await (const frame of readStream(open, request, operation.signal, server)) {
            contact.made();
            peer.heard = true;
            const isOpening = frame.item.case === "bookmark" && frame.item.value.opening;
            const isKnownAgain = isKnown && isOpening;
            isKnown = true;
            request.afterCursor = this.#cursor = frame.cursor;
            request.liveOnly = false;
            // A stream that was opened again begins with a bookmark of the place that is known.
            if (!isKnownAgain) yield frame;
            if (tells) this.#noteRepair(frame, look);
            if (this.#isOver(frame)) {
              if (tells && this.#standing !== undefined) throw new RepairNeeded(this.#standing);
              return;
            }
          }
          if (scope.scope.case === "runId") return;
          throw away(`${peer.address} ended a stream that has no end.`);
        } catch (thrown) {
          operation.signal.throwIfAborted();
          if (thrown instanceof RepairNeeded) throw thrown;
          const error = asRunwrightError(thrown, peer);
          const delay = contact.lost(error);
          this.#reconnects++;
          options.onReconnect?.(error);
          await sleep(delay, operation.signal);
        }
      }
    } catch (thrown) {
      if (!this.#left.signal.aborted) throw thrown;
      if (this.#isStanding && this.#standing !== undefined) throw new RepairNeeded(this.#standing);
    } finally {
      operation.controller.abort(); // or what is asked beside it would outlive the stream
      operation.done();
    }
  }
}

/** How the run stands, asked until there is an answer: one that stands still has no next frame with which to ask. */
async function asked(server: Served, runId: string, signal: AbortSignal): Promise<RunSnapshot> {
  for (;;) {
    try {
      return await server.snapshot(runId, signal);
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      await sleep(ASK_AGAIN_MS, signal);
    }
  }
}

/** One stream. A server that does not even open it in time is as good as away. */
async function* readStream(
  open: OpenStream,
  request: Request,
  signal: AbortSignal,
  { openMs, peer }: Served,
): AsyncGenerator<EventFrame, void, undefined> {
  const attempt = new AbortController();
  const leave = (): void => {
    attempt.abort(signal.reason);
  };
  signal.addEventListener("abort", leave, { once: true });
  let late: RunwrightError | undefined;
  const timer = setTimeout(() => {
    late = away(`${peer.address} did not answer in time.`);
    attempt.abort(late);
  }, openMs);
  try {
    for await (const response of open(request, { signal: attempt.signal })) {
      clearTimeout(timer);
      yield* response.frames;
    }
  } catch (thrown) {
    throw late ?? thrown;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", leave);
    attempt.abort(); // ends the RPC of a reader that left
  }
}

/** What a server says that does not say anything. */
export function away(message: string): RunwrightError {
  const remedy = "Try again, and look at the server's log.";
  return new RunwrightError({
    reason: "UNAVAILABLE",
    code: "UNAVAILABLE",
    message,
    remedy,
    retryable: true,
    isBare: true,
  });
}
