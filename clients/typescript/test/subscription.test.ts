import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, type EventFrame, EventKind, EventView, RunwrightError, ToolServer } from "@runwright/client";
import { Gate, scripted, Server } from "./server.js";

const LOOK = { name: "look", effect: "read" } as const;
const CALLS = { calls: [{ tool: "look", arguments: { step: 1 } }] };
const LOOKS = scripted("looks", [CALLS, CALLS, { text: "done: {results}" }], [LOOK]);
const TALKS = scripted("talks", [{ text: "Hello." }]);

const OWN = new Set(["time", "deadline", "notBefore", "giveUpAt", "traceParent", "turnId"]);

/** What two runs of one request have in common. */
function neutral(frame: EventFrame, runId: string): string {
  const told = JSON.stringify(frame.item.value, (key, value: unknown) => {
    if (OWN.has(key)) return undefined;
    return typeof value === "bigint" ? String(value) : value;
  });
  return told.replaceAll(runId, "RUN");
}

test("a subscription shows every event once over a kill -9 in the middle of a call", async (t) => {
  const server = await Server.start(t, [LOOKS]);
  const client = server.client(t);
  await using tools = new ToolServer();
  const asked = new Gate();
  const answer = new Gate();
  tools.add("look", async (_, call) => {
    if (call.round === 1) return { seen: 1 };
    asked.open();
    await answer.passed;
    return { seen: call.round };
  });
  await tools.serveFor(client, { executor: "desk" });
  await client.start("Look twice", { runId: "r1" });

  const seen: EventFrame[] = [];
  const broken: RunwrightError[] = [];
  const subscription = client.subscribe("r1", { onReconnect: (error) => broken.push(error) });
  const reading = (async () => {
    for await (const frame of subscription) if (frame.item.case === "event") seen.push(frame);
  })();
  await asked.passed;
  await server.kill();
  answer.open();
  await server.start();
  await reading;

  assert.equal(subscription.reconnects, broken.length);
  assert.ok(broken.length >= 1 && broken.every((error) => error.code === "UNAVAILABLE" && error.retryable));
  const listed: EventFrame[] = [];
  for await (const frame of client.listEvents("r1")) listed.push(frame);
  assert.deepEqual(seen, listed);
  assert.equal(subscription.cursor, listed.at(-1)?.cursor);
  const attempts = seen.flatMap(({ item }) =>
    item.case === "event" && item.value.kind === EventKind.TOOL_STARTED ? [item.value.attempt] : [],
  );
  assert.deepEqual(attempts.slice(-2), [1, 2]);
});

test("a subscription over a kill -9 shows the same events as one that was not disturbed", async (t) => {
  const server = await Server.start(t, [LOOKS]);
  const client = server.client(t);
  // Nobody serves the tool: the run stands still, at the same event in both.
  for (const runId of ["run-1", "run-2"]) await client.start("Look", { runId });
  const read = async (runId: string, disturb: () => Promise<void>): Promise<EventFrame[]> => {
    const frames: EventFrame[] = [];
    for await (const frame of client.subscribe(runId)) {
      if (frame.item.case !== "event") continue;
      frames.push(frame);
      if (frame.item.value.kind === EventKind.RETRY_SCHEDULED) {
        await disturb();
        await client.cancel(runId, { reason: "enough" });
      }
    }
    return frames;
  };
  const whole = await read("run-1", () => Promise.resolve());
  const cut = await read("run-2", async () => {
    await server.kill();
    await server.start();
  });

  assert.deepEqual(
    cut.map((frame) => neutral(frame, "run-2")),
    whole.map((frame) => neutral(frame, "run-1")),
  );
  assert.equal(cut.at(-1)?.item.case, "event");
});

test("a frozen server is noticed by pings, and the stream goes on when it wakes up", async (t) => {
  const server = await Server.start(t, [LOOKS], "--min-ping-interval", "0.1");
  const client = server.client(t, { keepalive: { intervalMs: 200, timeoutMs: 200 } });
  await client.start("Look", { runId: "r1" });
  const lost = new Gate<RunwrightError>();
  const subscription = client.subscribe("r1", {
    onReconnect: (error) => {
      server.signal("SIGCONT");
      lost.open(error);
    },
  });
  const kinds: EventKind[] = [];
  for await (const event of subscription.events()) {
    kinds.push(event.kind);
    if (event.kind !== EventKind.RETRY_SCHEDULED) continue;
    server.signal("SIGSTOP");
    void lost.passed.then(() => client.cancel("r1"));
  }

  assert.equal((await lost.passed).code, "UNAVAILABLE");
  assert.equal(kinds.at(-1), EventKind.RUN_CANCELLED);
  assert.equal(kinds.filter((kind) => kind === EventKind.RUN_STARTED).length, 1);
});

