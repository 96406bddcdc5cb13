import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { ToolServer } from "@runwright/client";
import { folder, scripted, Server } from "./server.js";

const HERE = join(import.meta.dirname, "../..");
const README = readFileSync(join(HERE, "README.md"), "utf8");

/** A block of the README. */
function block(language: string): string {
  return new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, "s").exec(README)?.[1] ?? assert.fail(`no block of ${language}`);
}

test("the TypeScript program of the README compiles with its tsconfig and prints what models and tools say", async (t) => {
  const path = folder(t);
  mkdirSync(join(path, "node_modules/@runwright"), { recursive: true });
  symlinkSync(HERE, join(path, "node_modules/@runwright/client"));
  symlinkSync(join(HERE, "node_modules/@types"), join(path, "node_modules/@types"));
  writeFileSync(join(path, "package.json"), '{"type": "module"}');
  const calls = [{ tool: "time_in", arguments: { city: "Lisbon" } }];
  const script = [{ calls }, { chunks: ["It is ", "noon."] }];
  const server = await Server.start(t, [scripted("clock", script, [{ name: "time_in", effect: "read" }])]);
  const client = server.client(t);
  await using tools = new ToolServer().add("time_in", () => "12:00");
  await tools.serveFor(client, { executor: "desk" });
  writeFileSync(join(path, "watch.ts"), block("ts").replace("127.0.0.1:7760", server.address));
  writeFileSync(join(path, "tsconfig.json"), block("json"));

  execFileSync(process.execPath, [join(HERE, "node_modules/typescript/bin/tsc")], { cwd: path, stdio: "inherit" });
  const { stdout } = await promisify(execFile)(process.execPath, [join(path, "dist/watch.js")], { cwd: path });

  const lines = stdout.trim().split("\n");
  assert.ok(lines.includes('"12:00"'), stdout);
  assert.equal(lines.at(-1), "It is noon.");
  const pieces = lines.slice(0, -1).filter((line) => line !== '"12:00"');
  assert.ok("It is noon.".startsWith(pieces.join("")), "what has been said by the time is how the answer begins");
});
