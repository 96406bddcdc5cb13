import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { ApprovalVerdict, DispatcherServer, RunStatus, ToolServer } from "@runwright/client";
import { folder, scripted, Server, type Step } from "./server.js";

const HERE = join(import.meta.dirname, "../..");
const README = readFileSync(join(HERE, "README.md"), "utf8");

function asking(): object {
  const script: Step[] = [{ calls: [{ tool: "send", arguments: { to: "ann" } }] }, { text: "{results}" }];
  const spec = scripted("one", script, [{ name: "send", effect: "write" }]);
  const policies = [{ builtin: "read-only" }, { rules: [{ then: "ask", approval: "writes" }] }];
  const approvals = { writes: { expires: "1h", dispatchers: ["chat"] } };
  return { ...spec, policy: "builtin:read-only", policies, approvals };
}

test("the dispatcher of the README is told of an approval and of its end", async (t) => {
  const server = await Server.start(t, [asking()]);
  const client = server.client(t);
  const path = folder(t);
  mkdirSync(join(path, "node_modules/@runwright"), { recursive: true });
  symlinkSync(HERE, join(path, "node_modules/@runwright/client"));
  const program = /```js\n(import \{ Client, DispatcherServer.*?)```/s.exec(README)?.[1] ?? assert.fail("no program");
  writeFileSync(join(path, "told.mjs"), program.replace("127.0.0.1:7760", server.address));
  const process_ = spawn(process.execPath, ["told.mjs"], { cwd: path, stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => process_.kill());
  const lines = createInterface({ input: process_.stdout })[Symbol.asyncIterator]();

  const { run } = await client.start("hello");
  const waits = await lines.next();
  await client.cancel(run.runId);
  const now = await lines.next();

  assert.equal(waits.value, `${run.runId}/a1.1.1 PENDING `);
  assert.equal(now.value, `${run.runId}/a1.1.1 WITHDRAWN my message 1`);
});

test("a served dispatcher decides in its answer, and is told again what it threw at", async (t) => {
  const server = await Server.start(t, [asking()]);
  const client = server.client(t);
  await using tools = new ToolServer().add("send", ({ to }) => `sent to ${String(to)}`);
  await tools.serveFor(client, { executor: "desk" });
  const keys: string[] = [];
  const quiet = { onError: () => undefined, onNote: () => undefined };
  await using dispatcher = new DispatcherServer(
    {
      dispatch: ({ idempotencyKey }) => {
        keys.push(idempotencyKey);
        if (keys.length === 1) throw new Error("the chat is away");
        return { verdict: ApprovalVerdict.APPROVE };
      },
    },
    quiet,
  );
  await dispatcher.serveFor(client, { dispatcher: "chat" });

  const { run } = await client.start("hello");
  const ended = await client.wait(run.runId);

  assert.equal(ended.run.status, RunStatus.COMPLETED);
  assert.equal(keys.length, 2);
  assert.equal(keys[0], keys[1]);
});

test("what is no function is no dispatcher", () => {
  assert.throws(() => new DispatcherServer({ dispatch: "yes" as never }), TypeError);
});
