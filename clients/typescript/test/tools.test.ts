import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import {
  RawResult,
  resultText,
  RunStatus,
  RunwrightError,
  type ToolCall,
  ToolError,
  ToolServer,
} from "@runwright/client";
import { ToolExecutorService } from "@runwright/client/messages";
import { certificate, folder, Gate, runwright, scripted, Server, type Tool } from "./server.js";

const NAMES = ["sums", "fails", "refuses", "breaks", "cyclic", "raw", "huge", "nothing"];
const TOOLS: Tool[] = NAMES.map((name) => ({ name, effect: "read" }));

test("results, failures and faults of tools come back as what they are", async (t) => {
  const calls = NAMES.map((tool) => ({ tool, arguments: { a: 1, b: 2 } }));
  const server = await Server.start(t, [scripted("all", [{ calls }, { text: "{results}" }], TOOLS)]);
  const client = server.client(t);
  const told: ToolCall[] = [];
  const noted: string[] = [];
  await using tools = new ToolServer({ onError: (message) => noted.push(message) });
  tools
    .add<{ a: number; b: number }>("sums", ({ a, b }, call) => {
      told.push(call);
      return { sum: a + b };
    })
    .add("fails", () => new ToolError("There is no such room."))
    .add("refuses", async () => Promise.reject(new ToolError("x".repeat(5000))))
    .add("breaks", () => {
      throw new Error("a secret");
    })
    .add("cyclic", () => {
      const ring: unknown[] = [];
      ring.push(ring);
      return ring;
    })
    .add("raw", () => new RawResult(Buffer.from("as it is"), "text/plain"))
    .add("huge", () => "x".repeat(6 * 1024 * 1024))
    .add("nothing", () => undefined);
  await tools.serveFor(client, { executor: "desk" });
  await client.start("All", { runId: "r1", turnId: "turn" });
  const { run } = await client.wait("r1");
  const text = resultText(run) ?? "";

  assert.equal(run.status, RunStatus.COMPLETED);
  for (const part of [
    '{"sum":3}',
    "There is no such room.",
    "xxx",
    "The tool failed.",
    "as it is",
    "The call was made",
    "null",
  ]) {
    assert.ok(text.includes(part), `${part} in ${text}`);
  }
  assert.ok(!text.includes("a secret"));
  assert.equal(noted.length, 2);
  const { runId, turnId, round, callId, attempt, tool, deadline, idempotencyKey, packageFingerprint, signal } =
    told[0] ?? assert.fail();
  assert.deepEqual(
    { runId, turnId, round, callId, attempt, tool },
    {
      ...{ runId: "r1", turnId: "turn", round: 1, callId: "c1.1", attempt: 1, tool: "sums" },
    },
  );
  assert.ok(deadline && idempotencyKey && packageFingerprint);
  assert.equal(signal.aborted, false, "a call that was answered was not given up");
});

test("a tool is told when its run is cancelled", async (t) => {
  const calls = [{ tool: "look", arguments: {} }];
  const server = await Server.start(t, [scripted("looks", [{ calls }], [{ name: "look", effect: "read" }])]);
  const client = server.client(t);
  const asked = new Gate();
  const aborted = new Gate();
  await using tools = new ToolServer().add("look", async (_, { signal }) => {
    signal.addEventListener("abort", () => {
      aborted.open();
    });
    asked.open();
    await aborted.passed;
    throw signal.reason;
  });
  await tools.serveFor(client, { executor: "desk" });
  await client.start("Look", { runId: "r1" });
  await asked.passed;
  await client.cancel("r1");
  await aborted.passed;
  assert.equal((await client.wait("r1")).run.status, RunStatus.CANCELLED);
});

test("a tool is told when its deadline has passed", async (t) => {
  const calls = [{ tool: "look", arguments: {} }];
  const look = { name: "look", effect: "write", timeout_ms: 300 } as const;
  const server = await Server.start(t, [scripted("looks", [{ calls }], [look])]);
  const client = server.client(t);
  const aborted = new Gate();
  await using tools = new ToolServer().add("look", async (_, { signal }) => {
    signal.addEventListener("abort", () => {
      aborted.open();
    });
    await aborted.passed;
  });
  await tools.serveFor(client, { executor: "desk" });
  await client.start("Look", { runId: "r1" });
  await aborted.passed;
  assert.ok((await client.wait("r1")).done);
});

