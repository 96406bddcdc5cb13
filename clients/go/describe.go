package runwright

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"
	"google.golang.org/protobuf/proto"

	callbackv1 "github.com/runwright/runwright/clients/go/gen/runwright/callback/v1"
	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// Effect is what a call can do to the world.
type Effect string

// The effects there are.
const (
	EffectRead    Effect = "read"
	EffectWrite   Effect = "write"
	EffectProcess Effect = "process"
	EffectNetwork Effect = "network"
)

var effects = map[Effect]runwrightv1.EffectClass{
	"":            runwrightv1.EffectClass_EFFECT_CLASS_UNSPECIFIED,
	EffectRead:    runwrightv1.EffectClass_EFFECT_CLASS_READ,
	EffectWrite:   runwrightv1.EffectClass_EFFECT_CLASS_WRITE,
	EffectProcess: runwrightv1.EffectClass_EFFECT_CLASS_PROCESS,
	EffectNetwork: runwrightv1.EffectClass_EFFECT_CLASS_NETWORK,
}

// declaration is what a tool's host says of it. A tool that declares anything says its schema when it is registered.
type declaration struct {
	description string
	effect      Effect
	idempotent  *bool
	schema      json.RawMessage // RFC 8785; nil where it is not known
	declared    bool
}

// ToolOption is a setting of [Handle]: what `runwright package tools` writes into a package, and `package validate
// --tools` compares. A tool with any of them says its schema when it is registered, and gets no calls of packages that
// have another; without them it says nothing then, and gets all calls of its name.
type ToolOption func(*declaration) error

// WithDescription is what the model reads of the tool.
func WithDescription(text string) ToolOption {
	return func(d *declaration) error { d.description = text; return nil }
}

// WithEffect is what a call can do to the world. A tool that only reads may be repeated, unless [WithIdempotent] says otherwise.
func WithEffect(effect Effect) ToolOption {
	return func(d *declaration) error {
		if _, known := effects[effect]; !known || effect == "" {
			return fmt.Errorf("the effect %q is none of read, write, process, network", effect)
		}
		d.effect = effect
		return nil
	}
}

// WithIdempotent says whether a call may be repeated with the same key.
func WithIdempotent(idempotent bool) ToolOption {
	return func(d *declaration) error { d.idempotent = &idempotent; return nil }
}

// WithSchema is the JSON Schema of the arguments, in place of the one made of their type.
func WithSchema(schema json.RawMessage) ToolOption {
	return func(d *declaration) error {
		canonical, err := canonicalSchema(schema)
		d.schema = canonical
		return err
	}
}

// declare makes a declaration of options and, without [WithSchema], of the type of the arguments.
func declare[A any](options []ToolOption) (*declaration, error) {
	d := &declaration{declared: len(options) > 0}
	for _, option := range options {
		if err := option(d); err != nil {
			return nil, err
		}
	}
	if d.idempotent == nil && d.effect != "" {
		d.idempotent = proto.Bool(d.effect == EffectRead)
	}
	arguments := reflect.TypeFor[A]()
	if d.schema != nil || arguments.Kind() != reflect.Struct {
		return d, nil // a map or raw JSON says nothing by itself
	}
	schema, err := schemaOf[A]()
	if err != nil && d.declared {
		return nil, fmt.Errorf("its arguments %s have no schema, WithSchema gives one: %w", arguments, err)
	}
	d.schema = schema // none, where nobody asked for it and there is none
	return d, nil
}

func schemaOf[A any]() (json.RawMessage, error) {
	schema, err := jsonschema.For[A](nil)
	if err != nil {
		return nil, err
	}
	written, err := json.Marshal(schema)
	if err != nil {
		return nil, err
	}
	return canonicalSchema(written)
}

// SchemaDigest gives `sha256:HEX` over the canonical form, RFC 8785, of a tool's schema: what packages and registrations
// call it by. It fails for what is no JSON object, or has no canonical form.
func SchemaDigest(schema []byte) (string, error) {
	canonical, err := canonicalSchema(schema)
	if err != nil {
		return "", fmt.Errorf("runwright: %w", err)
	}
	return digestOf(canonical), nil
}

func digestOf(canonical []byte) string {
	digest := sha256.Sum256(canonical)
	return "sha256:" + hex.EncodeToString(digest[:])
}

func canonicalSchema(schema []byte) (json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(schema))
	decoder.UseNumber()
	var whole object
	if err := decoder.Decode(&whole); err != nil || whole == nil {
		return nil, errors.Join(errors.New("a schema is a JSON object"), err)
	}
	var canonical bytes.Buffer
	err := writeCanonical(&canonical, whole)
	return canonical.Bytes(), err
}

// DescribeTools is called by whoever writes a package.
func (s *ToolServer) DescribeTools(context.Context, *callbackv1.DescribeToolsRequest) (*callbackv1.DescribeToolsResponse, error) {
	response := &callbackv1.DescribeToolsResponse{}
	for _, name := range s.tools() {
		declared := s.declared[name]
		described := &callbackv1.ToolDescription{
			Name: name, Description: declared.description, ParametersSchemaJson: declared.schema,
			Effect: effects[declared.effect], Idempotent: declared.idempotent,
		}
		if declared.schema != nil {
			described.SchemaDigest = digestOf(declared.schema)
		}
		response.Tools = append(response.Tools, described)
	}
	return response, nil
}

// digests are the schemas of those tools that declare themselves.
func (s *ToolServer) digests() []*callbackv1.ToolDigest {
	var digests []*callbackv1.ToolDigest
	for _, name := range s.tools() {
		if declared := s.declared[name]; declared.declared && declared.schema != nil {
			digests = append(digests, &callbackv1.ToolDigest{Tool: name, SchemaDigest: digestOf(declared.schema)})
		}
	}
	return digests
}
