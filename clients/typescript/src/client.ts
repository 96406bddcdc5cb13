/** The client: calls to one server, retried where that is safe. */

import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Client as Stub, createClient } from "@connectrpc/connect";
import { ApprovalCalls } from "./approvals.js";
import {
  bytes,
  type CallOptions,
  type Cancelled,
  changed,
  type Decision,
  type Resolved,
  selector,
  type Started,
  type StartOptions,
  type TagOptions,
  type UnknownEffect,
  type Waited,
} from "./calls.js";
import { present, timeout } from "./caller.js";
import { type Connection, type ConnectOptions, open } from "./connection.js";
import { asRunwrightError } from "./diagnosis.js";
import { type Callback, CallbackRegistryService } from "./gen/runwright/callback/v1/callback_registry_service_pb.js";
import type { CallbackSpecSchema } from "./gen/runwright/callback/v1/callback_registry_service_pb.js";
import type { EventFrame } from "./gen/runwright/v1/event_pb.js";
import type { BudgetSchema } from "./gen/runwright/v1/package_pb.js";
import {
  type GetPackageResponse,
  PackageService,
  type PackageSummary,
  type PutPackageResponse,
  type ResolvePackageResponse,
  type TagMove,
  type TagPackageResponse,
  type ValidatePackageResponse,
} from "./gen/runwright/v1/package_service_pb.js";
import { EffectState, type RunSnapshot, RunStatus } from "./gen/runwright/v1/run_pb.js";
import {
  type EventFilterSchema,
  type EventView,
  type GetServerInfoResponse,
  type PackageInfo,
  type RunFilterSchema,
  RuntimeService,
} from "./gen/runwright/v1/runtime_service_pb.js";
import { check } from "./options.js";
import { Contact, sleep } from "./patience.js";
import { type SubscribeOptions, Subscription } from "./subscription.js";
import { duration, inputMessages, type Part, type Scope, scopeMessage } from "./words.js";

const WAIT_MS = 60_000;
const FIRST_WAIT_MS = 1_000; // the first also finds out whether anybody is there

/** Calls one server. Made by {@link Client.connect}, ended by {@link Client.close} or `await using`. */
export class Client extends ApprovalCalls implements AsyncDisposable {
  /**
   * The generated client of the runtime, for what has no method here. Its calls are neither retried nor bounded, and
   * reject with what {@link asRunwrightError} reads.
   */
  readonly runtime: Stub<typeof RuntimeService>;
  /** The same of the registry of callbacks. */
  readonly callbacks: Stub<typeof CallbackRegistryService>;
  /** The same of the service of packages. */
  readonly packages: Stub<typeof PackageService>;

  private constructor(connection: Connection, deadlineMs: number) {
    super(connection, deadlineMs);
    this.runtime = createClient(RuntimeService, connection.transport);
    this.packages = createClient(PackageService, connection.transport);
    this.callbacks = createClient(CallbackRegistryService, connection.transport);
  }

  /** The server's address, as it was given. */
  get address(): string {
    return this.connection.peer.address;
  }

  /** A client of the server at `host:port`. Nothing is sent before the first call. Throws for what is no address. */
  static connect(address: string, options: ConnectOptions = {}): Client {
    return new Client(open(address, options), options.deadlineMs ?? 10_000);
  }

  /** Starts a run and returns once it is on disk. The same id with the same request is the same run. */
  async start(input: string | readonly Part[], options: StartOptions = {}): Promise<Started> {
    check("start", options);
    const { runId = randomUUID(), package: named, deadlineMs, signal, traceParent, ...rest } = options;
    const run = { ...rest, runId, input: inputMessages(input), package: named ? selector(named) : undefined };
    const headers = traceParent ? { traceparent: traceParent } : undefined;
    const answer = await this.call({ deadlineMs, signal }, (call) =>
      this.runtime.startRun({ run }, { ...call, headers }),
    );
    return { run: present(answer.run), created: answer.created };
  }

  /** A run as it stands. */
  async snapshot(runId: string, options?: CallOptions): Promise<RunSnapshot> {
    check("snapshot", options);
    return present((await this.call(options, (call) => this.runtime.snapshot({ runId }, call))).run);
  }

  /** Asks a run to end within `graceMs` (10 s); doing so again changes nothing. */
  async cancel(
    runId: string,
    options: CallOptions & { readonly reason?: string; readonly graceMs?: number } = {},
  ): Promise<Cancelled> {
    check("cancel", options);
    const request = { runId, reason: options.reason, grace: duration(options.graceMs) };
    const answer = await this.call(options, (call) => this.runtime.cancel(request, call));
    return { run: present(answer.run), barrierSeq: answer.barrierSeq };
  }

