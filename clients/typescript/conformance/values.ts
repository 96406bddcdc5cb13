/** JSON of the conformance protocol, as the client takes and gives it. */

import { readFileSync } from "node:fs";
import {
  type DescMessage,
  fromJson,
  type JsonValue,
  type Message,
  type MessageShape,
  toJson,
} from "@bufbuild/protobuf";
import { EventView, type Scope } from "@runwright/client";
import { EventFilterSchema, type StreamScope, StreamScopeSchema } from "@runwright/client/messages";

export type Args = Record<string, JsonValue | undefined>;

export function json<D extends DescMessage>(schema: D, message: MessageShape<D> & Message): JsonValue {
  return toJson(schema, message, { useProtoFieldName: true });
}

export function text(value: JsonValue | undefined): string {
  if (typeof value !== "string") throw new Error(`a text is expected, not ${JSON.stringify(value)}`);
  return value;
}

export function optional<T>(value: JsonValue | undefined, read: (value: JsonValue) => T): T | undefined {
  return value === undefined || value === null ? undefined : read(value);
}

export function milliseconds(seconds: JsonValue | undefined): number | undefined {
  return optional(seconds, (given) => 1000 * Number(given));
}

/** PEM as it is, or from the file that is named. */
export function pem(given: string | undefined): string | undefined {
  return given === undefined || given.includes("-----BEGIN") ? given : readFileSync(given, "utf8");
}

export function selection(args: Args) {
  const { filter, view, after } = args;
  return {
    filter: filter ? fromJson(EventFilterSchema, filter) : undefined,
    view: view === undefined ? undefined : EventView[text(view).replace("EVENT_VIEW_", "") as keyof typeof EventView],
    after: optional(after, text),
  };
}

export function scope(given: JsonValue | undefined): Scope {
  if (typeof given === "string") return given;
  const { scope: one }: StreamScope = fromJson(StreamScopeSchema, given ?? {});
  switch (one.case) {
    case "runId":
      return { runId: one.value };
    case "sessionId":
      return { sessionId: one.value };
    case "agentId":
      return { agentId: one.value };
    default:
      return { all: true };
  }
}
