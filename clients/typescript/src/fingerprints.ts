/** Fingerprints of packages, made without a server: what a run would be pinned to. */

import { createHash } from "node:crypto";
import { FORM } from "./package_form.js";

type Json = null | boolean | number | string | Json[] | JsonObject;
interface JsonObject {
  [name: string]: Json;
}

interface FieldForm {
  readonly default?: Json;
  readonly default_is?: { readonly field: string; readonly equals: string };
  readonly part?: string;
  readonly list_of?: string;
  readonly map_of?: string;
  readonly sorted_by?: string;
  readonly younger?: boolean;
  readonly beside?: boolean;
  readonly whole?: boolean;
}

interface Table {
  readonly spelled_out: string;
  readonly left_out: string;
  readonly top: string;
  readonly parts: Record<string, Record<string, FieldForm>>;
}

const TABLE = JSON.parse(FORM) as Table;
const WHOLE = /^\s*[+-]?[0-9]+(_[0-9]+)*(\.0+)?\s*$/; // in quotes, as the server takes it, too

/**
 * `sha256:FORMAT:HEX` of a valid package, as it stands in its file. Throws a TypeError for a package that says no format
 * this library knows, or that holds what has no canonical form. Whether it is valid otherwise `validatePackage` says.
 */
export function packageFingerprint(document: object): string {
  const canonical = packageCanonical(document);
  const format = (document as { format: string }).format;
  return `sha256:${format}:${createHash("sha256").update(`${format}\0${canonical}`).digest("hex")}`;
}

/** The canonical form of a valid package, RFC 8785: what its fingerprint is made of. */
export function packageCanonical(document: object): string {
  const format = (document as { format?: unknown }).format;
  if (format !== TABLE.spelled_out && format !== TABLE.left_out) {
    throw new TypeError(`format must be ${TABLE.spelled_out} or ${TABLE.left_out}`);
  }
  const whole = spelled(document as JsonObject, TABLE.top);
  return json(pruned(whole, TABLE.top, format === TABLE.left_out));
}

/**
 * `sha256:HEX` over the canonical form of a tool's schema: what packages and registrations call it by. Throws a TypeError
 * for what is no object, or has no canonical form.
 */
export function schemaDigest(schema: object): string {
  return `sha256:${createHash("sha256").update(schemaCanonical(schema)).digest("hex")}`;
}

/** The canonical form of a schema, RFC 8785. */
export function schemaCanonical(schema: object): string {
  if (!isObject(schema as Json)) throw new TypeError("A schema is a JSON object.");
  return json(schema as JsonObject);
}

/** A part with all its defaults, lists without a meaningful order sorted. */
function spelled(value: Json, part: string): Json {
  if (!isObject(value)) return value;
  const forms = TABLE.parts[part] ?? {};
  const isHere = ([name, inner]: [string, Json]): boolean => inner !== null && !forms[name]?.beside;
  const found = Object.fromEntries(Object.entries(value).filter(isHere));
  for (const [name, form] of Object.entries(forms)) {
    const inner = found[name] ?? usual(form, found);
    if (form.beside || inner === undefined) continue;
    if (form.part !== undefined) found[name] = spelled(inner, form.part);
    else if (form.list_of !== undefined && Array.isArray(inner)) {
      const of = form.list_of;
      found[name] = sorted(
        inner.map((one) => spelled(one, of)),
        form.sorted_by,
      );
    } else if (form.whole && typeof inner === "string" && WHOLE.test(inner)) {
      found[name] = Number(inner.replaceAll("_", ""));
    } else if (form.map_of !== undefined && isObject(inner)) {
      const of = form.map_of;
      found[name] = Object.fromEntries(Object.entries(inner).map(([key, one]) => [key, spelled(one, of)]));
    } else found[name] = inner;
  }
  return found;
}

function sorted(list: Json[], by: string | undefined): Json[] {
  if (by === undefined) return list;
  const key = (value: Json): string => {
    const found = isObject(value) ? value[by] : "";
    return typeof found === "string" ? found : "";
  };
  return list.toSorted((a, b) => (key(a) < key(b) ? -1 : Number(key(a) > key(b))));
}

/** Without what is as it is by default: everywhere, or only where the field is younger than the format. */
function pruned(value: Json, part: string, everywhere: boolean): Json {
  if (!isObject(value)) return value;
  const left: JsonObject = {};
  for (const [name, inner] of Object.entries(value)) {
    const form = TABLE.parts[part]?.[name] ?? {};
    const common = everywhere || form.younger ? usual(form, value) : undefined;
    if (common !== undefined && json(common) === json(inner)) continue;
    const of = form.part ?? form.list_of ?? form.map_of;
    if (of === undefined) left[name] = inner;
    else if (form.map_of !== undefined && isObject(inner)) {
      left[name] = Object.fromEntries(Object.entries(inner).map(([key, one]) => [key, pruned(one, of, everywhere)]));
    } else if (Array.isArray(inner)) left[name] = inner.map((one) => pruned(one, of, everywhere));
    else left[name] = pruned(inner, of, everywhere);
  }
  return left;
}

function usual(form: FieldForm, beside: JsonObject): Json | undefined {
  return form.default_is ? beside[form.default_is.field] === form.default_is.equals : form.default;
}

function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** As RFC 8785 has it: keys in the order of their UTF-16 units, numbers and texts as ECMAScript writes them. */
function json(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(json).join(",")}]`;
  if (isObject(value)) {
    const names = Object.keys(value).toSorted();
    return `{${names.map((name) => `${json(name)}:${json(value[name] ?? null)}`).join(",")}}`;
  }
  if (typeof value === "number" && !isExact(value)) {
    throw new TypeError("A number is beyond 2^53 or not finite; write it as a text.");
  }
  if (typeof value === "string" && /\p{Surrogate}/u.test(value)) {
    throw new TypeError("A text holds half a character.");
  }
  return JSON.stringify(value);
}

function isExact(value: number): boolean {
  return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value) || Math.abs(value) >= 1e21);
}
