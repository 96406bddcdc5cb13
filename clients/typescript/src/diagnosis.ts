/** What is wrong where no Runwright server answered: one sentence, and what to do about it. */

import { Code, ConnectError } from "@connectrpc/connect";
import { codeName, fromDetails, RunwrightError } from "./errors.js";

/** Whom a client calls, and whether it has ever answered. */
export interface Peer {
  readonly address: string;
  readonly hasTls: boolean;
  readonly hasCertificate: boolean;
  heard: boolean;
}

const IS_IT_ONE = "check that the address is that of a Runwright server.";
const LOOK = "Try again, and look at the server's log.";

/** The words that the transport has for a connection that broke: a reset, a stream without a status, a lost peer. */
const BROKEN = new Set([Code.Aborted, Code.Internal, Code.Canceled, Code.ResourceExhausted, Code.Unavailable]);

/** For those who have a failed call and nothing else. */
const SOMEBODY: Peer = { address: "the address", hasTls: false, hasCertificate: false, heard: true };

/**
 * What a call failed with as a {@link RunwrightError}; for calls of the generated clients, the others do it themselves.
 * What the server said itself is told as it is.
 */
export function asRunwrightError(thrown: unknown, peer: Peer = SOMEBODY): RunwrightError {
  if (thrown instanceof RunwrightError) return thrown;
  const error = ConnectError.from(thrown);
  const told = fromDetails(error);
  if (told !== undefined || error.metadata.has("grpc-status")) peer.heard = true;
  if (told !== undefined) return told;
  if (error.metadata.has("grpc-status") || !BROKEN.has(error.code)) return bare(error, peer);
  // A failure on this side: of the connection, unless its cause is none of Node's, such as a message that has no form.
  if (error.cause instanceof Error && nodeError(error) === undefined) return bare(error, peer);
  return lost(error, nodeError(error), peer);
}

function bare(error: ConnectError, { address }: Peer): RunwrightError {
  switch (error.code) {
    case Code.Unimplemented:
      return made(
        error,
        `What answers at ${address} does not serve this call.`,
        "Check the address, and that client and server are of one version.",
      );
    case Code.DeadlineExceeded:
      return made(error, `${address} did not answer in time.`, LOOK);
    case Code.Unavailable:
      return away(error, `${address} is not available: ${error.rawMessage.replace(/\.$/, "")}.`, "Try again.", true);
    default:
      return made(error, oneLine(error.rawMessage), "Look at the server's log, and check the address.");
  }
}

function lost(error: ConnectError, cause: NodeJS.ErrnoException | undefined, peer: Peer): RunwrightError {
  const { address } = peer;
  const code = cause?.code ?? "";
  if (/ALTNAME_INVALID|HOSTNAME_MISMATCH/.test(code)) {
    const remedy = "Connect by a name that the certificate has, or give that as tls.serverName.";
    return away(error, `The certificate of ${address} is for another name.`, remedy, false);
  }
  if (/CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/.test(code)) {
    const message = `The certificate of ${address} is not trusted: ${cause?.message ?? ""}.`;
    return away(error, message, "Renew the server's certificate, and check the clocks.", false);
  }
  if (/CERT|SIGNATURE|ISSUER/.test(code) && !code.includes("ALERT")) {
    const message = `The certificate of ${address} is not trusted: ${cause?.message ?? ""}.`;
    return away(error, message, "Give the authority that signed it as tls.ca.", false);
  }
  if (/SSL|TLS/.test(code) && !code.includes("ALERT")) {
    const remedy = "Leave tls out, or start the server with a certificate.";
    return away(error, `What answers at ${address} does not speak TLS.`, remedy, false);
  }
  const call = cause?.syscall ?? "";
  if (call === "connect" || call.startsWith("getaddrinfo") || code === "ETIMEDOUT") {
    const why = WORDS[code] ?? code;
    const remedy = "Start one with `runwright serve`, or give the address of one that runs.";
    return away(error, `No Runwright server answers at ${address} (${why}).`, remedy, true);
  }
  if (peer.heard) return away(error, `The connection to ${address} was lost.`, LOOK, true);
  if (code === "ERR_HTTP2_ERROR") {
    const remedy = "Check that the address is that of a Runwright server.";
    return away(error, `What answers at ${address} does not speak gRPC.`, remedy, true);
  }
  return away(
    error,
    `What answers at ${address} closes the connection before it has answered.`,
    aboutClosing(peer),
    true,
  );
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ENOTFOUND: "name or service not known",
  EAI_AGAIN: "temporary failure in name resolution",
  EHOSTUNREACH: "no route to host",
  ENETUNREACH: "network is unreachable",
  ETIMEDOUT: "connection timed out",
};

function aboutClosing({ hasTls, hasCertificate }: Peer): string {
  if (!hasTls) return `If it is a server with TLS, give tls; else ${IS_IT_ONE}`;
  if (!hasCertificate) return `If it asks for a certificate of clients, give tls.cert and tls.key; else ${IS_IT_ONE}`;
  return `Check that it takes the certificate that is given, and ${IS_IT_ONE}`;
}

function away(cause: ConnectError, message: string, remedy: string, retryable: boolean): RunwrightError {
  const code = "UNAVAILABLE";
  return new RunwrightError({ reason: code, code, message: oneLine(message), remedy, retryable, cause, isBare: true });
}

function made(cause: ConnectError, message: string, remedy: string): RunwrightError {
  const code = codeName(cause.code);
  return new RunwrightError({ reason: code, code, message, remedy, cause, isBare: true });
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

/** The error of Node's below one of Connect's. */
function nodeError(error: Error): NodeJS.ErrnoException | undefined {
  for (let at: unknown = error.cause; at instanceof Error; at = at.cause) {
    if ("code" in at && typeof at.code === "string") return at as NodeJS.ErrnoException;
  }
  return undefined;
}
