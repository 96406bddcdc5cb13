/** How a server is reached: address, key, TLS, keepalive. */

import type { ClientHttp2Session } from "node:http2";
import { isIPv4 } from "node:net";
import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import type { Peer } from "./diagnosis.js";
import { check } from "./options.js";

/** TLS of a connection. Everything is PEM, as text or bytes. */
export interface Tls {
  /** Authorities to trust. Absent: the public ones that come with Node.js. */
  readonly ca?: string | Buffer;
  /** The client's own certificate chain, for servers that ask for one. */
  readonly cert?: string | Buffer;
  /** The private key of `cert`. */
  readonly key?: string | Buffer;
  /** The name the server's certificate must carry. Absent: the host of the address. */
  readonly serverName?: string;
}

/** How a silent connection is examined. */
export interface Keepalive {
  /** After how much silence a connection with open calls is pinged: 20 s. Servers take one ping in 10 s. */
  readonly intervalMs?: number;
  /** How long a ping may stay unanswered before the connection is given up: 10 s. */
  readonly timeoutMs?: number;
}

/** Options of {@link Client.connect}. */
export interface ConnectOptions {
  /** The key, sent as `authorization: Bearer KEY` with every call. */
  readonly key?: string;
  /** `{}` for TLS with the public authorities. Absent: plaintext. */
  readonly tls?: Tls;
  /** How long a call may take, with all its tries: 10 s. Each call can say otherwise; streams have no bound. */
  readonly deadlineMs?: number;
  /** How a silent connection is examined. */
  readonly keepalive?: Keepalive;
}

/** A transport and the connections behind it. */
export interface Connection {
  readonly transport: Transport;
  readonly peer: Peer;
  readonly close: () => void;
}

/** The connection to `host:port`; made with the first call, and again after it was lost. */
export function open(address: string, options: ConnectOptions): Connection {
  if (!/^[^\s/]+:\d{1,5}$/.test(address)) {
    throw new TypeError(`The address must be HOST:PORT, such as 127.0.0.1:7760, not ${JSON.stringify(address)}.`);
  }
  check("Client.connect", options);
  check("Client.connect, tls", options.tls);
  check("Client.connect, keepalive", options.keepalive);
  const { key, tls, keepalive } = options;
  if (key && !tls && !staysHere(address)) warnOfPlaintext(address);
  if (tls && !tls.cert !== !tls.key) throw new TypeError("tls.cert and tls.key must be given together.");
  const baseUrl = `${tls ? "https" : "http"}://${address}`;
  const sessions = new Sessions(
    baseUrl,
    { pingIntervalMs: keepalive?.intervalMs ?? 20_000, pingTimeoutMs: keepalive?.timeoutMs ?? 10_000 },
    tls && {
      ca: withoutMark(tls.ca),
      cert: tls.cert,
      key: tls.key,
      ...(tls.serverName && { servername: tls.serverName }),
    },
  );
  const authorize: Interceptor = (next) => (request) => {
    if (key) request.header.set("authorization", `Bearer ${key}`);
    return next(request);
  };
  const transport = createGrpcTransport({ baseUrl, sessionManager: sessions, interceptors: [authorize] });
  return {
    transport,
    peer: { address, hasTls: tls !== undefined, hasCertificate: Boolean(tls?.cert), heard: false },
    close: () => {
      sessions.abort();
    },
  };
}

const warned = new Set<string>();

/** Says once for each address that whoever stands on the way can read the key. */
function warnOfPlaintext(address: string): void {
  if (warned.has(address)) return;
  warned.add(address);
  process.emitWarning(`The key goes to ${address} in plaintext, where others can read it.`, {
    code: "RUNWRIGHT_PLAINTEXT_KEY",
    detail: "Give `tls`.",
  });
}

/** Whether what goes to an address stays on this machine. Names are not resolved, but for the one that says so. */
function staysHere(address: string): boolean {
  const host = address
    .slice(0, address.lastIndexOf(":"))
    .replace(/^\[|\]$/g, "")
    .toLowerCase();
  if (host.replace(/\.$/, "") === "localhost") return true;
  const mapped = host.replace(/^::ffff:(?=\d+\.)/, "");
  return mapped === "::1" || (isIPv4(mapped) && mapped.startsWith("127."));
}

/** PEM without the byte order mark that editors put before it, and that OpenSSL does not know. */
function withoutMark(pem: string | Buffer | undefined): string | undefined {
  return pem?.toString("utf8").replace(/^\ufeff/, "");
}

/**
 * The connections of one client. A connection tells its streams that it is lost before it says so itself; when a new
 * call is made in between, the manager has stopped listening, and nobody but this would hear the error.
 */
class Sessions extends Http2SessionManager {
  readonly #heard = new WeakSet<ClientHttp2Session>();

  override async request(...call: Parameters<Http2SessionManager["request"]>) {
    const stream = await super.request(...call);
    const { session } = stream;
    if (session && !this.#heard.has(session as ClientHttp2Session)) {
      this.#heard.add(session as ClientHttp2Session);
      session.on("error", () => undefined);
    }
    return stream;
  }
}
