package runwright_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/runwright/runwright/clients/go"
)

func TestFingerprintsAreThoseOfTheServer(t *testing.T) {
	text, err := os.ReadFile("../../tests/conformance/package_vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, Document, Canonical, Fingerprint string }
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) < 20 {
		t.Fatal(err, len(vectors))
	}
	for _, vector := range vectors {
		canonical, err := runwright.PackageCanonical([]byte(vector.Document))
		if err != nil || string(canonical) != vector.Canonical {
			t.Errorf("%s: %v\n%s\n%s", vector.Name, err, canonical, vector.Canonical)
		}
		if found, err := runwright.PackageFingerprint([]byte(vector.Document)); err != nil || found != vector.Fingerprint {
			t.Errorf("%s: %v %s", vector.Name, err, found)
		}
	}
}

func TestWhatHasNoCanonicalFormHasNoFingerprint(t *testing.T) {
	for _, document := range []string{
		`{"id": "p"}`,
		`{"format": "runwright-package-v9"}`,
		`[]`,
		"{\"format\": \"runwright-package-v0\", \"id\": \"\xff\"}",
		`{"format": "runwright-package-v0", "provider": {"parameters": {"n": 9007199254740992}}}`,
		`{"format": "runwright-package-v0", "provider": {"parameters": {"n": 1e20}}}`,
		`{"format": "runwright-package-v0", "provider": {"parameters": {"n": 1e999}}}`,
		`{"format": "runwright-package-v0", "id": "\ud83d"}`,
		`{"format": "runwright-package-v0", "id": "\ude00\ud83d"}`,
		`{"format": "runwright-package-v0", "id": "\ud83d\n\ude00"}`,
	} {
		if found, err := runwright.PackageFingerprint([]byte(document)); err == nil {
			t.Errorf("%s: %s", document, found)
		}
	}
}

func TestPairsOfEscapesAndEscapedBackslashesAreNoHalves(t *testing.T) {
	for written, same := range map[string]string{`"\ud83d\ude00"`: `"😀"`, `"\\ud83d"`: `"\\ud83d"`, `"\"\u00e4\\"`: `"\"ä\\"`} {
		first, err := runwright.SchemaDigest([]byte(`{"const": ` + written + `}`))
		second, other := runwright.SchemaDigest([]byte(`{"const": ` + same + `}`))
		if err != nil || other != nil || first != second {
			t.Errorf("%s: %v %v", written, err, other)
		}
	}
	if digest, err := runwright.SchemaDigest([]byte(`{"const": "\udc00"}`)); err == nil {
		t.Error(digest)
	}
}
