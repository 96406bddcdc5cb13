import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, ToolServer } from "@runwright/client";
import { scripted, Server } from "./server.js";

const look = (): string => "seen";

test("a mistake of a tool's author is one sentence that names what was written", async (t) => {
  const client = Client.connect("127.0.0.1:1");
  const tools = new ToolServer().add("look", look);
  t.after(() => {
    client.close();
  });
  const thrown = (make: () => unknown, told: RegExp): void => {
    assert.throws(make, told);
  };
  thrown(() => new ToolServer({ onerror: look } as never), /ToolServer has no option onerror; it has .*onError/);
  thrown(
    () => tools.add("take a walk", look),
    /^TypeError: "take a walk" cannot be the name of a tool, which has 1 to 64/,
  );
  thrown(() => tools.add(look as never, look), /the function look cannot be the name of a tool/);
  thrown(() => tools.add("walk", "seen" as never), /The handler of tool walk is "seen", no function/);
  thrown(() => tools.add("look", look), /Two tools are named look/);

  const refused = async (give: Promise<unknown>, told: RegExp): Promise<void> => assert.rejects(give, told);
  await refused(
    tools.serveFor(client, { executor: "my desk" }),
    /"my desk" cannot be the name of an executor, which has/,
  );
  await refused(tools.serveFor(client, {} as never), /cannot be the name of an executor/);
  await refused(tools.serveFor(client, "desk" as never), /options of serveFor must be an object, not "desk"/);
  await refused(tools.serveFor(client, { executor: "desk", lease: 5 } as never), /no option lease; it has .*leaseMs/);
  await refused(
    tools.serveFor(client, { executor: "desk", callbackId: "a b" }),
    /"a b" cannot be the id of a callback/,
  );
  await refused(tools.serveFor(client, { executor: "desk", listen: "0.0.0.0:0" }), /Nobody can dial 0\.0\.0\.0:0/);
  await refused(tools.register(client, "desk"), /must listen before it is registered/);
  await refused(new ToolServer().serveFor(client, { executor: "desk" }), /There is no tool to register/);
  assert.equal(tools.address, "", "nothing was served");
});

test("a tool server says what it registered, where, and when it ended", async (t) => {
  const server = await Server.start(t, [scripted("talks", [{ text: "Hello." }])]);
  const client = server.client(t);
  const notes: string[] = [];
  const tools = new ToolServer({ onNote: (note) => notes.push(note) }).add("look", look).add("peek", look);
  const executor = "d".repeat(128);
  const lease = await tools.serveFor(client, { executor });
  const where = tools.address;
  assert.throws(() => tools.add("late", look), /Add late before the tool server is registered/);
  await tools.close();
  await tools.close();

  assert.deepEqual(notes, [
    `registered with ${server.address} as executor ${executor}: look, peek; called at ${where}`,
    `unregistered ${lease.callbackId} from ${server.address}`,
    `stopped serving at ${where}`,
  ]);
});

test("a declaration that cannot be understood is refused when it is made", () => {
  const add = (declaration: object): (() => unknown) => {
    return () => new ToolServer().add("look", () => 1, declaration);
  };
  assert.throws(add({ effects: "read" }), /Tool look has no field effects; it has description, effect/);
  assert.throws(add({ effect: "magic" }), /The effect of tool look is "magic", none of read, write/);
  assert.throws(add({ parameters: [] }), /A schema is a JSON object/);
});