  /**
   * Says what became of a call whose outcome is unknown, so that its run goes on; for repairers and admins. A request
   * that is sent again never decides twice.
   */
  async resolveEffect(decision: Decision, options?: CallOptions): Promise<Resolved> {
    check("decision", decision);
    check("resolveEffect", options);
    const { result: data, mediaType, requestId = randomUUID(), ...rest } = decision;
    const result = data === undefined && mediaType === undefined ? undefined : { data, mediaType };
    const request = { ...rest, requestId, result };
    const answer = await this.call(options, (call) => this.runtime.resolveEffect(request, call));
    return { run: present(answer.run), decision: answer.resolution, resolved: answer.resolved };
  }

  /**
   * Has what a policy has deferred go on; for whoever started the run, and admins. `effectId` is the question's, as
   * `run.waitingOn` names it; `resumed` is false when nothing was deferred by it (any more).
   */
  async resume(
    runId: string,
    effectId: string,
    options: CallOptions & { readonly reason?: string; readonly requestId?: string } = {},
  ): Promise<{ readonly run: RunSnapshot; readonly resumed: boolean }> {
    const { reason = "", requestId = randomUUID(), ...rest } = options;
    check("resume", options);
    const request = { runId, effectId, requestId, reason };
    const answer = await this.call(rest, (call) => this.runtime.resume(request, call));
    return { run: present(answer.run), resumed: answer.resumed };
  }

  /** The calls whose outcome is unknown, of the newest runs first: what {@link Client.resolveEffect} is for. */
  async *unknownEffects(options?: CallOptions): AsyncGenerator<UnknownEffect, void, undefined> {
    for await (const run of this.list({ statuses: [RunStatus.REPAIR_NEEDED] }, options)) {
      for (const effect of run.openEffects) if (effect.state === EffectState.UNKNOWN) yield { run, effect };
    }
  }

