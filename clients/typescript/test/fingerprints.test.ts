import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { packageCanonical, packageFingerprint, schemaDigest } from "@runwright/client";

interface Vector {
  readonly name: string;
  readonly document: string;
  readonly canonical: string;
  readonly fingerprint: string;
}

const VECTORS = JSON.parse(
  readFileSync(new URL("../../../../tests/conformance/package_vectors.json", import.meta.url), "utf8"),
) as Vector[];

void test("fingerprints are those of the server", () => {
  assert.ok(VECTORS.length >= 20);
  for (const { name, document, canonical, fingerprint } of VECTORS) {
    assert.equal(packageCanonical(JSON.parse(document) as object), canonical, name);
    assert.equal(packageFingerprint(JSON.parse(document) as object), fingerprint, name);
  }
});

void test("what has no canonical form has no fingerprint", () => {
  const format = "runwright-package-v0";
  const n = (value: unknown): object => ({ format, provider: { parameters: { n: value } } });
  const documents = [{ id: "p" }, { format: "runwright-package-v9" }, n(2 ** 53), n(1e20), n(NaN), n("\ud800")];
  for (const document of documents) assert.throws(() => packageFingerprint(document), TypeError);
});

test("digests of schemas are those that the server and the other languages make", () => {
  const file = new URL("../../../../tests/conformance/schema_vectors.json", import.meta.url);
  const vectors = JSON.parse(readFileSync(file, "utf8")) as { name: string; schema: string; digest: string }[];

  assert.ok(vectors.length >= 8);
  for (const vector of vectors) {
    assert.equal(schemaDigest(JSON.parse(vector.schema) as object), vector.digest, vector.name);
  }
  for (const wrong of [[], { a: 2 ** 53 }, { a: Number.NaN }, { a: "\ud800" }]) {
    assert.throws(() => schemaDigest(wrong), TypeError);
  }
});
