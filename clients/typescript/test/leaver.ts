/** A program that uses everything, closes it, and has nothing left to stay for. */

import { Client, ToolServer } from "@runwright/client";

const client = Client.connect(process.argv[2] ?? "");
const tools = new ToolServer().add("look", () => null);
await tools.serveFor(client, { executor: "desk" });
const { run } = await client.start("Hello");
const all = client.subscribe({ all: true });
await all.next(); // and never read on
const waiting = client.subscribe({ sessionId: "none" });
await waiting.next();
const idle = waiting.next().catch(() => undefined);
await client.wait(run.runId);
await tools.close();
client.close();
await idle;
console.log("closed");
