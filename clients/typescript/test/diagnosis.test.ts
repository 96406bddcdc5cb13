import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import net, { type AddressInfo, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import tls from "node:tls";
import { Client, type ConnectOptions, RunwrightError } from "@runwright/client";
import { certificate, folder } from "./server.js";

/** The address of a server that ends with the test. */
async function listening(t: TestContext, server: net.Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket.on("error", () => undefined));
  });
  server.on("error", () => undefined).on("tlsClientError", () => undefined);
  server.on("sessionError", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `localhost:${String((server.address() as AddressInfo).port)}`;
}

/** What answers gRPC without knowing any service. */
function unknowing(_request: http2.Http2ServerRequest, response: http2.Http2ServerResponse): void {
  const headers = { ":status": 200, "content-type": "application/grpc", "grpc-status": "12" };
  response.stream.respond(headers, { endStream: true });
}

/** What a call says, without the address. */
async function said(address: string, options: ConnectOptions = {}): Promise<string> {
  const client = Client.connect(address, options);
  try {
    await client.serverInfo();
  } catch (error) {
    assert.ok(error instanceof RunwrightError);
    const line = `${error.reason}: ${error.message} ${error.remedy}`;
    assert.ok(!line.includes("\n"), line);
    return line.replaceAll(address, "ADDRESS");
  } finally {
    client.close();
  }
  return "nothing";
}

const AWAY = "Start one with `runwright serve`, or give the address of one that runs.";
const CLOSES = "UNAVAILABLE: What answers at ADDRESS closes the connection before it has answered. ";
const IS_IT_ONE = "check that the address is that of a Runwright server.";

test("each way of not being there is one line with a remedy", async (t) => {
  const path = folder(t);
  const [own, stranger] = [certificate(path, "localhost"), certificate(path, "stranger")];
  const pair = { cert: readFileSync(own.cert), key: readFileSync(own.key) };
  const plain = await listening(t, http2.createServer(unknowing));
  const secure = await listening(t, http2.createSecureServer(pair, unknowing));
  const asking = { ...pair, requestCert: true, ca: readFileSync(stranger.cert), ALPNProtocols: ["h2"] };
  const mutual = await listening(t, tls.createServer(asking));
  const web = (socket: Socket) => {
    socket.once("data", () => socket.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
  };
  const closing = await listening(
    t,
    net.createServer((socket) => socket.destroy()),
  );
  const trusting = { tls: { ca: pair.cert } };
  const cases: Record<string, Promise<string>> = {
    away: said("127.0.0.1:1"),
    "no such host": said("nowhere.invalid:7760"),
    "another service": said(plain),
    "no TLS there": said(plain, trusting),
    "TLS there": said(secure),
    closing: said(closing),
    "another authority": said(secure, { tls: { ca: readFileSync(stranger.cert) } }),
    "another name": said(secure, { tls: { ca: pair.cert, serverName: "elsewhere.example" } }),
    "no certificate of its own": said(mutual, trusting),
    HTTP: said(await listening(t, net.createServer(web))),
    silent: said(await listening(t, net.createServer()), { deadlineMs: 300 }),
  };
  const lines = Object.fromEntries(
    await Promise.all(Object.entries(cases).map(async ([name, line]) => [name, await line] as const)),
  );

  assert.match(lines["no such host"] ?? "", /^UNAVAILABLE: No Runwright server answers at ADDRESS \([a-z ]+\)\. Start/);
  assert.match(
    lines["another authority"] ?? "",
    /^UNAVAILABLE: The certificate of ADDRESS is not trusted: .*\. Give the authority that signed it as tls\.ca\.$/,
  );
  delete lines["no such host"];
  delete lines["another authority"];
  assert.deepEqual(lines, {
    away: `UNAVAILABLE: No Runwright server answers at ADDRESS (connection refused). ${AWAY}`,
    "another service":
      "UNIMPLEMENTED: What answers at ADDRESS does not serve this call. Check the address, and that client and server are of one version.",
    "no TLS there":
      "UNAVAILABLE: What answers at ADDRESS does not speak TLS. Leave tls out, or start the server with a certificate.",
    "TLS there": `${CLOSES}If it is a server with TLS, give tls; else ${IS_IT_ONE}`,
    closing: `${CLOSES}If it is a server with TLS, give tls; else ${IS_IT_ONE}`,
    "another name":
      "UNAVAILABLE: The certificate of ADDRESS is for another name. Connect by a name that the certificate has, or give that as tls.serverName.",
    "no certificate of its own": `${CLOSES}If it asks for a certificate of clients, give tls.cert and tls.key; else ${IS_IT_ONE}`,
    HTTP: "UNAVAILABLE: What answers at ADDRESS does not speak gRPC. Check that the address is that of a Runwright server.",
    silent: "DEADLINE_EXCEEDED: ADDRESS did not answer in time. Try again, and look at the server's log.",
  });
});

test("a server that has never answered is given up", async (t) => {
  const silent = await listening(t, net.createServer());
  for (const address of ["127.0.0.1:1", silent]) {
    const client = Client.connect(address, { deadlineMs: 200 });
    const givenUp = (error: unknown): boolean => error instanceof RunwrightError && error.remedy !== "";
    await Promise.all([
      assert.rejects(client.wait("r1"), givenUp),
      assert.rejects(client.subscribe("r1").next(), givenUp),
    ]);
    client.close();
  }
});

test("an option that does not exist is named, and so is what it may have been meant for", async () => {
  const client = Client.connect("127.0.0.1:1");
  const options = (wrong: object): never => wrong as never;

  assert.throws(
    () => Client.connect("127.0.0.1:1", options({ timeout: 5 })),
    /Client\.connect has no option timeout; it/,
  );
  assert.throws(() => Client.connect("127.0.0.1:1", options({ tls: { CA: "x" } })), /tls has no option CA; it has ca,/);
  assert.throws(() => Client.connect("127.0.0.1:1", options({ deadlineMs: "10s" })), /deadlineMs .* must be a number/);
  await assert.rejects(client.start("Hi", options({ runID: "r1" })), /start has no option runID; it has .*runId/);
  await assert.rejects(client.start("Hi", options({ package: { id: "x" } })), /package must be an id/);
  await assert.rejects(client.start(undefined as never), /The input must be a text/);
  await assert.rejects(client.wait("r1", options({ timeout: 5 })), /wait has no option timeout/);
  assert.throws(
    () => client.subscribe("r1", options({ delta: true })),
    /subscribe has no option delta; it has .*deltas/,
  );
  assert.throws(() => client.subscribe({ runid: "r1" } as never), /A scope is the id of a run/);
  client.close();
});
