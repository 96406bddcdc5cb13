/** The one error of this client, and how it is read from a failed call. */

import { Code, ConnectError } from "@connectrpc/connect";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { EffectState, type OpenEffect, type RunSnapshot } from "./gen/runwright/v1/run_pb.js";
import { AgentErrorSchema, RetryClass } from "./gen/runwright/v1/error_pb.js";

/** What a {@link RunwrightError} is made of. */
export interface ErrorFields {
  readonly reason: string;
  readonly code: string;
  readonly message: string;
  readonly remedy?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly retryable?: boolean;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
  /** True when no Runwright server said it, only gRPC or the connection. */
  readonly isBare?: boolean;
}

/** Why a call failed, in the server's words where it had any. */
export class RunwrightError extends Error {
  /** The reason without prefix, such as `RUN_NOT_FOUND`; the name of the status when the server gave none. */
  readonly reason: string;
  /** The name of the gRPC status, such as `NOT_FOUND`. */
  readonly code: string;
  /** What to do, for a person; may be empty. */
  readonly remedy: string;
  /** What the reason documents, such as `run_id` or `field`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** True when the same request may succeed later. */
  readonly retryable: boolean;
  /** How long the server asks to wait before the next try, in milliseconds; 0 when it does not say. */
  readonly retryAfterMs: number;

  /** True when no Runwright server said it, only gRPC or the connection. */
  readonly isBare: boolean;

  /** Mostly made by the client itself. */
  constructor(fields: ErrorFields) {
    super(fields.message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.name = "RunwrightError";
    this.reason = fields.reason;
    this.code = fields.code;
    this.remedy = fields.remedy ?? "";
    this.metadata = fields.metadata ?? {};
    this.retryable = fields.retryable ?? false;
    this.retryAfterMs = fields.retryAfterMs ?? 0;
    this.isBare = fields.isBare ?? false;
  }
}

/**
 * How a loop over the events of a run ends that goes on only once somebody says what became of a call: see
 * {@link Client.resolveEffect}. All events so far have been handed out, and `subscribe` goes on with `after`. Its reason is
 * `REPAIR_NEEDED`.
 */
export class RepairNeeded extends RunwrightError {
  /** The run as it stands. */
  readonly run: RunSnapshot;
  /** The calls whose outcome is unknown. */
  readonly effects: readonly OpenEffect[];

  /** Made by a subscription. */
  constructor(run: RunSnapshot) {
    const effects = run.openEffects.filter((effect) => effect.state === EffectState.UNKNOWN);
    const { effectId = "", tool = "", attempt = 0 } = effects[0] ?? {};
    const of = `${effectId} ${tool}, attempt ${String(attempt)}`;
    const words = `runwright effects resolve ${run.runId} ${effectId} --attempt ${String(attempt)} --as …`;
    super({
      reason: "REPAIR_NEEDED",
      code: "FAILED_PRECONDITION",
      message: `The run ${run.runId} needs repair: nobody knows what became of ${of}.`,
      remedy: `Say what became of it, with resolveEffect or \`${words}\`, then go on after the cursor.`,
      metadata: { run_id: run.runId, effect_id: effectId, attempt: String(attempt) },
    });
    this.name = "RepairNeeded";
    this.run = run;
    this.effects = effects;
  }
}

/** The error of a client that was closed. */
export function closedError(): RunwrightError {
  const message = "The client is closed.";
  return new RunwrightError({ reason: "CLIENT_CLOSED", code: "CANCELLED", message, remedy: "Connect a new client." });
}

/** What the server says itself, if it does. */
export function fromDetails(error: ConnectError): RunwrightError | undefined {
  const [info] = error.findDetails(ErrorInfoSchema);
  const [detail] = error.findDetails(AgentErrorSchema);
  const code = codeName(error.code);
  if (detail) {
    return new RunwrightError({
      reason: detail.reasonName || (info?.reason ?? code),
      code,
      message: detail.message,
      remedy: detail.remedy,
      metadata: detail.metadata,
      retryable: detail.retryClass === RetryClass.RETRYABLE,
      retryAfterMs: detail.retryAfter && durationMs(detail.retryAfter),
      cause: error,
    });
  }
  if (!info) return undefined;
  const retryable = error.code === Code.Unavailable;
  const { reason, metadata } = info;
  return new RunwrightError({ reason, code, message: error.rawMessage, metadata, retryable, cause: error });
}

/** `NotFound` as gRPC spells it, `NOT_FOUND`. */
export function codeName(code: Code): string {
  if (code === Code.Canceled) return "CANCELLED";
  return ((Code[code] as string | undefined) ?? "Unknown").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
