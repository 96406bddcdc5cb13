import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Client, EventKind, EventView, OnBusy, resultText, RunStatus, RunwrightError } from "@runwright/client";
import { certificate, folder, runwright, scripted, Server } from "./server.js";

const TALKS = scripted("talks", [{ text: "Hello." }]);
const LOOKS = scripted("looks", [{ calls: [{ tool: "look", arguments: {} }] }], [{ name: "look", effect: "read" }]);

/** A check for a refusal. */
function refused(reason: string, code: string, metadata: Record<string, string> = {}) {
  return (error: unknown): true => {
    assert.ok(error instanceof RunwrightError, String(error));
    assert.deepEqual({ reason: error.reason, code: error.code }, { reason, code });
    for (const [key, value] of Object.entries(metadata)) assert.equal(error.metadata[key], value);
    return true;
  };
}

test("a run is started once, waited for and read", async (t) => {
  const server = await Server.start(t, [TALKS]);
  const client = server.client(t);
  const options = { runId: "r1", sessionId: "s", labels: { team: "blue" }, onBusy: OnBusy.REJECT };
  const first = await client.start("Hello", options);
  const again = await client.start(["Hello"], options);
  const { run, done } = await client.wait("r1");
  const unnamed = await client.start([{ text: "Hello" }], { package: { packageId: "talks" } });
  await client.wait(unnamed.run.runId);

  assert.deepEqual([first.created, again.created, done], [true, false, true]);
  assert.equal(run.status, RunStatus.COMPLETED);
  assert.equal(resultText(run), "Hello.");
  assert.deepEqual(run.labels, { team: "blue" });
  assert.match(unnamed.run.runId, /^[0-9a-f-]{36}$/);
  assert.equal((await client.snapshot("r1")).lastSeq, run.lastSeq);
  assert.equal((await client.serverInfo()).packages[0]?.package?.packageId, "talks");
  await assert.rejects(
    client.start("Other", options),
    refused("RUN_ID_CONFLICT", "ALREADY_EXISTS", { fields: "input" }),
  );
  await assert.rejects(client.start([]), refused("INVALID_REQUEST", "INVALID_ARGUMENT"));

  const listed: string[] = [];
  for await (const { runId } of client.list({}, { pageSize: 1 })) listed.push(runId);
  assert.deepEqual(listed, [unnamed.run.runId, "r1"]);
  const kinds: EventKind[] = [];
  for await (const { item } of client.listEvents({ sessionId: "s" }, { pageSize: 2 })) {
    if (item.case === "event") kinds.push(item.value.kind);
  }
  assert.equal(kinds[0], EventKind.RUN_STARTED);
  assert.equal(kinds.at(-1), EventKind.RUN_COMPLETED);
  assert.equal(BigInt(kinds.length), run.lastSeq);
});

test("an unknown run is a typed error that says what to do", async (t) => {
  const server = await Server.start(t, [TALKS]);
  const client = server.client(t);
  const unknown = refused("RUN_NOT_FOUND", "NOT_FOUND", { run_id: "nobody" });
  await assert.rejects(client.snapshot("nobody"), unknown);
  await assert.rejects(client.cancel("nobody"), unknown);
  await assert.rejects(client.wait("nobody"), unknown);
  await assert.rejects(client.subscribe("nobody").next(), unknown);
  const error = await client.snapshot("nobody").catch((thrown: unknown) => thrown as RunwrightError);
  assert.ok(error instanceof RunwrightError && error.remedy !== "" && !error.retryable);
  assert.equal(error.message, "There is no run nobody.");
});

test("a wait goes on over a restart, is bounded by its time, and ends with a cancel", async (t) => {
  const server = await Server.start(t, [LOOKS]);
  const client = server.client(t);
  await client.start("Look", { runId: "r1" }); // nobody serves the tool
  const early = await client.wait("r1", { timeoutMs: 10 });
  const waiting = client.wait("r1");
  await client.snapshot("r1");
  await server.kill();
  const away = client.snapshot("r1"); // outlasts the restart, too
  await server.start();
  assert.equal((await away).runId, "r1");
  const { run, barrierSeq } = await client.cancel("r1", { reason: "enough", graceMs: 500 });
  const again = await client.cancel("r1");

  assert.equal(early.done, false);
  assert.ok(run.cancellationRequested && barrierSeq > 0n);
  assert.equal(again.barrierSeq, barrierSeq);
  const ended = await waiting;
  assert.ok(ended.done);
  assert.equal(ended.run.status, RunStatus.CANCELLED);
  assert.equal(ended.run.error?.message, "The run was cancelled: enough.");

  const controller = new AbortController();
  await client.start("Look", { runId: "r2" });
  const aborted = client.wait("r2", { signal: controller.signal });
  controller.abort(new Error("no patience"));
  await assert.rejects(aborted, /no patience/);
});

