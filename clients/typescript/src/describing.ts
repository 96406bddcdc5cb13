/** What a tool server says of its tools: over the wire to whoever writes a package, and when it registers itself. */

import { create } from "@bufbuild/protobuf";
import { schemaCanonical, schemaDigest } from "./fingerprints.js";
import { type ToolDigest, ToolDigestSchema } from "./gen/runwright/callback/v1/callback_registry_service_pb.js";
import {
  type DescribeToolsResponse,
  DescribeToolsResponseSchema,
  ToolDescriptionSchema,
} from "./gen/runwright/callback/v1/tool_executor_service_pb.js";
import { EffectClass } from "./gen/runwright/v1/package_pb.js";
import { shown } from "./options.js";

/** What a call to a tool can do to the world. */
export type Effect = "read" | "write" | "process" | "network";

/**
 * What a tool's host says of it: `runwright package tools` writes it into a package, and `package validate --tools`
 * compares. A tool with `parameters` says the digest of that schema when it is registered, and gets no calls of packages
 * that have another.
 */
export interface ToolDeclaration {
  /** What the model reads. */
  readonly description?: string;
  /** What a call can do to the world. */
  readonly effect?: Effect;
  /** Whether a call may be repeated with the same key. Absent: if it only reads. */
  readonly idempotent?: boolean;
  /** The JSON Schema of the arguments, 2020-12. */
  readonly parameters?: object;
}

const EFFECTS: Record<Effect, EffectClass> = {
  read: EffectClass.READ,
  write: EffectClass.WRITE,
  process: EffectClass.PROCESS,
  network: EffectClass.NETWORK,
};
const FIELDS = ["description", "effect", "idempotent", "parameters"];

/** Throws a TypeError for a declaration that cannot be understood, or that holds a schema without a canonical form. */
export function checkDeclaration(tool: string, declaration: ToolDeclaration): void {
  for (const name of Object.keys(declaration)) {
    if (!FIELDS.includes(name)) throw new TypeError(`Tool ${tool} has no field ${name}; it has ${FIELDS.join(", ")}.`);
  }
  const { effect, parameters } = declaration;
  if (effect !== undefined && !Object.hasOwn(EFFECTS, effect)) {
    throw new TypeError(`The effect of tool ${tool} is ${shown(effect)}, none of ${Object.keys(EFFECTS).join(", ")}.`);
  }
  if (parameters !== undefined) schemaDigest(parameters);
}

/** All tools, by name. */
export function described(tools: ReadonlyMap<string, ToolDeclaration>): DescribeToolsResponse {
  const descriptions = sorted(tools).map(([name, { description, effect, idempotent, parameters }]) =>
    create(ToolDescriptionSchema, {
      name,
      description: description ?? "",
      effect: effect === undefined ? EffectClass.UNSPECIFIED : EFFECTS[effect],
      ...idempotence(effect, idempotent),
      ...(parameters && {
        parametersSchemaJson: Buffer.from(schemaCanonical(parameters)),
        schemaDigest: schemaDigest(parameters),
      }),
    }),
  );
  return create(DescribeToolsResponseSchema, { tools: descriptions });
}

/** The schema digest of every tool that has a schema, by name. */
export function digests(tools: ReadonlyMap<string, ToolDeclaration>): ToolDigest[] {
  return sorted(tools).flatMap(([tool, { parameters }]) =>
    parameters ? [create(ToolDigestSchema, { tool, schemaDigest: schemaDigest(parameters) })] : [],
  );
}

function idempotence(effect: Effect | undefined, idempotent: boolean | undefined): { idempotent?: boolean } {
  if (idempotent !== undefined) return { idempotent };
  return effect === undefined ? {} : { idempotent: effect === "read" };
}

function sorted(tools: ReadonlyMap<string, ToolDeclaration>): [string, ToolDeclaration][] {
  return [...tools].toSorted(([a], [b]) => (a < b ? -1 : 1));
}