test("an attempt that was overtaken, an unknown tool and a wrong credential are refused", async (t) => {
  await using tools = new ToolServer({ credential: "secret" }).add("look", () => "seen");
  const baseUrl = `http://${await tools.listen()}`;
  const sessionManager = new Http2SessionManager(baseUrl);
  t.after(() => {
    sessionManager.abort();
  });
  const caller = createClient(ToolExecutorService, createGrpcTransport({ baseUrl, sessionManager }));
  const ask = async (tool: string, attempt: number, credential = "secret"): Promise<string> => {
    const request = { tool, attempt, idempotencyKey: "default/r1/c1.1", argumentsJson: Buffer.from("{}") };
    const headers = { authorization: `Bearer ${credential}` };
    const { outcome } = await caller.executeTool(request, { headers });
    return outcome.case === "result" ? new TextDecoder().decode(outcome.value.data) : String(outcome.value?.message);
  };
  const fails = (code: Code) => (error: ConnectError) => error.code === code;

  assert.equal(await ask("look", 2), '"seen"');
  await assert.rejects(ask("look", 1), fails(Code.FailedPrecondition));
  assert.equal(await ask("look", 2), '"seen"');
  assert.equal(await ask("look", 3), '"seen"');
  await assert.rejects(ask("peek", 4), fails(Code.Unimplemented));
  await assert.rejects(ask("look", 4, "guessed"), fails(Code.Unauthenticated));
});

for (const signal of ["SIGKILL", "SIGSTOP"] as const) {
  test(`a tool server ends in time although the runtime got ${signal}`, async (t) => {
    const calls = [{ tool: "look", arguments: {} }];
    const server = await Server.start(t, [scripted("looks", [{ calls }], [{ name: "look", effect: "read" }])]);
    const client = server.client(t);
    const noted: string[] = [];
    const asked = new Gate();
    const tools = new ToolServer({ onError: (message) => noted.push(message) });
    tools.add("look", async (_, call) => {
      asked.open();
      await new Promise((_resolve, reject) => {
        call.signal.addEventListener("abort", () => {
          reject(new Error("given up"));
        });
      });
    });
    await tools.serveFor(client, { executor: "desk", callbackId: "desk-1" });
    await client.start("Look");
    await asked.passed;
    server.signal(signal);
    await tools.close(200);
    await tools.close();
    assert.equal(tools.address, "");
    assert.deepEqual(noted, ["callback desk-1 could not be unregistered"]);
  });
}

test("a registration is leased, renewed over a restart, and taken back", async (t) => {
  const path = folder(t);
  const keys = `${path}/keys.json`;
  const roles = ["--role", "caller", "--role", "executor"];
  const key = runwright("keys", "add", "host", "--file", keys, ...roles);
  const own = certificate(path, "tools.example");
  const calls = [{ tool: "look", arguments: {} }];
  const script = [{ calls }, { text: "{results}" }];
  const server = await Server.start(t, [scripted("looks", script, [{ name: "look", effect: "read" }])], "--keys", keys);
  const client = server.client(t, { key });
  const tls = { cert: readFileSync(own.cert), key: readFileSync(own.key) };
  const tools = new ToolServer({ tls, credential: "secret" }).add("look", () => "seen");
  const lease = await tools.serveFor(client, {
    ...{ executor: "desk", callbackId: "desk-1", leaseMs: 5000 },
    tls: { ca: readFileSync(own.cert), serverName: "tools.example" },
  });
  const registered = async () => (await client.callbacks.listCallbacks({})).callbacks[0];
  const before = await registered();
  const bound = before?.expiresAt?.seconds ?? 0n;
  await server.kill();
  await server.start();
  await client.start("Look", { runId: "r1" });
  const { run } = await client.wait("r1");
  let after = await registered();
  while ((after?.expiresAt?.seconds ?? 0n) <= bound) after = await registered();

  assert.equal(resultText(run), '"seen"');
  assert.equal(lease.callbackId, "desk-1");
  assert.deepEqual(before?.spec?.tools, ["look"]);
  await tools.close();
  assert.equal(await registered(), undefined);
  const stranger = server.client(t, { key: runwright("keys", "add", "reader", "--file", keys, "--role", "observer") });
  await using refused = new ToolServer().add("look", () => null);
  await assert.rejects(refused.serveFor(stranger, { executor: "desk" }), (error: RunwrightError) => error.code !== "");
});
