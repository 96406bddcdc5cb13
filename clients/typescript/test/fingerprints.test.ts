import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { packageCanonical, packageFingerprint } from "@runwright/client";

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
