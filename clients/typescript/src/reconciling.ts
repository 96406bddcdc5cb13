/** What became of a call that the runtime has lost sight of: what an author says, and what the runtime is told. */

import { create } from "@bufbuild/protobuf";
import { made, note, type OnError, type ToolCall } from "./answers.js";
import {
  type ReconcileToolRequest,
  type ReconcileToolResponse,
  ReconcileToolResponseSchema,
  type ToolResult,
  ToolResultSchema,
} from "./gen/runwright/callback/v1/tool_executor_service_pb.js";

const MOST_MESSAGE_BYTES = 4096;
const FAILED = "Looking for it failed.";

/** What became of a call: made by {@link performed}, {@link notPerformed} or {@link cannotSay}. */
export class Reconciled {
  /** @internal */
  constructor(
    readonly outcome: "performed" | "notPerformed" | "unknown",
    readonly result: unknown,
    readonly why: string,
  ) {}
}

/** It was performed, with this result: what its handler would have returned. The run goes on with it. */
export function performed(result?: unknown): Reconciled {
  return new Reconciled("performed", result, "");
}

/** Neither this attempt nor an earlier one was performed, for certain: the call is sent again. */
export function notPerformed(why = ""): Reconciled {
  return new Reconciled("notPerformed", undefined, why);
}

/** Nobody here can say, or not yet: the runtime asks again for a while, then a person. */
export function cannotSay(why = ""): Reconciled {
  return new Reconciled("unknown", undefined, why);
}

/** Says what became of a call. What it throws, or returns beside a {@link Reconciled}, says nothing. */
export type Reconciler<Arguments> = (args: Arguments, call: ToolCall) => Reconciled | Promise<Reconciled>;

/** What the runtime is told, whatever the author's function does. */
export async function reconciled(
  look: Reconciler<never>,
  request: ReconcileToolRequest,
  call: ToolCall,
  onError: OnError,
): Promise<ReconcileToolResponse> {
  let said: unknown;
  try {
    const args: unknown = JSON.parse(new TextDecoder().decode(request.argumentsJson));
    said = await look(args as never, call);
    if (!(said instanceof Reconciled))
      throw new TypeError("It is none of performed(), notPerformed() and cannotSay().");
  } catch (thrown) {
    note(onError, `asking about tool ${call.tool}, call ${call.callId} of run ${call.runId}, failed`, thrown);
    said = cannotSay(FAILED);
  }
  return about(request, said as Reconciled, call, onError);
}

/** An answer about exactly what was asked. */
export function about(
  request: ReconcileToolRequest,
  said: Reconciled,
  call: ToolCall,
  onError: OnError,
): ReconcileToolResponse {
  const { idempotencyKey, attempt, argumentsDigest } = request;
  const message = clipped(said.why);
  const outcome =
    said.outcome === "performed"
      ? { case: said.outcome, value: found(said.result, call, onError) }
      : { case: said.outcome, value: { message } };
  return create(ReconcileToolResponseSchema, { idempotencyKey, attempt, argumentsDigest, outcome });
}

/** The result of a call that was performed: what cannot be sent is said in words. */
function found(result: unknown, call: ToolCall, onError: OnError): ToolResult {
  const { outcome } = made(result, call, onError);
  if (outcome.case === "result") return outcome.value;
  const words = outcome.case === "error" ? outcome.value.message : FAILED;
  return create(ToolResultSchema, { data: Buffer.from(words), mediaType: "text/plain; charset=utf-8" });
}

function clipped(why: unknown): string {
  const bytes = Buffer.from(typeof why === "string" ? why : "");
  return bytes.length > MOST_MESSAGE_BYTES ? bytes.subarray(0, MOST_MESSAGE_BYTES - 4).toString() : bytes.toString();
}
