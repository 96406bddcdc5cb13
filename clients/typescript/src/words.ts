/** Words of the caller as messages of the contract. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";
import { type InputPart, InputPartSchema } from "./gen/runwright/v1/content_pb.js";
import type { Event, EventFrame } from "./gen/runwright/v1/event_pb.js";
import type { RunSnapshot } from "./gen/runwright/v1/run_pb.js";
import { type StreamScope, StreamScopeSchema } from "./gen/runwright/v1/runtime_service_pb.js";
import { shown } from "./options.js";

/** Which events are meant: those of one run (its id), of a session, of an agent, or all of the key's namespace. */
export type Scope = string | { runId: string } | { sessionId: string } | { agentId: string } | { all: true };

/** One part of what the user says: text, or an image (png, jpeg, gif or webp). */
export type Part = string | { text: string } | { data: Uint8Array; mediaType: string };

/** The scope as the contract has it. */
export function scopeMessage(scope: Scope): StreamScope {
  const made = (init: MessageInitShape<typeof StreamScopeSchema>["scope"]): StreamScope =>
    create(StreamScopeSchema, { scope: init });
  if (typeof scope === "string") return made({ case: "runId", value: scope });
  if ("runId" in scope) return made({ case: "runId", value: scope.runId });
  if ("sessionId" in scope) return made({ case: "sessionId", value: scope.sessionId });
  if ("agentId" in scope) return made({ case: "agentId", value: scope.agentId });
  if ("all" in scope) return made({ case: "all", value: {} });
  const said = "A scope is the id of a run, { runId }, { sessionId }, { agentId } or { all: true }";
  throw new TypeError(`${said}, not ${shown(scope)}.`);
}

/** The input as the contract has it. */
export function inputMessages(input: string | readonly Part[]): InputPart[] {
  if (typeof input !== "string" && !Array.isArray(input)) {
    throw new TypeError(`The input must be a text, or a list of texts and images, not ${shown(input)}.`);
  }
  return (typeof input === "string" ? [input] : (input as readonly Part[])).map((part) => {
    if (typeof part === "string") return create(InputPartSchema, { part: { case: "text", value: part } });
    if ("text" in part) return create(InputPartSchema, { part: { case: "text", value: part.text } });
    return create(InputPartSchema, { part: { case: "data", value: part } });
  });
}

/** Milliseconds as the contract has them; nothing stays nothing. */
export function duration(ms: number | undefined): Duration | undefined {
  if (ms === undefined) return undefined;
  const seconds = Math.trunc(ms / 1000);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) });
}

/** The answer of a run as text; undefined while there is none, or when it is none or too large to be inline. */
export function resultText(run: RunSnapshot): string | undefined {
  return run.result?.body.case === "text" ? run.result.body.value : undefined;
}

/**
 * What the model is told by a tool: the result of TOOL_COMPLETED, the words of TOOL_FAILED. Undefined for another frame,
 * one that was not asked for with `EventView.FULL`, and for what is no text or above 64 KiB.
 */
export function toolText({ item, contents }: EventFrame): string | undefined {
  const body = item.case === "event" ? item.value.body : undefined;
  const told =
    body?.case === "toolCompleted" ? body.value.result : body?.case === "toolFailed" ? body.value.message : undefined;
  const held = contents.find(({ ref }) => ref !== undefined && ref.digest === told?.digest);
  return held?.body.case === "text" ? held.body.value : undefined;
}

/**
 * The piece of a model's text that an event of kind MODEL_STREAM_DELTA holds; undefined for any other. Its `offset` says
 * where it belongs: at 0 the text begins anew.
 */
export function deltaText({ body }: Event): string | undefined {
  return body.case === "modelStreamDelta" ? body.value.text : undefined;
}
