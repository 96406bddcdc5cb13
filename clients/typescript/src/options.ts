/** Checks of what the caller wrote: an option that nobody reads would be missed without a word. */

const CALL = ["deadlineMs", "signal"];
const READ = ["after", "filter", "view"];

/** The options there are, by the place that takes them. */
export const OPTIONS = {
  "Client.connect": ["key", "tls", "deadlineMs", "keepalive"],
  "Client.connect, tls": ["ca", "cert", "key", "serverName"],
  "Client.connect, keepalive": ["intervalMs", "timeoutMs"],
  start: [
    ...CALL,
    ...["runId", "sessionId", "turnId", "agentId", "package", "budget", "labels", "onBusy", "traceParent"],
  ],
  snapshot: CALL,
  cancel: [...CALL, "reason", "graceMs"],
  resolveEffect: CALL,
  resume: [...CALL, "reason", "requestId"],
  decision: [
    ...["runId", "effectId", "attempt", "resolution", "result", "mediaType", "message", "reason", "requestId"],
  ],
  listApprovals: [...CALL, "pageSize"],
  approvalFilter: ["states", "mine", "agentId", "tool", "risk", "runId", "requestedBefore"],
  getApproval: CALL,
  decideApproval: CALL,
  batchDecide: CALL,
  approvalDecision: [
    "approvalId",
    "digest",
    "verdict",
    "message",
    "note",
    "onBehalfOf",
    "grant",
    "requestId",
    "arguments",
    "delegateTo",
  ],
  grantRequest: ["scope", "matcher", "condition", "uses", "validFor", "tainted"],
  grantFilter: ["states", "tool", "agentId", "runId", "issuer"],
  listGrants: [...CALL, "pageSize"],
  revokeGrant: [...CALL, "note"],
  watchApprovals: ["after", "mine", "signal"],
  wait: ["timeoutMs", "signal"],
  list: [...CALL, "pageSize"],
  listEvents: [...CALL, ...READ, "pageSize"],
  serverInfo: CALL,
  putPackage: [...CALL, "tag", "expectedPrevious", "requestId", "sidecars"],
  getPackage: CALL,
  listPackages: [...CALL, "pageSize"],
  tagPackage: [...CALL, "expectedPrevious", "requestId"],
  tagHistory: [...CALL, "pageSize"],
  validatePackage: [...CALL, "sidecars"],
  resolvePackage: [...CALL, "budget"],
  subscribe: [...READ, "liveOnly", "deltas", "untilDone", "throughRepair", "signal", "onReconnect"],
  ToolServer: ["tls", "credential", "onError", "onNote"],
  register: ["callbackId", "address", "leaseMs", "maxCalls", "tls", "schemaDigests"],
  serveFor: ["callbackId", "address", "leaseMs", "maxCalls", "tls", "schemaDigests", "executor", "listen"],
} as const;

/** Throws a TypeError that names an option which does not exist, or a number that is none. */
export function check(where: keyof typeof OPTIONS, options: object | undefined): void {
  if (options === undefined) return;
  if (typeof options !== "object" || (options as unknown) === null) {
    throw new TypeError(`The options of ${where} must be an object, not ${shown(options)}.`);
  }
  const known: readonly string[] = OPTIONS[where];
  for (const [name, value] of Object.entries(options) as [string, unknown][]) {
    if (!known.includes(name)) throw new TypeError(`${where} has no option ${name}; it has ${known.join(", ")}.`);
    const isNumber = name.endsWith("Ms") || name === "pageSize" || name === "maxCalls";
    if (isNumber && value !== undefined && !(typeof value === "number" && value >= 0 && Number.isFinite(value))) {
      throw new TypeError(`${name} of ${where} must be a number that is not negative, not ${shown(value)}.`);
    }
  }
}

/** What the caller wrote, for a message; never long. */
export function shown(value: unknown): string {
  if (typeof value === "function") return value.name ? `the function ${value.name}` : "a function";
  try {
    return ((JSON.stringify(value) as string | undefined) ?? typeof value).slice(0, 80);
  } catch {
    return typeof value;
  }
}
