/** Performs one call of a tool, and says what came of it, whatever the tool does. */

import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  type ExecuteToolResponse,
  ExecuteToolResponseSchema,
} from "./gen/runwright/callback/v1/tool_executor_service_pb.js";

const MOST_RESULT_BYTES = 1024 * 1024;
const MOST_MESSAGE_BYTES = 4096;
const FAILED = "The tool failed.";

/** What a tool is told beside its arguments. */
export interface ToolCall {
  /** The run that asks. */
  readonly runId: string;
  /** The turn that asks. */
  readonly turnId: string;
  /** The round that asks, counted from 1. */
  readonly round: number;
  /** The call inside the run. */
  readonly callId: string;
  /** Which attempt this is, counted from 1. */
  readonly attempt: number;
  /** The same for every attempt of the call: perform the effect at most once for it. */
  readonly idempotencyKey: string;
  /** The tool's name. */
  readonly tool: string;
  /** When the runtime stops waiting. */
  readonly deadline: Date | undefined;
  /** Fingerprint of the package that declares the tool. */
  readonly packageFingerprint: string;
  /** W3C trace of the run; empty without. */
  readonly traceParent: string;
  /** Aborted when the run was cancelled, the deadline has passed, or the runtime is gone. */
  readonly signal: AbortSignal;
}

/** Performs calls of one tool. What it returns is given to the model as JSON; a {@link RawResult} as it is. */
export type ToolHandler<Arguments> = (args: Arguments, call: ToolCall) => unknown;

/** A failure of the tool itself, for certain; thrown or returned, its message is told to the model. */
export class ToolError extends Error {
  override readonly name = "ToolError";
}

/** A result with a media type of its own. */
export class RawResult {
  constructor(
    /** The bytes. */
    readonly data: Uint8Array,
    /** What they are, such as `text/plain; charset=utf-8`. */
    readonly mediaType: string,
  ) {}
}

/** Told what a handler threw, for a log. */
export type OnError = (message: string, error: unknown) => void;

/** The answer to one call. Rejects only where the call was given up. */
export async function answer(
  handler: ToolHandler<never>,
  argumentsJson: Uint8Array,
  call: ToolCall,
  onError: OnError,
): Promise<ExecuteToolResponse> {
  const where = `call ${call.callId} of run ${call.runId}`;
  let args: unknown;
  try {
    args = JSON.parse(new TextDecoder().decode(argumentsJson));
  } catch {
    return failed("The tool cannot read its arguments.");
  }
  let result: unknown;
  try {
    result = await handler(args as never, call);
  } catch (thrown) {
    const told = declared(thrown);
    if (told !== undefined) return failed(told);
    if (call.signal.aborted) throw new ConnectError("The call was given up.", Code.Canceled);
    note(onError, `tool ${call.tool} failed, ${where}`, thrown);
    return failed(FAILED);
  }
  const told = declared(result);
  if (told !== undefined) return failed(told);
  return made(result, call, onError);
}

/** The effect has happened: whatever is wrong with its result, the model must not be told that it has not. */
export function made(result: unknown, call: ToolCall, onError: OnError): ExecuteToolResponse {
  try {
    return completed(result);
  } catch (thrown) {
    const where = `call ${call.callId} of run ${call.runId}`;
    note(onError, `the result of tool ${call.tool} cannot be encoded, ${where}`, thrown);
    return failed("The call was made; its result cannot be encoded.");
  }
}

/** The words of a ToolError; undefined for anything else. What is thrown may be of any kind, and throw when it is looked at. */
function declared(given: unknown): string | undefined {
  try {
    return given instanceof ToolError ? given.message : undefined;
  } catch {
    return undefined;
  }
}

/** Tells the log. */
export function note(onError: OnError, message: string, thrown: unknown): void {
  try {
    // Of an async log, too, nothing may come back: a rejection that nobody handles ends the process.
    const log: (message: string, error: unknown) => unknown = onError;
    const done = log(message, thrown);
    Promise.resolve(done).catch(() => undefined);
  } catch {
    // A log that fails, or an error that cannot be shown, must not change the answer.
  }
}

function completed(result: unknown): ExecuteToolResponse {
  const raw = result instanceof RawResult ? result : new RawResult(Buffer.from(json(result)), "");
  const { data, mediaType } = raw;
  if (!(data instanceof Uint8Array) || typeof mediaType !== "string") {
    throw new TypeError("A RawResult has a Uint8Array and a text.");
  }
  if (data.length > MOST_RESULT_BYTES) {
    return failed(
      `The call was made; its result of ${String(data.length)} bytes is above ${String(MOST_RESULT_BYTES)}.`,
    );
  }
  const response = create(ExecuteToolResponseSchema, { outcome: { case: "result", value: { data, mediaType } } });
  toBinary(ExecuteToolResponseSchema, response); // what cannot be sent shows here, where it can still be said
  return response;
}

/** The result as JSON. What JSON would leave out without a word, such as a Map or bytes, is refused. */
function json(result: unknown): string {
  const text = JSON.stringify(result ?? null, function (this: Record<string, unknown>, key: string, value: unknown) {
    const given = this[key];
    const lost = [Map, Set, WeakMap, WeakSet, Promise, ArrayBuffer, Error];
    if (ArrayBuffer.isView(given) || lost.some((kind) => given instanceof kind)) {
      throw new TypeError(
        `A ${(given as object).constructor.name} has no form in JSON: return a RawResult, or an object.`,
      );
    }
    return value;
  }) as string | undefined;
  if (text === undefined) throw new TypeError(`A ${typeof result} has no form in JSON.`);
  return text;
}

function failed(told: string): ExecuteToolResponse {
  const bytes = Buffer.from(told || FAILED);
  // A character that is cut becomes U+FFFD, which may be longer than what was left of it.
  const message =
    bytes.length > MOST_MESSAGE_BYTES ? bytes.subarray(0, MOST_MESSAGE_BYTES - 4).toString() : bytes.toString();
  return create(ExecuteToolResponseSchema, { outcome: { case: "error", value: { message } } });
}
