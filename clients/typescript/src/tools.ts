/** Tools of your own: a server that the runtime dials. */

import { timingSafeEqual } from "node:crypto";
import http2 from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { create } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { answer, type ToolCall, type ToolHandler } from "./answers.js";
import { checkReconciler, checkRegistration, checkTool } from "./authored.js";
import type { Callback } from "./callback.js";
import type { Client } from "./client.js";
import { CallbackKind } from "./gen/runwright/callback/v1/callback_registry_service_pb.js";
import { checkDeclaration, described, digests, type ToolDeclaration } from "./describing.js";
import {
  type ExecuteToolRequest,
  type ExecuteToolResponse,
  ExecuteToolResponseSchema,
  type ReconcileToolRequest,
  type ReconcileToolResponse,
  ToolExecutorService,
  ToolNotPerformedSchema,
} from "./gen/runwright/callback/v1/tool_executor_service_pb.js";
import { Lease, type RegisterOptions } from "./lease.js";
import { check } from "./options.js";
import { about, cannotSay, type Reconciler, reconciled } from "./reconciling.js";

const MOST_KEYS = 65_536;

/** Options of a {@link ToolServer}. */
export interface ToolServerOptions {
  /** The server's certificate and private key, PEM. Absent: plaintext. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer };
  /** A token that calls must carry; {@link ToolServer.register} tells it to the runtime. Absent: anybody may call. */
  readonly credential?: string;
  /** Told what a handler threw, or why a lease was not renewed. Absent: `console.error`. */
  readonly onError?: (message: string, error: unknown) => void;
  /** Told what was registered and where, and when it ended. Absent: `console.error`, because standard output is yours. */
  readonly onNote?: (message: string) => void;
}

/** Serves tools to the runtime. Ended by {@link ToolServer.close} or `await using`. */
export class ToolServer implements AsyncDisposable {
  readonly #options: ToolServerOptions;
  readonly #server: http2.Http2Server;
  readonly #tools = new Map<string, ToolHandler<never>>();
  readonly #reconcilers = new Map<string, Reconciler<never>>();
  readonly #declared = new Map<string, ToolDeclaration>();
  readonly #attempts = new Map<string, number>();
  readonly #underWay = new Map<string, number>(); // idempotency keys of calls that are being performed here
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  readonly #sockets = new Set<Socket>();
  readonly #leases: Lease[] = [];
  #isStopping = false;
  readonly #onError: (message: string, error: unknown) => void;
  readonly #onNote: (message: string) => void;

  readonly #callback: Callback | undefined;