test("a drained server's streams go on with the next", async (t) => {
  const server = await Server.start(t, [TALKS]);
  const client = server.client(t);
  const reasons: string[] = [];
  const away = new Gate();
  const subscription = client.subscribe(
    { sessionId: "s" },
    {
      onReconnect: (error) => {
        reasons.push(error.reason);
        away.open();
      },
    },
  );
  await client.start("Hello", { runId: "r1", sessionId: "s" });
  const ended: string[] = [];
  for await (const event of subscription.events()) {
    if (event.kind !== EventKind.RUN_COMPLETED) continue;
    ended.push(event.runId);
    if (ended.length === 2) break;
    server.signal("SIGTERM");
    void away.passed
      .then(() => server.kill())
      .then(() => server.start())
      .then(() => client.start("Hello", { runId: "r2", sessionId: "s" }));
  }

  assert.deepEqual(ended, ["r1", "r2"]);
  assert.equal(reasons[0], "DRAINING");
});

test("a connection that the server ends for its age is replaced by another", async (t) => {
  const server = await Server.start(t, [TALKS], "--connection-age", "0.3", "--connection-age-grace", "0.1");
  const client = server.client(t);
  const replaced = new Gate();
  const subscription = client.subscribe(
    { all: true },
    {
      onReconnect: () => {
        if (subscription.reconnects === 2) replaced.open();
      },
    },
  );
  const started = replaced.passed.then(() => client.start("Hello", { runId: "r1" }));
  const seqs: bigint[] = [];
  for await (const { seq, kind } of subscription.events()) {
    seqs.push(seq);
    if (kind === EventKind.RUN_COMPLETED) break;
  }
  await started;
  assert.deepEqual(
    seqs,
    seqs.map((_, index) => BigInt(index + 1)),
  );
});

test("filters, views, cursors and the text of a model come as asked for", async (t) => {
  const server = await Server.start(t, [scripted("speaks", [{ chunks: ["Half, ", "and the rest."] }])]);
  const client = server.client(t);
  const all = client.subscribe({ all: true }, { deltas: true, view: EventView.FULL });
  await client.start("Speak", { runId: "r1", sessionId: "s" });
  let text = "";
  let contents = 0;
  for await (const frame of all) {
    contents += frame.contents.length;
    if (frame.item.case !== "event") continue;
    const { body, kind } = frame.item.value;
    if (body.case === "modelStreamDelta") text += body.value.text;
    if (kind === EventKind.RUN_COMPLETED) break;
  }
  const kinds = [EventKind.TURN_STARTED, EventKind.RUN_COMPLETED];
  const some: EventFrame[] = [];
  for await (const frame of client.subscribe("r1", { filter: { kinds } })) some.push(frame);
  const rest: EventFrame[] = [];
  const after = some.find((frame) => frame.item.case === "event")?.cursor ?? "";
  for await (const frame of client.subscribe("r1", { filter: { kinds }, after })) rest.push(frame);

  assert.ok("Half, and the rest.".startsWith(text));
  assert.ok(contents > 0);
  const kindsOf = (frames: EventFrame[]): EventKind[] =>
    frames.flatMap(({ item }) => (item.case === "event" ? [item.value.kind] : []));
  assert.deepEqual(kindsOf(some), kinds);
  assert.deepEqual(kindsOf(rest), [EventKind.RUN_COMPLETED]);
  await assert.rejects(
    async () => client.subscribe("r1", { after: "nonsense" }).next(),
    (error: RunwrightError) => error.reason === "CURSOR_MALFORMED" && !error.retryable && error.remedy !== "",
  );
});

test("a subscription can be left in every way", async (t) => {
  const server = await Server.start(t, [TALKS]);
  const client = server.client(t);
  const opened = async (signal?: AbortSignal) => {
    const subscription = client.subscribe({ all: true }, { signal });
    assert.equal((await subscription.next()).done, false); // the opening bookmark
    return subscription;
  };

  const closed = await opened();
  const reading = closed.next();
  await closed.close();
  assert.deepEqual(await reading, { done: true, value: undefined });
  assert.deepEqual(await closed.next(), { done: true, value: undefined });

  const controller = new AbortController();
  const aborted = await opened(controller.signal);
  const failing = aborted.next();
  controller.abort(new Error("enough"));
  await assert.rejects(failing, /enough/);

  const left = await opened();
  const waiting = left.next();
  client.close();
  await assert.rejects(waiting, (error: RunwrightError) => error.reason === "CLIENT_CLOSED");
  await assert.rejects(client.snapshot("r1"), (error: RunwrightError) => error.reason === "CLIENT_CLOSED");
});

test("a server that never answers is given up after the deadline", async (t) => {
  const client = Client.connect("127.0.0.1:1", { deadlineMs: 300 });
  t.after(() => {
    client.close();
  });
  for (const call of [
    () => client.subscribe("r1").next(),
    () => client.wait("r1"),
    () => client.snapshot("r1"),
    () => client.wait("r1", { timeoutMs: 1 }),
  ]) {
    await assert.rejects(call, (error: RunwrightError) => {
      assert.ok(error instanceof RunwrightError);
      return error.code === "UNAVAILABLE" && error.retryable;
    });
  }
});
