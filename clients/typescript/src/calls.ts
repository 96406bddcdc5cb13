/** What the calls of a client take and give. */

import { randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { BudgetSchema } from "./gen/runwright/v1/package_pb.js";
import {
  type EffectResolution,
  type OnBusy,
  type OpenEffect,
  PackageSelectorSchema,
  type Resolution,
  type RunSnapshot,
} from "./gen/runwright/v1/run_pb.js";
import { shown } from "./options.js";

/** Options of every call. */
export interface CallOptions {
  /** How long the call may take, with all its tries. Absent: as the client says. */
  readonly deadlineMs?: number;
  /** Gives the call up; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Options of `Client.start`. */
export interface StartOptions extends CallOptions {
  /** The run's id, the key of idempotency. Absent: a new UUID, so that the call can be tried again safely. */
  readonly runId?: string;
  /** Groups the runs of one conversation. */
  readonly sessionId?: string;
  /** The turn's id, carried through. */
  readonly turnId?: string;
  /** The agent that is expected to answer; another than the package's is refused. */
  readonly agentId?: string;
  /** Which package answers: its id, `@TAG` or its fingerprint. Absent: the server's default. */
  readonly package?: string | { packageId: string } | { tag: string } | { fingerprint: string };
  /** Limits below the package's. */
  readonly budget?: MessageInitShape<typeof BudgetSchema>;
  /** Words of the caller, at most 16. */
  readonly labels?: Record<string, string>;
  /** What to do when a run of the session has not ended. */
  readonly onBusy?: OnBusy;
  /** W3C trace that the run belongs to. */
  readonly traceParent?: string;
}

/** What `Client.start` gives. */
export interface Started {
  /** The run as it stands. */
  readonly run: RunSnapshot;
  /** True when this call started it, false when it was there. After a call that was tried again, false is possible for a new run. */
  readonly created: boolean;
}

/** What `Client.cancel` gives. */
export interface Cancelled {
  /** The run as it stands. */
  readonly run: RunSnapshot;
  /** Sequence number of the event after which no new effect starts; 0 when the run ended without a cancel. */
  readonly barrierSeq: bigint;
}

/** What became of a call whose outcome is unknown; see `Client.resolveEffect`. */
export interface Decision {
  readonly runId: string;
  readonly effectId: string;
  /** The attempt whose outcome is unknown. */
  readonly attempt: number;
  readonly resolution: Resolution;
  /** The result of a call that HAPPENED, and nothing for any other; JSON unless `mediaType` says otherwise. */
  readonly result?: Uint8Array;
  readonly mediaType?: string;
  /** What the model is told of a call that FAILED. */
  readonly message?: string;
  /** Why, for the record. */
  readonly reason?: string;
  /** Makes two requests the same one. Absent: a new id. */
  readonly requestId?: string;
}

/** What `Client.resolveEffect` gives. */
export interface Resolved {
  /** The run as it stands. */
  readonly run: RunSnapshot;
  /** The decision on record. */
  readonly decision: EffectResolution | undefined;
  /** False when the same request had decided before. */
  readonly resolved: boolean;
}

/** A call whose outcome is unknown. `run.waitingOn` says whose executor it was sent to, and since when. */
export interface UnknownEffect {
  readonly run: RunSnapshot;
  readonly effect: OpenEffect;
}

/** What `Client.wait` gives. */
export interface Waited {
  /** The run as it stands. */
  readonly run: RunSnapshot;
  /** True when it has ended, needs repair or is HELD, false when the time was over. */
  readonly done: boolean;
}

/** Which tag to move, as options of `Client.putPackage` and `Client.tagPackage`. */
export interface TagOptions extends CallOptions {
  /** Where the tag must point before: a fingerprint, or empty for nowhere. Absent: wherever it does. */
  readonly expectedPrevious?: string;
  /** The request's id: sent again it changes nothing. Absent: a new UUID, so that the call can be tried again safely. */
  readonly requestId?: string;
}

/** Texts as messages hold them. */
export function bytes(texts: readonly string[] = []): Uint8Array<ArrayBuffer>[] {
  const encoder = new TextEncoder();
  return texts.map((text) => encoder.encode(text));
}

/** A package as a request names it. */
export function selector(named: NonNullable<StartOptions["package"]>) {
  const of = (name: "packageId" | "tag" | "fingerprint", value: string) =>
    create(PackageSelectorSchema, { selector: { case: name, value } });
  if (typeof named === "string" && named.startsWith("@")) return of("tag", named.slice(1));
  if (typeof named === "string") return of(named.startsWith("sha256:") ? "fingerprint" : "packageId", named);
  if ("packageId" in named) return of("packageId", named.packageId);
  if ("tag" in named) return of("tag", named.tag);
  if ("fingerprint" in named) return of("fingerprint", named.fingerprint);
  const known = "an id, @TAG, a fingerprint, { packageId }, { tag } or { fingerprint }";
  throw new TypeError(`package must be ${known}, not ${shown(named)}.`);
}

/** The part of a request that its repetition is known by. */
export function changed(options: TagOptions) {
  return { expectedPreviousFingerprint: options.expectedPrevious, requestId: options.requestId ?? randomUUID() };
}
