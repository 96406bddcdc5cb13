/** The conformance program: JSON lines in, JSON lines out, on the public client alone. */

import { EventEmitter, once } from "node:events";
import { createInterface } from "node:readline";
import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import {
  type ApprovalNotification,
  ApprovalState,
  ApprovalVerdict,
  allow,
  cannotSay,
  Client,
  defer,
  deny,
  type Dispatched,
  DispatcherServer,
  type EventFrame,
  EventKind,
  GrantMatcher,
  type GrantRequest,
  GrantScope,
  GrantState,
  notPerformed,
  packageFingerprint,
  type Part,
  performed,
  type Reconciler,
  Resolution,
  RunwrightError,
  type Subscription,
  type ToolCall,
  ToolError,
  type ToolDeclaration,
  ToolServer,
  interrupt,
  type PolicyDecision,
  type PolicyQuestion,
  PolicyServer,
  replaceArguments,
  replaceText,
} from "@runwright/client";
import {
  ApprovalNotificationSchema,
  ApprovalSchema,
  BudgetSchema,
  DecisionResultSchema,
  EffectResolutionSchema,
  EventFrameSchema,
  GetPackageResponseSchema,
  GetServerInfoResponseSchema,
  GrantStatusSchema,
  OpenEffectSchema,
  PackageSummarySchema,
  PutPackageResponseSchema,
  ResolvePackageResponseSchema,
  RunFilterSchema,
  RunRequestSchema,
  RunSnapshotSchema,
  TagMoveSchema,
  TagPackageResponseSchema,
  ValidatePackageResponseSchema,
} from "@runwright/client/messages";
import { type Args, json, milliseconds, optional, pem, scope, selection, text } from "./values.js";

type Call = Record<string, JsonValue>;

const READ_SECONDS = 20;

/** A subscription that is read in the background, so that a `read` finds what has come. */
class Stream {
  readonly #news = new EventEmitter();
  readonly #frames: EventFrame[] = [];
  #ended = false;
  #error: unknown;

  constructor(readonly subscription: Subscription) {
    this.#news.setMaxListeners(0);
    void this.#pump();
  }

  async read(args: Args): Promise<JsonValue> {
    const timeout = AbortSignal.timeout(1000 * Number(args["timeout_seconds"] ?? READ_SECONDS));
    let taken = this.#found(args);
    while (taken === undefined && !timeout.aborted) {
      await once(this.#news, "news", { signal: timeout }).catch(() => undefined);
      taken = this.#found(args);
    }
    const frames = this.#frames.splice(0, taken ?? this.#frames.length);
    const ended = this.#ended && this.#frames.length === 0;
    return { frames: frames.map((frame) => json(EventFrameSchema, frame)), ended, timed_out: taken === undefined };
  }

  /** How many frames the answer has; undefined while it has to wait. */
  #found(args: Args): number | undefined {
    const { count, until_kind: kind } = args;
    if (typeof count === "number" && this.#frames.length >= count) return count;
    if (typeof kind === "string") {
      const wanted = kind.replace("EVENT_KIND_", "");
      const at = this.#frames.findIndex(({ item }) => item.case === "event" && EventKind[item.value.kind] === wanted);
      if (at >= 0) return at + 1;
    }
    if (this.#error !== undefined) throw this.#error as Error;
    return this.#ended ? this.#frames.length : undefined;
  }

  async #pump(): Promise<void> {
    try {
      for await (const frame of this.subscription) {
        this.#frames.push(frame);
        this.#news.emit("news");
      }
    } catch (error) {
      this.#error = error;
    }
    this.#ended = true;
    this.#news.emit("news");
  }
}

/** Tools that do what they are told to, and remember how they were called. */
class Tools {
  readonly calls: { call: Call; signal: AbortSignal }[] = [];
  readonly server = new ToolServer({ onError: () => undefined });
  readonly #released = new EventEmitter();
  #isReleased = false; // from then on no call waits

