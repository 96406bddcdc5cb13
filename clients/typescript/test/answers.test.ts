import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { RawResult, ToolError, type ToolHandler, ToolServer, type ToolServerOptions } from "@runwright/client";
import { ToolExecutorService } from "@runwright/client/messages";

const FAILED = "The tool failed.";
const MADE = "The call was made; its result cannot be encoded.";

type Handlers = Record<string, ToolHandler<never>>;

/** A tool server as the runtime sees it: gives the text of a result or of a failure. */
async function served(t: TestContext, handlers: Handlers, options: ToolServerOptions = { onError: () => undefined }) {
  const tools = new ToolServer(options);
  for (const [name, handler] of Object.entries(handlers)) tools.add(name, handler);
  const baseUrl = `http://${await tools.listen()}`;
  const sessionManager = new Http2SessionManager(baseUrl);
  t.after(async () => {
    sessionManager.abort();
    await tools.close(0);
  });
  const caller = createClient(ToolExecutorService, createGrpcTransport({ baseUrl, sessionManager }));
  return async (tool: string): Promise<string> => {
    const request = { tool, attempt: 1, idempotencyKey: tool, argumentsJson: Buffer.from("{}") };
    const { outcome } = await caller.executeTool(request, { timeoutMs: 20_000 });
    return outcome.case === "result" ? new TextDecoder().decode(outcome.value.data) : (outcome.value?.message ?? "");
  };
}

function revoked(): unknown {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

class Silent extends ToolError {
  override get message(): string {
    throw new Error("no words");
  }
}

const THROWN: Record<string, () => unknown> = {
  undefined: () => undefined,
  null: () => null,
  text: () => "a secret",
  number: () => 5,
  symbol: () => Symbol("a secret"),
  bigint: () => 5n,
  frozen: () => Object.freeze(new Error("a secret")),
  bare: () => Object.create(null) as unknown,
  revoked,
  function: () => () => "a secret",
  silent: () => new Silent(),
  wordless: () => new ToolError(),
  shy: () => ({
    [Symbol.for("nodejs.util.inspect.custom")]: () => {
      throw new Error("cannot be shown");
    },
  }),
};

/* eslint-disable @typescript-eslint/prefer-promise-reject-errors -- what tools do */
const WAYS: Record<string, (given: unknown) => unknown> = {
  throws: (given) => {
    throw given;
  },
  rejects: (given) => Promise.reject(given),
  thenable: (given) => ({
    then: (_: unknown, reject: (error: unknown) => void) => {
      reject(given);
    },
  }),
  "getter of then": (given) => ({
    get then(): unknown {
      throw given;
    },
  }),
};
/* eslint-enable */

for (const [way, fails] of Object.entries(WAYS)) {
  test(`whatever a tool throws fails that call and leaves the host alive: ${way}`, async (t) => {
    const handlers: Handlers = { look: () => "seen" };
    for (const [name, make] of Object.entries(THROWN)) handlers[name] = () => fails(make());
    // The log of the library itself, which has to show what was thrown.
    const shown = t.mock.method(console, "error", (...words: unknown[]) => words.map((word) => String(word)));
    const ask = await served(t, handlers, {});

    for (const name of Object.keys(THROWN)) assert.equal(await ask(name), FAILED, name);
    assert.equal(await ask("look"), '"seen"');
    assert.ok(shown.mock.callCount() > 0);
  });
}

test("a log that fails, at once or later, changes no answer", async (t) => {
  const handlers: Handlers = {
    fails: () => {
      throw new Error("a secret");
    },
    odd: () => 5n,
  };
  const later = (() => Promise.reject(new Error("the disk is full"))) as () => void;
  for (const onError of [() => assert.fail(), later]) {
    const ask = await served(t, handlers, { onError });
    assert.equal(await ask("fails"), FAILED);
    assert.equal(await ask("odd"), MADE);
  }
});

test("a performed call whose result cannot be encoded is said to be made", async (t) => {
  const ring: unknown[] = [];
  ring.push(ring);
  let deep: unknown = [];
  for (let depth = 0; depth < 100_000; depth++) deep = [deep];
  const results: Record<string, unknown> = {
    bigint: { size: 5n },
    ring,
    deep,
    function: () => undefined,
    symbol: Symbol("x"),
    map: { rows: new Map([[1, 2]]) },
    set: new Set([1]),
    bytes: { image: new Uint8Array(3) },
    buffer: [Buffer.from("x")],
    promise: { later: Promise.resolve(1) },
    error: new Error("returned"),
    toJSON: {
      toJSON: () => {
        throw new Error("no form");
      },
    },
    raw: new RawResult("text" as never, "text/plain"),
    media: new RawResult(Buffer.from("x"), 5 as never),
  };
  const handlers: Handlers = { nan: () => ({ ratio: NaN }), frozen: () => Object.freeze({ a: 1 }) };
  for (const [name, result] of Object.entries(results)) handlers[name] = () => result;
  const ask = await served(t, handlers);

  for (const name of Object.keys(results)) assert.equal(await ask(name), MADE, name);
  assert.equal(await ask("nan"), '{"ratio":null}');
  assert.equal(await ask("frozen"), '{"a":1}');
});

test("anything that can be awaited is awaited", async (t) => {
  const ask = await served(t, {
    thenable: () => ({ then: (resolve: (value: unknown) => void) => void setImmediate(resolve, Promise.resolve(1)) }),
    bound: (async () => Promise.resolve(2)).bind(undefined),
  });

  assert.deepEqual([await ask("thenable"), await ask("bound")], ["1", "2"]);
});