  /**
   * Waits until a run has ended, needs repair or is HELD, over restarts of the server; `timeoutMs` and `signal` bound
   * it. A server that has never answered is given up after the client's deadline. Never cancels the run.
   */
  async wait(
    runId: string,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Waited> {
    check("wait", options);
    const operation = this.operations.begin(options.signal);
    const contact = new Contact(this.deadlineMs);
    const end = performance.now() + (options.timeoutMs ?? Number.POSITIVE_INFINITY);
    const left = (): number => Math.max(0, Math.min(WAIT_MS, end - performance.now()));
    try {
      for (;;) {
        const slice = Math.min(left(), contact.isMade ? WAIT_MS : FIRST_WAIT_MS);
        const request = { runId, timeout: duration(slice) };
        const timeoutMs = timeout(slice + this.deadlineMs);
        try {
          const { run, done } = await this.runtime.wait(request, { signal: operation.signal, timeoutMs });
          contact.made();
          this.connection.peer.heard = true;
          if (done || left() === 0) return { run: present(run), done };
        } catch (thrown) {
          operation.signal.throwIfAborted();
          const error = asRunwrightError(thrown, this.connection.peer);
          const delay = contact.lost(error);
          if (left() === 0) throw error;
          await sleep(Math.min(delay, left()), operation.signal);
        }
      }
    } finally {
      operation.done();
    }
  }

  /** Runs, newest first, fetched page by page as they are read. */
  async *list(
    filter: MessageInitShape<typeof RunFilterSchema> = {},
    options: CallOptions & { readonly pageSize?: number } = {},
  ): AsyncGenerator<RunSnapshot, void, undefined> {
    check("list", options);
    for (let pageToken = ""; ;) {
      const request = { filter, pageSize: options.pageSize, pageToken };
      const page = await this.call(options, (call) => this.runtime.listRuns(request, call));
      yield* page.runs;
      if (!page.nextPageToken) return;
      pageToken = page.nextPageToken;
    }
  }

  /** The events there are now, fetched page by page as they are read. */
  async *listEvents(
    scope: Scope,
    options: CallOptions & {
      readonly after?: string;
      readonly filter?: MessageInitShape<typeof EventFilterSchema>;
      readonly view?: EventView;
      readonly pageSize?: number;
    } = {},
  ): AsyncGenerator<EventFrame, void, undefined> {
    check("listEvents", options);
    const { filter, view, pageSize } = options;
    for (let pageToken = options.after ?? ""; ;) {
      const request = { scope: scopeMessage(scope), filter, view, pageSize, pageToken };
      const page = await this.call(options, (call) => this.runtime.listEvents(request, call));
      yield* page.frames;
      if (!page.nextPageToken) return;
      pageToken = page.nextPageToken;
    }
  }

  /** The server's version, limits, and every package of the caller's namespace, of all pages. */
  async serverInfo(options?: CallOptions): Promise<GetServerInfoResponse> {
    check("serverInfo", options);
    const packages: PackageInfo[] = [];
    for (let pageToken = ""; ;) {
      const info = await this.call(options, (call) => this.runtime.getServerInfo({ pageToken }, call));
      packages.push(...info.packages);
      if (!info.nextPageToken) {
        info.packages = packages;
        return info;
      }
      pageToken = info.nextPageToken;
    }
  }

  /**
   * Puts a package, the text of its file, and returns once it is on disk; `tag` is moved to it. `sidecars` are the schemas,
   * in JSON, that its tools name by digest.
   */
  async putPackage(
    document: string,
    options: TagOptions & { readonly tag?: string; readonly sidecars?: readonly string[] } = {},
  ): Promise<PutPackageResponse> {
    check("putPackage", options);
    const request = { document, tag: options.tag, sidecars: bytes(options.sidecars), ...changed(options) };
    return this.call(options, (call) => this.packages.putPackage(request, call));
  }

  /** A package, whole. It is named by its id, `@TAG` or fingerprint. */
  async getPackage(name: string, options?: CallOptions): Promise<GetPackageResponse> {
    check("getPackage", options);
    return this.call(options, (call) => this.packages.getPackage({ package: selector(name) }, call));
  }

  /** Packages in outline, the server's files first, fetched page by page as they are read. */
  async *listPackages(
    packageId = "",
    options: CallOptions & { readonly pageSize?: number } = {},
  ): AsyncGenerator<PackageSummary, void, undefined> {
    check("listPackages", options);
    for (let pageToken = ""; ;) {
      const request = { packageId, pageSize: options.pageSize, pageToken };
      const page = await this.call(options, (call) => this.packages.listPackages(request, call));
      yield* page.packages;
      if (!page.nextPageToken) return;
      pageToken = page.nextPageToken;
    }
  }

  /** Points a tag to a package that was put. */
  async tagPackage(tag: string, fingerprint: string, options: TagOptions = {}): Promise<TagPackageResponse> {
    check("tagPackage", options);
    const request = { tag, fingerprint, ...changed(options) };
    return this.call(options, (call) => this.packages.tagPackage(request, call));
  }

  /** Where a tag points and has pointed, newest first, fetched page by page as it is read. */
  async *tagHistory(
    tag: string,
    options: CallOptions & { readonly pageSize?: number } = {},
  ): AsyncGenerator<TagMove, void, undefined> {
    check("tagHistory", options);
    for (let pageToken = ""; ;) {
      const request = { tag, pageSize: options.pageSize, pageToken };
      const page = await this.call(options, (call) => this.packages.listTagHistory(request, call));
      yield* page.moves;
      if (!page.nextPageToken) return;
      pageToken = page.nextPageToken;
    }
  }

  /** Everything that is wrong with a package, the text of its file, and its sidecars; nothing is kept. */
  async validatePackage(
    document: string,
    options?: CallOptions & { readonly sidecars?: readonly string[] },
  ): Promise<ValidatePackageResponse> {
    check("validatePackage", options);
    const request = { document, sidecars: bytes(options?.sidecars) };
    return this.call(options, (call) => this.packages.validatePackage(request, call));
  }

  /** What a run would be: limits, tools as the model sees them, what is missing. Without a name: of the default package. */
  async resolvePackage(
    name = "",
    options: CallOptions & { readonly budget?: MessageInitShape<typeof BudgetSchema> } = {},
  ): Promise<ResolvePackageResponse> {
    check("resolvePackage", options);
    const request = { package: name ? selector(name) : undefined, budget: options.budget };
    return this.call(options, (call) => this.packages.resolvePackage(request, call));
  }

  /**
   * Follows the events of a scope: each exactly once and in order, over disconnects and restarts of the server. Ends by
   * itself with the run, and with {@link RepairNeeded} when that needs repair. Streams of many runs do not end.
   */
  subscribe(scope: Scope, options: SubscribeOptions = {}): Subscription {
    check("subscribe", options);
    return new Subscription(
      (request, call) => this.runtime.subscribe(request, call),
      this.operations,
      scopeMessage(scope),
      options,
      {
        openMs: this.deadlineMs,
        peer: this.connection.peer,
        snapshot: (runId, signal) => this.snapshot(runId, { signal }),
        wait: async (runId, signal) => (await this.wait(runId, { signal })).run,
      },
    );
  }

  /** Registers a callback, or renews its lease. {@link ToolServer.register} does this for tools, again and again. */
  async registerCallback(
    spec: MessageInitShape<typeof CallbackSpecSchema>,
    options: CallOptions & { readonly leaseMs?: number; readonly credential?: string } = {},
  ): Promise<Callback> {
    const request = { spec, credential: options.credential, lease: duration(options.leaseMs) };
    return present((await this.call(options, (call) => this.callbacks.registerCallback(request, call))).callback);
  }

  /** Ends a registration; calls under way may still answer. */
  async unregisterCallback(callbackId: string, options?: CallOptions): Promise<void> {
    await this.call(options, (call) => this.callbacks.unregisterCallback({ callbackId }, call));
  }

  /** Ends every call, stream and connection. */
  close(): void {
    this.operations.close();
    this.connection.close();
  }

  /** As {@link Client.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }
}
