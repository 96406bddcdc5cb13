/** Tools of your own: a server that the runtime dials. */

import { timingSafeEqual } from "node:crypto";
import http2 from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { create } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import type { Client } from "./client.js";
import {
  type ExecuteToolRequest,
  type ExecuteToolResponse,
  ExecuteToolResponseSchema,
  ToolExecutorService,
} from "./gen/runwright/callback/v1/tool_executor_service_pb.js";
import { Lease, type RegisterOptions } from "./lease.js";

const MOST_KEYS = 65_536;
const MOST_RESULT_BYTES = 1024 * 1024;
const MOST_MESSAGE_BYTES = 4096;

/** What a tool is told beside its arguments. */
export interface ToolCall {
  /** The run that asks. */
  readonly runId: string;
  /** The turn that asks. */
  readonly turnId: string;
  /** The round that asks, counted from 1. */
  readonly round: number;
  /** The call inside the run. */
  readonly callId: string;
  /** Which attempt this is, counted from 1. */
  readonly attempt: number;
  /** The same for every attempt of the call: perform the effect at most once for it. */
  readonly idempotencyKey: string;
  /** The tool's name. */
  readonly tool: string;
  /** When the runtime stops waiting. */
  readonly deadline: Date | undefined;
  /** Fingerprint of the package that declares the tool. */
  readonly packageFingerprint: string;
  /** W3C trace of the run; empty without. */
  readonly traceParent: string;
  /** Aborted when the run was cancelled, the deadline has passed, or the runtime is gone. */
  readonly signal: AbortSignal;
}

/** Performs calls of one tool. What it returns is given to the model as JSON; a {@link RawResult} as it is. */
export type ToolHandler<Arguments> = (args: Arguments, call: ToolCall) => unknown;

/** A failure of the tool itself, for certain; thrown or returned, its message is told to the model. */
export class ToolError extends Error {
  override readonly name = "ToolError";
}

/** A result with a media type of its own. */
export class RawResult {
  constructor(
    /** The bytes. */
    readonly data: Uint8Array,
    /** What they are, such as `text/plain; charset=utf-8`. */
    readonly mediaType: string,
  ) {}
}

/** Options of a {@link ToolServer}. */
export interface ToolServerOptions {
  /** The server's certificate and private key, PEM. Absent: plaintext. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer };
  /** A token that calls must carry; {@link ToolServer.register} tells it to the runtime. Absent: anybody may call. */
  readonly credential?: string;
  /** Told what a handler threw, or why a lease was not renewed. Absent: `console.error`. */
  readonly onError?: (message: string, error: unknown) => void;
}

/** Serves tools to the runtime. Ended by {@link ToolServer.close} or `await using`. */
export class ToolServer implements AsyncDisposable {
  readonly #options: ToolServerOptions;
  readonly #server: http2.Http2Server;
  readonly #tools = new Map<string, ToolHandler<never>>();
  readonly #attempts = new Map<string, number>();
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  readonly #sockets = new Set<Socket>();
  readonly #leases: Lease[] = [];
  readonly #onError: (message: string, error: unknown) => void;

  /** A server without tools, which does not listen yet. */
  constructor(options: ToolServerOptions = {}) {
    this.#options = options;
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
        router.service(ToolExecutorService, { executeTool: (request, context) => this.#execute(request, context) }),
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

  /** Adds a tool. Its arguments are valid under the schema that the package has for it. */
  add<Arguments = Record<string, unknown>>(tool: string, handler: ToolHandler<Arguments>): this {
    this.#tools.set(tool, handler);
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
    const spec = { executor, address: options.address ?? this.address, tools: [...this.#tools.keys()] };
    const lease = new Lease(client, spec, { credential: this.#options.credential, ...options }, this.#onError);
    await lease.begin();
    this.#leases.push(lease);
    return lease;
  }

  /** Listens, unless it does, and registers. */
  async serveFor(
    client: Client,
    options: RegisterOptions & { readonly executor: string; readonly listen?: string },
  ): Promise<Lease> {
    if (this.address === "") await this.listen(options.listen);
    return this.register(client, options.executor, options);
  }

  /** Unregisters, within `graceMs`, lets calls under way answer for up to as long, and ends. */
  async close(graceMs = 5_000): Promise<void> {
    await Promise.all(this.#leases.map((lease) => lease.end(graceMs)));
    if (!this.#server.listening) return;
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
    this.#admit(request);
    const running = new AbortController();
    const abort = (): void => {
      running.abort(context.signal.reason);
    };
    context.signal.addEventListener("abort", abort, { once: true });
    try {
      const args = JSON.parse(new TextDecoder().decode(request.argumentsJson)) as never;
      const result = await handler(args, toolCall(request, context, running.signal));
      return result instanceof ToolError ? failed(result.message) : completed(result);
    } catch (thrown) {
      if (thrown instanceof ToolError) return failed(thrown.message);
      if (running.signal.aborted) throw new ConnectError("The call was given up.", Code.Canceled);
      this.#onError(`tool ${request.tool} failed, call ${request.callId} of run ${request.runId}`, thrown);
      return failed("The tool failed.");
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

  /** Refuses an attempt that was overtaken: its answer would go nowhere. */
  #admit({ idempotencyKey: key, attempt }: ExecuteToolRequest): void {
    const seen = this.#attempts.get(key) ?? 0;
    if (attempt < seen) {
      const told = `Attempt ${String(attempt)} comes after attempt ${String(seen)} of the same call.`;
      throw new ConnectError(told, Code.FailedPrecondition);
    }
    this.#attempts.delete(key); // the newest goes to the end
    this.#attempts.set(key, attempt);
    if (this.#attempts.size > MOST_KEYS) this.#attempts.delete(this.#attempts.keys().next().value ?? "");
  }
}

function toolCall(request: ExecuteToolRequest, context: HandlerContext, signal: AbortSignal): ToolCall {
  const { runId, turnId, round, callId, attempt, idempotencyKey, tool, packageFingerprint } = request;
  const deadline = request.deadline && timestampDate(request.deadline);
  const traceParent = context.requestHeader.get("traceparent") ?? "";
  const call = { runId, turnId, round, callId, attempt, idempotencyKey, tool, packageFingerprint };
  return { ...call, deadline, traceParent, signal };
}

function completed(result: unknown): ExecuteToolResponse {
  const raw = result instanceof RawResult ? result : new RawResult(Buffer.from(JSON.stringify(result ?? null)), "");
  const { data, mediaType } = raw;
  // The effect has happened, so the model must not be told that it has not.
  if (data.length > MOST_RESULT_BYTES) {
    return failed(
      `The call was made; its result of ${String(data.length)} bytes is above ${String(MOST_RESULT_BYTES)}.`,
    );
  }
  return create(ExecuteToolResponseSchema, { outcome: { case: "result", value: { data, mediaType } } });
}

function failed(told: string): ExecuteToolResponse {
  const bytes = Buffer.from(told);
  // A character that is cut becomes U+FFFD, which may be longer than what was left of it.
  const message = bytes.length > MOST_MESSAGE_BYTES ? bytes.subarray(0, MOST_MESSAGE_BYTES - 4).toString() : told;
  return create(ExecuteToolResponseSchema, { outcome: { case: "error", value: { message } } });
}
