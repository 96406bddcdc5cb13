package runwright_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	runwright "github.com/runwright/runwright/clients/go"
	callbackv1 "github.com/runwright/runwright/clients/go/gen/runwright/callback/v1"
	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

type booking struct {
	Room  int      `json:"room" jsonschema:"its number"`
	Guest string   `json:"guest,omitempty"`
	Extra []string `json:"extra,omitzero"`
}

func nothing[A any](context.Context, *runwright.ToolCall, A) (any, error) { return nil, nil }

func TestToolsAreDescribedByTheTypeOfTheirArguments(t *testing.T) {
	tools := runwright.NewToolServer()
	runwright.Handle(tools, "book", nothing[booking], runwright.WithDescription("Books."), runwright.WithEffect(runwright.EffectWrite))
	runwright.Handle(tools, "any", nothing[map[string]any])
	runwright.Handle(tools, "typed", nothing[booking])
	if err := tools.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer tools.Close()

	response, err := dialled(t, tools).DescribeTools(within(t), &callbackv1.DescribeToolsRequest{})
	if err != nil {
		t.Fatal(err)
	}

	described := response.GetTools()
	if len(described) != 3 || described[0].GetName() != "any" || described[1].GetName() != "book" {
		t.Fatal(described)
	}
	wanted := `{"additionalProperties":false,"properties":{"extra":{"items":{"type":"string"},"type":["null","array"]},` +
		`"guest":{"type":"string"},"room":{"description":"its number","type":"integer"}},"required":["room"],"type":"object"}`
	book := described[1]
	if string(book.GetParametersSchemaJson()) != wanted || string(described[2].GetParametersSchemaJson()) != wanted {
		t.Errorf("%s", book.GetParametersSchemaJson())
	}
	if digest, err := runwright.SchemaDigest([]byte(wanted)); err != nil || book.GetSchemaDigest() != digest {
		t.Errorf("%v %s", err, book.GetSchemaDigest())
	}
	if book.GetEffect() != runwrightv1.EffectClass_EFFECT_CLASS_WRITE || book.Idempotent == nil || book.GetIdempotent() {
		t.Errorf("%v", book)
	}
	if described[0].ParametersSchemaJson != nil || described[0].Idempotent != nil || described[0].GetSchemaDigest() != "" {
		t.Errorf("of a map nothing is known: %v", described[0])
	}
}

func TestADeclarationThatCannotBeIsAnErrorOfStart(t *testing.T) {
	for _, option := range []runwright.ToolOption{
		runwright.WithEffect("magic"), runwright.WithSchema(json.RawMessage(`[1]`)), runwright.WithSchema(json.RawMessage(`{"a":9007199254740993}`)),
	} {
		tools := runwright.NewToolServer()
		runwright.Handle(tools, "book", nothing[booking], option)
		if err := tools.Start("127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "tool book: ") {
			t.Error(err)
		}
	}
	tools := runwright.NewToolServer()
	runwright.Handle(tools, "odd", nothing[struct{ C chan int }], runwright.WithEffect(runwright.EffectRead))
	if err := tools.Start("127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "WithSchema gives one") {
		t.Error(err)
	}
}

func TestSchemaDigestsAreThoseOfTheVectors(t *testing.T) {
	text, err := os.ReadFile("../../tests/conformance/schema_vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, Schema, Canonical, Digest string }
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) < 8 {
		t.Fatal(err, len(vectors))
	}
	for _, vector := range vectors {
		if digest, err := runwright.SchemaDigest([]byte(vector.Schema)); err != nil || digest != vector.Digest {
			t.Errorf("%s: %v %s", vector.Name, err, digest)
		}
	}
	for _, wrong := range []string{`[]`, `null`, `{"a":1e400}`, `{"a":9007199254740993}`} {
		if digest, err := runwright.SchemaDigest([]byte(wrong)); err == nil {
			t.Errorf("%s: %s", wrong, digest)
		}
	}
}
