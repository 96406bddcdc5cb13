import assert from "node:assert/strict";
import { test } from "node:test";
import {
  allow,
  defer,
  deny,
  interrupt,
  type PolicyDecision,
  type PolicyQuestion,
  PolicyServer,
  replaceArguments,
  resultText,
  RunStatus,
  ToolServer,
} from "@runwright/client";
import { scripted, Server, type Step } from "./server.js";

function compliance({ call }: PolicyQuestion): PolicyDecision | Promise<PolicyDecision> {
  const { to } = JSON.parse(new TextDecoder().decode(call?.argumentsJson)) as { to: string };
  switch (to) {
    case "outside":
      return deny("not_outside", "Write to somebody inside.");
    case "boss":
      return Promise.resolve(replaceArguments({ to: "assistant" }));
    case "nobody":
      return interrupt("never");
    case "error":
      throw new Error("the policy is broken");
    default:
      return allow("inside");
  }
}

function governed(...recipients: string[]): object {
  const script: Step[] = recipients.map((to) => ({ calls: [{ tool: "send", arguments: { to } }] }));
  const spec = scripted("one", [...script, { text: "{results}" }], [{ name: "send", effect: "write" }]);
  return { ...spec, policy: "builtin:read-only", policies: [{ remote: "compliance", max_attempts: 1 }] };
}

test("a served policy decides", async (t) => {
  const server = await Server.start(t, [governed("ann", "boss", "outside", "error")]);
  const client = server.client(t);
  const sent: string[] = [];
  const noted: string[] = [];
  await using tools = new ToolServer();
  tools.add<{ to: string }>("send", ({ to }) => sent.push(to));
  await using policy = new PolicyServer(compliance, { onError: (message) => noted.push(message) });
  await tools.serveFor(client, { executor: "desk" });
  await policy.serveFor(client, { policy: "compliance" });

  await client.start("hello", { runId: "r1" });
  const { run } = await client.wait("r1");

  assert.deepEqual(sent, ["ann", "assistant"]);
  assert.ok(resultText(run)?.includes("not_outside"));
  assert.ok(resultText(run)?.includes("policy.lost"));
  assert.deepEqual(noted, ["policy compliance failed on question p4.1.1"]);
});

test("an interrupt of a served policy ends the run", async (t) => {
  const server = await Server.start(t, [governed("nobody")]);
  const client = server.client(t);
  await using tools = new ToolServer();
  tools.add("send", () => assert.fail("it is not sent"));
  await using policy = new PolicyServer(compliance);
  await tools.serveFor(client, { executor: "desk" });
  await policy.serveFor(client, { policy: "compliance" });

  await client.start("hello", { runId: "r1" });
  const { run } = await client.wait("r1");

  assert.equal(run.status, RunStatus.FAILED);
  assert.equal(run.error?.reasonName, "POLICY_INTERRUPT");
});

test("what is no function is no policy", () => {
  assert.throws(() => new PolicyServer("yes" as never), /no function/);
});

test("what a policy defers is resumed", async (t) => {
  const server = await Server.start(t, [governed("ann")]);
  const client = server.client(t);
  const asked: string[] = [];
  await using tools = new ToolServer();
  tools.add("send", () => "sent");
  await using policy = new PolicyServer(({ effectId }) => (asked.push(effectId) > 1 ? allow() : defer(3_600_000)));
  await tools.serveFor(client, { executor: "desk" });
  await policy.serveFor(client, { policy: "compliance" });
  const resumed: boolean[] = [];

  await client.start("hello", { runId: "r1" });
  for await (const frame of client.subscribe("r1")) {
    if (frame.item.case === "event" && frame.item.value.body.case === "policyAnswered")
      resumed.push((await client.resume("r1", "p1.1.1", { reason: "it is over" })).resumed);
  }

  assert.deepEqual(asked, ["p1.1.1", "p1.1.2"]);
  assert.deepEqual(resumed, [true, false]);
});
