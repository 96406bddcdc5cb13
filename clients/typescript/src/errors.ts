/** The one error of this client, and how it is read from a failed call. */

import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { AgentErrorSchema, ErrorReason, RetryClass } from "./gen/runwright/v1/error_pb.js";

/** What a {@link RunwrightError} is made of. */
export interface ErrorFields {
  readonly reason: string;
  readonly code: string;
  readonly message: string;
  readonly remedy?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly retryable?: boolean;
  readonly cause?: unknown;
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

  /** Mostly made by the client itself. */
  constructor(fields: ErrorFields) {
    super(fields.message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.name = "RunwrightError";
    this.reason = fields.reason;
    this.code = fields.code;
    this.remedy = fields.remedy ?? "";
    this.metadata = fields.metadata ?? {};
    this.retryable = fields.retryable ?? false;
  }
}

/** The error of a client that was closed. */
export function closedError(): RunwrightError {
  const message = "The client is closed.";
  return new RunwrightError({ reason: "CLIENT_CLOSED", code: "CANCELLED", message, remedy: "Connect a new client." });
}

/** What a call failed with as a {@link RunwrightError}; for calls of the generated clients, the others do it themselves. */
export function asRunwrightError(thrown: unknown): RunwrightError {
  if (thrown instanceof RunwrightError) return thrown;
  const error = ConnectError.from(thrown);
  return fromDetails(error) ?? (wasAnswered(error) ? bare(error, error.code) : fromTransport(error));
}

function fromDetails(error: ConnectError): RunwrightError | undefined {
  const [info] = error.findDetails(ErrorInfoSchema);
  const [detail] = error.findDetails(AgentErrorSchema);
  const code = codeName(error.code);
  if (detail) {
    return new RunwrightError({
      reason: reasonName(detail.reason) ?? info?.reason ?? `REASON_${String(detail.reason)}`,
      code,
      message: detail.message,
      remedy: detail.remedy,
      metadata: detail.metadata,
      retryable: detail.retryClass === RetryClass.RETRYABLE,
      cause: error,
    });
  }
  if (!info) return undefined;
  const retryable = error.code === Code.Unavailable;
  const { reason, metadata } = info;
  return new RunwrightError({ reason, code, message: error.rawMessage, metadata, retryable, cause: error });
}

/** Undefined for a reason that is newer than this client: it has a name in the ErrorInfo only. */
function reasonName(reason: ErrorReason): string | undefined {
  return ErrorReason[reason];
}

/** The words that the transport has for a connection that broke: a reset, a stream without a status, a lost peer. */
const BROKEN = new Set([Code.Aborted, Code.Internal, Code.Canceled, Code.ResourceExhausted, Code.Unavailable]);

/** True when the status is the server's own. */
function wasAnswered(error: ConnectError): boolean {
  return error.metadata.has("grpc-status") || !BROKEN.has(error.code);
}

/** A failure on this side: of the connection, unless its cause is none of Node's, such as a message that has no form. */
function fromTransport(error: ConnectError): RunwrightError {
  const nodeCode = nodeErrorCode(error);
  if (error.cause instanceof Error && nodeCode === undefined) return bare(error, error.code);
  // A certificate that is not trusted does not get better by waiting.
  const isLasting = nodeCode !== undefined && /CERT|TLS|SSL|SIGNATURE|HOSTNAME_MISMATCH|ISSUER/.test(nodeCode);
  return bare(error, Code.Unavailable, !isLasting);
}

function bare(error: ConnectError, status: Code, retryable = status === Code.Unavailable): RunwrightError {
  const code = codeName(status);
  return new RunwrightError({ reason: code, code, message: error.rawMessage, retryable, cause: error });
}

function nodeErrorCode(error: Error): string | undefined {
  for (let at: unknown = error.cause; at instanceof Error; at = at.cause) {
    if ("code" in at && typeof at.code === "string") return at.code;
  }
  return undefined;
}

/** `NotFound` as gRPC spells it, `NOT_FOUND`. */
function codeName(code: Code): string {
  if (code === Code.Canceled) return "CANCELLED";
  return ((Code[code] as string | undefined) ?? "Unknown").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