  /** A server without tools, which does not listen yet. With a `callback` it serves that, and has none. */
  constructor(options: ToolServerOptions = {}, callback?: Callback) {
    check("ToolServer", options);
    this.#options = options;
    this.#callback = callback;
    this.#onNote =
      options.onNote ??
      ((message) => {
        console.error(`runwright: ${message}`);
      });
    this.#onError =
      options.onError ??
      ((message, error) => {
        console.error(message, error);
      });
    const serve = connectNodeAdapter({
      connect: false,
      grpcWeb: false,
      readMaxBytes: 4 * 1024 * 1024,
      routes: (router) =>
        callback
          ? callback.serve(
              router,
              (context) => {
                this.#authorize(context);
              },
              this.#onError,
            )
          : router.service(ToolExecutorService, {
              executeTool: (request, context) => this.#execute(request, context),
              reconcileTool: (request, context) => this.#reconcile(request, context),
              describeTools: (_, context) => {
                this.#authorize(context);
                return described(this.#declared, this.#reconcilers);
              },
            }),
      fallback: (_, response) => {
        // There is no health service: UNIMPLEMENTED is taken for being well. A status without a message has to come
        // with the first headers and end the stream, which `writeHead` and `end` do not do.
        const { stream } = response as http2.Http2ServerResponse;
        const status = { "content-type": "application/grpc", "grpc-status": String(Code.Unimplemented) };
        stream.respond({ ":status": 200, ...status }, { endStream: true });
      },
    });
    this.#server = options.tls ? http2.createSecureServer({ ...options.tls }, serve) : http2.createServer(serve);
    this.#server.on("error", (error) => {
      if (this.#server.listening) this.#onError("the tool server cannot take a connection", error);
    });
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    this.#server.on("session", (session: http2.ServerHttp2Session) => {
      this.#sessions.add(session);
      session.once("close", () => this.#sessions.delete(session));
      session.on("error", () => undefined); // a peer that is gone; its calls are aborted
    });
  }

  /**
   * Adds a tool. Its arguments are valid under the schema that the package has for it. The declaration is what packages
   * are written and compared by.
   */
  add<Arguments = Record<string, unknown>>(
    tool: string,
    handler: ToolHandler<Arguments>,
    declaration: ToolDeclaration = {},
  ): this {
    checkTool(tool, handler, this.#tools);
    checkDeclaration(tool, declaration);
    if (this.#leases.length > 0) {
      throw new TypeError(`Add ${tool} before the tool server is registered: nobody would call it.`);
    }
    this.#tools.set(tool, handler);
    this.#declared.set(tool, { ...declaration });
    return this;
  }

  /**
   * Has a function say, of a tool that was added, what became of a call that the runtime has lost sight of. The package
   * declares such a tool `reconcilable`. While the call is still under way in this process the function is not asked.
   */
  reconcile<Arguments = Record<string, unknown>>(tool: string, look: Reconciler<Arguments>): this {
    checkReconciler(tool, look, this.#tools, this.#reconcilers);
    this.#reconcilers.set(tool, look);
    return this;
  }

  /** Begins to listen at `host:port`; port 0 lets the system choose. Returns the address. */
  async listen(address = "127.0.0.1:0"): Promise<string> {
    const colon = address.lastIndexOf(":");
    const host = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(Number(address.slice(colon + 1)), host, () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
    return this.address;
  }

  /** Where it listens; empty before it does. */
  get address(): string {
    const bound = this.#server.address() as AddressInfo | null;
    if (bound === null) return "";
    return `${bound.family === "IPv6" ? `[${bound.address}]` : bound.address}:${String(bound.port)}`;
  }

  /**
   * Registers the tools with a runtime as `executor` and renews the lease until the server closes. Returns once the
   * registration is on disk. The client must stay open for as long.
   */
  async register(client: Client, executor: string, options: RegisterOptions = {}): Promise<Lease> {
    check("register", options);
    const kind = this.#callback?.kind ?? CallbackKind.TOOL_EXECUTOR;
    const { address = this.address, schemaDigests = true } = options;
    const toolDigests = schemaDigests ? digests(this.#declared) : [];
    const spec = { executor, address, tools: [...this.#tools.keys()], toolDigests, kind };
    checkRegistration(executor, options.callbackId, spec.address, this.#callback ? undefined : this.#tools);
    const lease = new Lease(client, spec, { credential: this.#options.credential, ...options }, this.#onError);
    await lease.begin();
    this.#leases.push(lease);
    const what = this.#callback
      ? `${this.#callback.word} ${executor}`
      : `executor ${executor}: ${spec.tools.join(", ")}`;
    this.#onNote(`registered with ${client.address} as ${what}; called at ${spec.address}`);
    return lease;
  }

  /** Listens, unless it does, and registers. */
  async serveFor(
    client: Client,
    options: RegisterOptions & { readonly executor: string; readonly listen?: string },
  ): Promise<Lease> {
    check("serveFor", options);
    const { executor, listen, ...rest } = options;
    checkRegistration(
      executor,
      rest.callbackId,
      rest.address ?? listen ?? "127.0.0.1:0",
      this.#callback ? undefined : this.#tools,
    );
    if (this.address === "") await this.listen(listen);
    return this.register(client, executor, rest);
  }

  /** Unregisters, within `graceMs`, lets calls under way answer for up to as long, begins none, and ends. */
  async close(graceMs = 5_000): Promise<void> {
    this.#isStopping = true;
    await Promise.all(
      this.#leases.map(async (lease) => {
        if (await lease.end(graceMs)) this.#onNote(`unregistered ${lease.callbackId} from ${lease.server}`);
      }),
    );
    if (!this.#server.listening) return;
    const { address } = this;
    const ended = new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
    for (const session of this.#sessions) session.close();
    const timer = setTimeout(() => {
      for (const session of this.#sessions) session.destroy();
      for (const socket of this.#sockets) socket.destroy(); // a session would wait for its peer to hang up
    }, graceMs);
    await ended;
    clearTimeout(timer);
    this.#onNote(`stopped serving at ${address}`);
  }

  /** As {@link ToolServer.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #execute(request: ExecuteToolRequest, context: HandlerContext): Promise<ExecuteToolResponse> {
    this.#authorize(context);
    const handler = this.#tools.get(request.tool);
    // The one status that says that nothing was performed.
    if (!handler) throw new ConnectError(`There is no tool ${JSON.stringify(request.tool)} here.`, Code.Unimplemented);
    if (this.#isStopping) {
      const value = create(ToolNotPerformedSchema, { message: "This host is stopping." });
      return create(ExecuteToolResponseSchema, { outcome: { case: "notPerformed", value } });
    }
    const { idempotencyKey: key, attempt } = request;
    const seen = this.#seen(key, attempt);
    if (attempt < seen) {
      const told = `Attempt ${String(attempt)} comes after attempt ${String(seen)} of the same call.`;
      throw new ConnectError(told, Code.FailedPrecondition);
    }
    this.#underWay.set(key, (this.#underWay.get(key) ?? 0) + 1);
    try {
      return await this.#performing(context, (signal) =>
        answer(handler, request.argumentsJson, toolCall(request, context, signal), this.#onError),
      );
    } finally {
      const left = (this.#underWay.get(key) ?? 1) - 1;
      if (left > 0) this.#underWay.set(key, left);
      else this.#underWay.delete(key);
    }
  }

  async #reconcile(request: ReconcileToolRequest, context: HandlerContext): Promise<ReconcileToolResponse> {
    this.#authorize(context);
    const look = this.#reconcilers.get(request.tool);
    if (!look) {
      const told = `Nobody here says what became of calls of ${JSON.stringify(request.tool)}.`;
      throw new ConnectError(told, Code.Unimplemented);
    }
    // The runtime has given the attempt up: should it still arrive, it comes too late.
    this.#seen(request.idempotencyKey, request.attempt + 1);
    return this.#performing(context, async (signal) => {
      const call = toolCall(request, context, signal);
      const why = this.#isStopping ? "This host is stopping." : "The call is still under way here.";
      return this.#isStopping || this.#underWay.has(request.idempotencyKey)
        ? about(request, cannotSay(why), call, this.#onError)
        : reconciled(look, request, call, this.#onError);
    });
  }

  /** Works for as long as somebody waits for it. */
  async #performing<Answer>(context: HandlerContext, work: (signal: AbortSignal) => Promise<Answer>): Promise<Answer> {
    const running = new AbortController();
    const abort = (): void => {
      running.abort(context.signal.reason);
    };
    context.signal.addEventListener("abort", abort, { once: true });
    try {
      return await work(running.signal);
    } finally {
      context.signal.removeEventListener("abort", abort);
    }
  }

  #authorize(context: HandlerContext): void {
    const { credential } = this.#options;
    if (credential === undefined) return;
    const expected = Buffer.from(`Bearer ${credential}`);
    const given = Buffer.from(context.requestHeader.get("authorization") ?? "");
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      throw new ConnectError("The call does not carry the credential of the registration.", Code.Unauthenticated);
    }
  }

  /** Takes note of an attempt, and tells the highest one of its call: the answer of a lower one would go nowhere. */
  #seen(key: string, attempt: number): number {
    const highest = Math.max(this.#attempts.get(key) ?? 0, attempt);
    this.#attempts.delete(key); // the newest goes to the end
    this.#attempts.set(key, highest);
    if (this.#attempts.size > MOST_KEYS) this.#attempts.delete(this.#attempts.keys().next().value ?? "");
    return highest;
  }
}

function toolCall(
  request: ExecuteToolRequest | ReconcileToolRequest,
  context: HandlerContext,
  signal: AbortSignal,
): ToolCall {
  const { runId, turnId, round, callId, attempt, idempotencyKey, tool, packageFingerprint } = request;
  const deadline = request.deadline && timestampDate(request.deadline);
  const traceParent = context.requestHeader.get("traceparent") ?? "";
  const call = { runId, turnId, round, callId, attempt, idempotencyKey, tool, packageFingerprint };
  return { ...call, deadline, traceParent, signal };
}
