import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Client } from "@runwright/client";

/** The warnings that these addresses bring, each connected to twice. */
async function warnings(
  addresses: readonly string[],
  options: Parameters<typeof Client.connect>[1],
): Promise<string[]> {
  const said: string[] = [];
  const take = (warning: Error & { code?: string }): void => {
    if (warning.code === "RUNWRIGHT_PLAINTEXT_KEY") said.push(warning.message);
  };
  process.on("warning", take);
  for (const address of [...addresses, ...addresses]) Client.connect(address, options).close();
  process.emitWarning("the last", { code: "LAST" }); // warnings are told in their order
  await once(process, "warning");
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", take);
  return said;
}

test("a key that goes out in plaintext to another host is warned of once", async () => {
  const others = ["runs.example:7760", "10.0.0.9:7760", "[fd00::9]:7760", "localhost.example:1", "127.example:1"];
  const said = await warnings(others, { key: "rwk_1_secret" });

  assert.deepEqual(
    said,
    others.map((address) => `The key goes to ${address} in plaintext, where others can read it.`),
  );
});

test("nothing is said of loopback, of TLS and without a key", async () => {
  const here = ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1", "LOCALHOST.:1"];

  assert.deepEqual(await warnings(here, { key: "rwk_1_secret" }), []);
  assert.deepEqual(await warnings(["other.example:1"], { key: "rwk_1_secret", tls: {} }), []);
  assert.deepEqual(await warnings(["other.example:1"], {}), []);
});

test("half of a client certificate is a mistake of the caller's", () => {
  assert.throws(() => Client.connect("127.0.0.1:1", { tls: { cert: "PEM" } }), /given together/);
  assert.throws(() => Client.connect("127.0.0.1:1", { tls: { key: "PEM" } }), /given together/);
});