test("a server that stands still costs a call its deadline", async (t) => {
  const server = await Server.start(t, [TALKS]);
  const client = server.client(t);
  await client.serverInfo();
  server.signal("SIGSTOP");
  const error = refused("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED");
  await assert.rejects(client.serverInfo({ deadlineMs: 200 }), error);
  server.signal("SIGCONT");
  assert.equal((await client.serverInfo()).packages.length, 1);
});

test("keys, TLS with a private authority and certificates of clients", async (t) => {
  const path = folder(t);
  const keys = join(path, "keys.json");
  const key = runwright("keys", "add", "billing", "--file", keys, "--role", "caller");
  const observer = runwright("keys", "add", "desk", "--file", keys, "--role", "observer");
  runwright("keys", "add", "batch", "--file", keys, "--role", "caller", "--subject", "batch.example");
  const own = certificate(path, "runs.example");
  const batch = certificate(path, "batch.example");
  const tls = ["--tls-cert", own.cert, "--tls-key", own.key];
  const open = await Server.start(t, [TALKS], "--keys", keys, ...tls);
  const ca = readFileSync(own.cert);
  const serverName = "runs.example";

  const caller = open.client(t, { key, tls: { ca, serverName } });
  await caller.start("Hello", { runId: "r1" });
  assert.ok((await caller.wait("r1")).done);
  const reader = open.client(t, { key: observer, tls: { ca, serverName } });
  assert.equal((await reader.snapshot("r1")).runId, "r1");
  await assert.rejects(reader.start("Hello"), refused("ROLE_MISSING", "PERMISSION_DENIED", { role: "caller" }));
  const stranger = open.client(t, { key: "rwk_wrong", tls: { ca, serverName } });
  await assert.rejects(stranger.snapshot("r1"), refused("UNAUTHENTICATED", "UNAUTHENTICATED"));
  await assert.rejects(stranger.subscribe("r1").next(), refused("UNAUTHENTICATED", "UNAUTHENTICATED"));

  // What is wrong with a certificate does not pass by waiting.
  for (const wrong of [{}, { ca }, { ca: readFileSync(batch.cert), serverName }]) {
    const client = open.client(t, { key, tls: wrong });
    const reading = client.subscribe("r1").next();
    await assert.rejects(reading, refused("UNAVAILABLE", "UNAVAILABLE"), JSON.stringify(Object.keys(wrong)));
  }

  const mutual = await Server.start(t, [TALKS], "--keys", keys, ...tls, "--tls-client-ca", batch.cert);
  const known = { ca, serverName, cert: readFileSync(batch.cert), key: readFileSync(batch.key) };
  const certified = mutual.client(t, { tls: known });
  assert.equal((await certified.start("Hello", { runId: "r1" })).created, true);
});

test("a process ends by itself once everything is closed", async (t) => {
  const server = await Server.start(t, [TALKS]);
  const program = join(import.meta.dirname, "leaver.js");
  const leaver = spawn(process.execPath, [program, server.address], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => leaver.kill("SIGKILL"));
  let said = "";
  leaver.stdout.on("data", (data: Buffer) => (said += data.toString()));
  const [code] = (await once(leaver, "close")) as [number];
  assert.equal(code, 0);
  assert.equal(said, "closed\n");
});

test("a stream that nobody reads holds up no other call, and loses nothing", async (t) => {
  const server = await Server.start(t, [TALKS]);
  const client = server.client(t);
  const unread = client.subscribe({ agentId: "clerk" }, { view: EventView.FULL });
  assert.equal((await unread.next()).done, false);
  const runs = Array.from({ length: 10 }, (_, number) => `r${String(number)}`);
  for (const runId of runs) {
    await client.start("x".repeat(60_000), { runId });
    await client.wait(runId);
  }
  const ended: string[] = [];
  for await (const { kind, runId } of unread.events()) {
    if (kind === EventKind.RUN_COMPLETED) ended.push(runId);
    if (ended.length === runs.length) break;
  }
  assert.deepEqual(ended, runs);
  assert.equal(unread.reconnects, 0);
});

test("an address that is none is refused at once", () => {
  for (const address of ["", "localhost", "http://localhost:7760", "localhost:port"]) {
    assert.throws(() => Client.connect(address), /must be HOST:PORT/);
  }
});

test("a client is closed by its block", async (t) => {
  const server = await Server.start(t, [TALKS]);
  let kept: Client;
  {
    await using client = Client.connect(server.address);
    await client.serverInfo();
    kept = client;
  }
  await assert.rejects(kept.serverInfo(), refused("CLIENT_CLOSED", "CANCELLED"));
});
