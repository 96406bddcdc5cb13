/** What the author of tools wrote. A mistake is one sentence that names it. */

import { shown } from "./options.js";

const TOOL = /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/;
const ID = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/;
const ID_RULE = "which has 1 to 128 letters, digits and . _ : @ -, the first a letter or digit";

/** Throws a TypeError for what cannot be a tool beside those there are. */
export function checkTool(name: unknown, handler: unknown, others: ReadonlyMap<string, unknown>): void {
  if (typeof name !== "string" || !TOOL.test(name)) {
    const rule = "which has 1 to 64 letters, digits, _ and -, the first a letter or _";
    throw new TypeError(`${shown(name)} cannot be the name of a tool, ${rule}.`);
  }
  if (typeof handler !== "function")
    throw new TypeError(`The handler of tool ${name} is ${shown(handler)}, no function.`);
  if (others.has(name)) throw new TypeError(`Two tools are named ${name}.`);
}

/** Throws a TypeError for what cannot be asked about calls of a tool. */
export function checkReconciler(
  name: string,
  look: unknown,
  tools: ReadonlyMap<string, unknown>,
  others: ReadonlyMap<string, unknown>,
): void {
  if (!tools.has(name)) throw new TypeError(`There is no tool ${shown(name)} to reconcile: add it first.`);
  if (typeof look !== "function") throw new TypeError(`What reconciles tool ${name} is ${shown(look)}, no function.`);
  if (others.has(name)) throw new TypeError(`Two functions reconcile tool ${name}.`);
}

/** Throws a TypeError for names that the runtime would refuse, and for what nobody could call. */
export function checkRegistration(
  executor: unknown,
  callbackId: unknown,
  address: string,
  tools: ReadonlyMap<string, unknown> | undefined, // none: a policy
): void {
  if (typeof executor !== "string" || !ID.test(executor)) {
    throw new TypeError(`${shown(executor)} cannot be the name of an executor, ${ID_RULE}.`);
  }
  if (callbackId !== undefined && !(typeof callbackId === "string" && ID.test(callbackId))) {
    throw new TypeError(`${shown(callbackId)} cannot be the id of a callback, ${ID_RULE}.`);
  }
  if (tools?.size === 0) throw new TypeError("There is no tool to register: add one first.");
  if (address === "")
    throw new TypeError("The tool server must listen before it is registered: listen(), or serveFor().");
  if (/^(0\.0\.0\.0|\[::\]):/.test(address)) {
    throw new TypeError(`Nobody can dial ${address}: the option address says where the tool server is reached.`);
  }
}