  constructor(behaviours: Record<string, Args>) {
    this.#released.setMaxListeners(0);
    for (const [tool, behaviour] of Object.entries(behaviours)) {
      this.server.add<Call>(tool, (args, call) => this.#perform(behaviour, args, call), declared(behaviour));
      if (behaviour["reconcile"] !== undefined) this.server.reconcile<Call>(tool, this.#look(behaviour));
    }
  }

  release(): void {
    this.#isReleased = true;
    this.#released.emit("released");
  }

  #look(behaviour: Args): Reconciler<Call> {
    return (args, { tool, callId: call_id, attempt, idempotencyKey: idempotency_key, signal }) => {
      this.calls.push({ call: { tool, call_id, attempt, idempotency_key, arguments: args, asked: true }, signal });
      switch (behaviour["reconcile"]) {
        case "performed":
          return performed(behaviour["returns"] ?? null);
        case "not_performed":
          return notPerformed("It is not in the ledger.");
        case "cannot_say":
          return cannotSay("The ledger is away.");
        case "odd":
          return behaviour["returns"] as never;
        default:
          throw new Error("a secret that must not leave this process");
      }
    };
  }

  async #perform(behaviour: Args, args: Call, told: ToolCall): Promise<unknown> {
    const { tool, callId: call_id, attempt, idempotencyKey: idempotency_key } = told;
    this.calls.push({ call: { tool, call_id, attempt, idempotency_key, arguments: args }, signal: told.signal });
    if (behaviour["waits"] && !this.#isReleased) await once(this.#released, "released", { signal: told.signal });
    // eslint-disable-next-line @typescript-eslint/only-throw-error -- as tools do
    if (behaviour["raises"] === "odd") throw undefined;
    if (behaviour["raises"]) throw new Error("the behaviour raises");
    if (behaviour["unencodable"]) return { secret: 5n };
    if (behaviour["fails"] !== undefined) throw new ToolError(text(behaviour["fails"]));
    if (!behaviour["echo"]) return behaviour["returns"] ?? null;
    const { runId: run_id, turnId: turn_id, round, deadline, packageFingerprint: package_fingerprint } = told;
    const context = { run_id, turn_id, round, call_id, attempt, idempotency_key, tool, package_fingerprint };
    return { arguments: args, context: { ...context, deadline: deadline?.toISOString() } };
  }
}

function grantOf(given: JsonValue): GrantRequest {
  const said = given as Record<string, JsonValue>;
  return {
    scope: GrantScope[text(said["scope"]).replace("GRANT_SCOPE_", "") as keyof typeof GrantScope],
    matcher: GrantMatcher[text(said["matcher"]).replace("GRANT_MATCHER_", "") as keyof typeof GrantMatcher],
    condition: optional(said["condition"], text),
    uses: Number(said["uses"]),
    validFor: text(said["valid_for"]),
    tainted: said["tainted"] === true,
  };
}

function verdictOf(name: JsonValue | undefined): ApprovalVerdict {
  return ApprovalVerdict[text(name).replace("APPROVAL_VERDICT_", "") as keyof typeof ApprovalVerdict];
}

function texts(values: JsonValue): string[] {
  return (values as JsonValue[]).map((each) => text(each));
}

/** What a tool declares: only what the case says. */
function declared(behaviour: Args): ToolDeclaration {
  return (behaviour["declared"] ?? {}) as ToolDeclaration;
}

let client: Client | undefined;
const streams = new Map<string, Stream>();
const tools = new Map<string, Tools>();
const policies = new Map<string, PolicyServer>();
const dispatchers = new Map<string, { server: DispatcherServer; told: Call[] }>();
const served: { close(graceMs: number): Promise<void> }[] = []; // also those whose name was given away

const operations: Record<string, (args: Args) => JsonValue | Promise<JsonValue>> = {
  connect({ address, key, tls, deadline_seconds: deadline, keepalive }) {
    const files = tls as Record<string, string> | undefined;
    const pings = keepalive as Record<string, number> | undefined;
    client = Client.connect(text(address), {
      key: optional(key, text),
      tls: files && {
        ca: pem(files["ca"]),
        cert: pem(files["cert"]),
        key: pem(files["key"]),
        serverName: files["server_name"],
      },
      deadlineMs: milliseconds(deadline),
      keepalive: pings && {
        intervalMs: milliseconds(pings["interval_seconds"]),
        timeoutMs: milliseconds(pings["timeout_seconds"]),
      },
    });
    return {};
  },
  close() {
    connected().close();
    return {};
  },
  async start(args) {
    const request = fromJson(RunRequestSchema, args as JsonValue);
    const { runId, sessionId, turnId, agentId, input, package: named, budget, labels, onBusy } = request;
    const parts = input.map(({ part }) => (part.case === "text" ? { text: part.value } : part.value) as Part);
    const selected =
      named?.selector.case === "packageId"
        ? { packageId: named.selector.value }
        : named?.selector.case === "fingerprint"
          ? { fingerprint: named.selector.value }
          : named?.selector.case === "tag"
            ? { tag: named.selector.value }
            : undefined;
    const started = await connected().start(parts, {
      ...{ sessionId, turnId, agentId, budget, labels, onBusy },
      runId: runId || undefined,
      package: selected,
    });
    return { created: started.created, run: json(RunSnapshotSchema, started.run) };
  },
  async put_package({ document, tag, expected_previous: expected, request_id: id, sidecars }) {
    const options = {
      tag: optional(tag, text),
      expectedPrevious: optional(expected, text),
      requestId: optional(id, text),
      sidecars: optional(sidecars, texts),
    };
    return json(PutPackageResponseSchema, await connected().putPackage(text(document), options));
  },
  async get_package({ package: name }) {
    return json(GetPackageResponseSchema, await connected().getPackage(text(name)));
  },
  async list_packages({ package_id: packageId, page_size: pageSize }) {
    const packages: JsonValue[] = [];
    const options = { pageSize: optional(pageSize, Number) };
    for await (const one of connected().listPackages(optional(packageId, text), options)) {
      packages.push(json(PackageSummarySchema, one));
    }
    return { packages };
  },
  async tag_package({ tag, fingerprint, expected_previous: expected, request_id: id }) {
    const options = { expectedPrevious: optional(expected, text), requestId: optional(id, text) };
    return json(TagPackageResponseSchema, await connected().tagPackage(text(tag), text(fingerprint), options));
  },
  async tag_history({ tag, page_size: pageSize }) {
    const moves: JsonValue[] = [];
    for await (const move of connected().tagHistory(text(tag), { pageSize: optional(pageSize, Number) })) {
      moves.push(json(TagMoveSchema, move));
    }
    return { moves };
  },
  async validate_package({ document, sidecars }) {
    const options = { sidecars: optional(sidecars, texts) };
    return json(ValidatePackageResponseSchema, await connected().validatePackage(text(document), options));
  },
  async resolve_package({ package: name, budget }) {
    const limits = optional(budget, (given) => fromJson(BudgetSchema, given));
    return json(
      ResolvePackageResponseSchema,
      await connected().resolvePackage(optional(name, text), { budget: limits }),
    );
  },
  package_fingerprint({ document }) {
    return { fingerprint: packageFingerprint(JSON.parse(text(document)) as object) };
  },
  async snapshot({ run_id: runId }) {
    return { run: json(RunSnapshotSchema, await connected().snapshot(text(runId))) };
  },
  async cancel({ run_id: runId, reason, grace_seconds: grace }) {
    const options = { reason: optional(reason, text), graceMs: milliseconds(grace) };
    const { run, barrierSeq } = await connected().cancel(text(runId), options);
    return { run: json(RunSnapshotSchema, run), barrier_seq: Number(barrierSeq) };
  },
  async resolve_effect(args) {
    const result = optional(args["result"], text);
    const { run, decision, resolved } = await connected().resolveEffect({
      runId: text(args["run_id"]),
      effectId: text(args["effect_id"]),
      attempt: Number(args["attempt"]),
      resolution: Resolution[text(args["resolution"]).replace("RESOLUTION_", "") as keyof typeof Resolution],
      result: result === undefined ? undefined : new TextEncoder().encode(result),
      message: optional(args["message"], text),
      reason: optional(args["reason"], text),
      requestId: optional(args["request_id"], text),
    });
    const resolution = decision ? json(EffectResolutionSchema, decision) : null;
    return { run: json(RunSnapshotSchema, run), resolution, resolved };
  },
  async unknown_effects({ run_id: runId }) {
    const effects: JsonValue[] = [];
    for await (const { run, effect } of connected().unknownEffects()) {
      if (run.runId === runId) effects.push(json(OpenEffectSchema, effect));
    }
    return { effects };
  },
  async list_approvals(args) {
    const approvals: JsonValue[] = [];
    const states = optional(args["states"], (given) =>
      (given as string[]).map(
        (name) => ApprovalState[name.replace("APPROVAL_STATE_", "") as keyof typeof ApprovalState],
      ),
    );
    const filter = {
      states,
      mine: args["mine"] === true,
      agentId: optional(args["agent_id"], text),
      tool: optional(args["tool"], text),
      risk: optional(args["risk"], text),
      runId: optional(args["run_id"], text),
      requestedBefore: optional(args["requested_before"], (given) => new Date(given as string)),
    };
    for await (const one of connected().listApprovals(filter, { pageSize: optional(args["page_size"], Number) })) {
      approvals.push(json(ApprovalSchema, one));
    }
    return { approvals };
  },
  async get_approval({ approval_id: id }) {
    return { approval: json(ApprovalSchema, await connected().getApproval(text(id))) };
  },
  async decide_approval(args) {
    const { approval, decided } = await connected().decideApproval({
      approvalId: text(args["approval_id"]),
      digest: text(args["digest"]),
      verdict: verdictOf(args["verdict"]),
      message: optional(args["message"], text),
      note: optional(args["note"], text),
      onBehalfOf: optional(args["on_behalf_of"], text),
      requestId: optional(args["request_id"], text),
      arguments: args["arguments"] as JsonObject | undefined,
      delegateTo: optional(args["delegate_to"], text),
      grant: optional(args["grant"], grantOf),
    });
    return { approval: json(ApprovalSchema, approval), decided };
  },
  async list_grants(args) {
    const grants: JsonValue[] = [];
    const filter = {
      states: optional(args["states"], (given) =>
        (given as string[]).map((name) => GrantState[name.replace("GRANT_STATE_", "") as keyof typeof GrantState]),
      ),
      tool: optional(args["tool"], text),
      agentId: optional(args["agent_id"], text),
      runId: optional(args["run_id"], text),
      issuer: optional(args["issuer"], text),
    };
    for await (const one of connected().listGrants(filter, { pageSize: optional(args["page_size"], Number) })) {
      grants.push(json(GrantStatusSchema, one));
    }
    return { grants };
  },
  async revoke_grant(args) {
    const { grant, revoked } = await connected().revokeGrant(text(args["grant_id"]), {
      note: optional(args["note"], text),
    });
    return { grant: json(GrantStatusSchema, grant), revoked };
  },
  async batch_decide({ decisions }) {
    const asked = (decisions as Record<string, JsonValue>[]).map((each) => ({
      approvalId: text(each["approval_id"]),
      digest: text(each["digest"]),
      verdict: verdictOf(each["verdict"]),
      requestId: optional(each["request_id"], text),
    }));
    return { results: (await connected().batchDecide(asked)).map((result) => json(DecisionResultSchema, result)) };
  },
  async watch_approvals({ after, mine, count }) {
    const updates: JsonValue[] = [];
    const options = { after: optional(after, text), mine: mine === true, signal: AbortSignal.timeout(20_000) };
    for await (const { approval, cursor } of connected().watchApprovals(options)) {
      updates.push({ approval: json(ApprovalSchema, approval), cursor });
      if (updates.length === count) break;
    }
    return { updates };
  },
  async resume(args) {
    const { run, resumed } = await connected().resume(text(args["run_id"]), text(args["effect_id"]), {
      ...(args["reason"] !== undefined && { reason: text(args["reason"]) }),
      ...(args["request_id"] !== undefined && { requestId: text(args["request_id"]) }),
    });
    return { run: json(RunSnapshotSchema, run), resumed };
  },
  async serve_policy({ name, policy, callback_id: callbackId, answers }) {
    const made = new PolicyServer((question) => decision(question, answers as Record<string, Args>));
    policies.set(text(name), made);
    served.push(made);
    await made.serveFor(connected(), { policy: text(policy), callbackId: text(callbackId) });
    return { address: made.address };
  },
  async serve_dispatcher({ name, dispatcher, callback_id: callbackId, says }) {
    const told: Call[] = [];
    const tell = (method: string) => (what: ApprovalNotification) => {
      told.push({ method, told: json(ApprovalNotificationSchema, what) });
      return dispatched((says as Record<string, Args> | undefined)?.[method] ?? {}, told, method);
    };
    const made = new DispatcherServer({
      dispatch: tell("dispatch"),
      update: tell("update"),
      withdraw: tell("withdraw"),
    });
    dispatchers.set(text(name), { server: made, told });
    served.push(made);
    await made.serveFor(connected(), { dispatcher: text(dispatcher), callbackId: text(callbackId) });
    return { address: made.address };
  },
  async stop_dispatcher(args) {
    await named(dispatchers, args).server.close(1_000);
    return {};
  },
  told(args) {
    return Promise.resolve([...named(dispatchers, args).told]);
  },
  async stop_policy(args) {
    await named(policies, args).close(1_000);
    return {};
  },
  async wait({ run_id: runId, timeout_seconds: timeout }) {
    const { run, done } = await connected().wait(text(runId), { timeoutMs: milliseconds(timeout) });
    return { run: json(RunSnapshotSchema, run), done };
  },
  async list({ filter, page_size: pageSize, limit }) {
    const runs: JsonValue[] = [];
    const wanted = optional(filter, (given) => fromJson(RunFilterSchema, given));
    for await (const run of connected().list(wanted, { pageSize: optional(pageSize, Number) })) {
      runs.push(json(RunSnapshotSchema, run));
      if (runs.length === limit) break;
    }
    return { runs };
  },
  async list_events(args) {
    const frames: JsonValue[] = [];
    const options = { ...selection(args), pageSize: optional(args["page_size"], Number) };
    for await (const frame of connected().listEvents(scope(args["scope"]), options)) {
      frames.push(json(EventFrameSchema, frame));
    }
    return { frames };
  },
  async server_info() {
    return json(GetServerInfoResponseSchema, await connected().serverInfo());
  },
  subscribe(args) {
    const subscription = connected().subscribe(scope(args["scope"]), {
      ...selection(args),
      liveOnly: Boolean(args["live_only"]),
      deltas: Boolean(args["include_deltas"] ?? args["deltas"]),
      untilDone: Boolean(args["until_done"]),
      throughRepair: Boolean(args["through_repair"]),
    });
    streams.set(text(args["name"]), new Stream(subscription));
    return {};
  },
  read: (args) => named(streams, args).read(args),
  cursor: (args) => ({ cursor: named(streams, args).subscription.cursor }),
  reconnects: (args) => ({ reconnects: named(streams, args).subscription.reconnects }),
  async unsubscribe(args) {
    await named(streams, args).subscription.close();
    return {};
  },
  async serve_tools({ name, listen, tools: behaviours, register }) {
    const made = new Tools(behaviours as Record<string, Args>);
    tools.set(text(name), made);
    served.push(made.server);
    await made.server.listen(optional(listen, text));
    if (register) {
      const {
        executor,
        callback_id: callbackId,
        lease_seconds: lease,
        max_calls: maxCalls,
        ...more
      } = register as Args;
      await made.server.register(connected(), text(executor), {
        callbackId: optional(callbackId, text),
        leaseMs: milliseconds(lease),
        maxCalls: optional(maxCalls, Number),
        schemaDigests: more["schema_digests"] !== false,
      });
    }
    return { address: made.server.address };
  },
  calls: (args) => named(tools, args).calls.map(({ call, signal }) => ({ ...call, cancelled: signal.aborted })),
  release(args) {
    named(tools, args).release();
    return {};
  },
  async stop_tools(args) {
    await named(tools, args).server.close();
    return {};
  },
};

/** What a policy of a case says of a call, by its step. */
function decision({ call, effectId }: PolicyQuestion, answers: Record<string, Args>): PolicyDecision {
  const { step } = JSON.parse(new TextDecoder().decode(call?.argumentsJson)) as { step?: number };
  const says = answers[String(step)] ?? { verdict: "allow" };
  const [code, message] = [text(says["code"] ?? ""), text(says["message"] ?? "")];
  switch (says["verdict"]) {
    case "deny":
      return deny(code, message);
    case "interrupt":
      return interrupt(code, message);
    case "replace":
      return replaceArguments(says["arguments"] as Record<string, unknown>, code);
    case "replace_text":
      return replaceText(text(says["text"]), code);
    case "fail":
      throw new Error("as the case has it");
    case "defer":
      if (effectId.endsWith(".1")) return defer(1000 * Number(says["seconds"]), code);
  }
  return allow(code);
}

/** What a dispatcher of a case answers. */
function dispatched(says: Args, told: Call[], method: string): Dispatched {
  if (says["fails_first"] === true && told.filter((each) => each["method"] === method).length === 1) {
    throw new Error("as the case has it");
  }
  return {
    reference: text(says["reference"] ?? ""),
    ...(says["verdict"] !== undefined && { verdict: verdictOf(says["verdict"]) }),
    message: text(says["message"] ?? ""),
    note: text(says["note"] ?? ""),
    onBehalfOf: text(says["on_behalf_of"] ?? ""),
  };
}

function connected(): Client {
  if (!client) throw new Error("connect comes first");
  return client;
}

function named<T>(all: Map<string, T>, args: Args): T {
  const found = all.get(text(args["name"]));
  if (!found) throw new Error(`there is nothing named ${text(args["name"])}`);
  return found;
}

function errorOf(thrown: unknown): JsonValue {
  if (!(thrown instanceof RunwrightError)) {
    return { reason: "PROGRAM", message: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) };
  }
  const { reason, code, metadata, retryable, remedy, message, retryAfterMs } = thrown;
  const told = { has_remedy: remedy !== "", retry_after_seconds: retryAfterMs / 1000 };
  return { reason, code, metadata: { ...metadata }, retryable, message, ...told };
}

async function answer(line: string): Promise<void> {
  const { id, op, args } = JSON.parse(line) as { id: JsonValue; op: string; args?: Args };
  let told: Record<string, JsonValue>;
  try {
    const operation = operations[op];
    if (!operation) throw new Error(`there is no operation ${op}`);
    told = { id, ok: await operation(args ?? {}) };
  } catch (thrown) {
    told = { id, error: errorOf(thrown) };
  }
  process.stdout.write(`${JSON.stringify(told)}\n`);
}

for await (const line of createInterface({ input: process.stdin })) if (line.trim()) void answer(line);
await Promise.all(served.map((server) => server.close(1_000)));
client?.close();
