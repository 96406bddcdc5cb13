package runwright_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"runtime"
	"testing"

	runwright "github.com/runwright/runwright/clients/go"
)

const (
	toolFailed = "The tool failed."
	made       = "The call was made; its result cannot be encoded."
)

type performing func(ctx context.Context) (any, error)

// served is a server with these tools, as the runtime sees it: it gives the text of a result or of a failure.
func served(t *testing.T, log *slog.Logger, tools map[string]performing) func(tool string) string {
	t.Helper()
	server := runwright.NewToolServer(runwright.WithLogger(log))
	for name, perform := range tools {
		runwright.Handle(server, name, func(ctx context.Context, _ *runwright.ToolCall, _ map[string]any) (any, error) {
			return perform(ctx)
		})
	}
	if err := server.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	called := dialled(t, server)
	return func(tool string) string {
		t.Helper()
		answer, err := called.ExecuteTool(within(t), request(tool, 1, tool))
		if err != nil {
			t.Fatalf("%s: %v", tool, err)
		}
		if failure := answer.GetError(); failure != nil {
			return failure.GetMessage()
		}
		return string(answer.GetResult().GetData())
	}
}

func quietly() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

type sullen struct{}

func (sullen) Error() string                { panic("no words") }
func (sullen) Unwrap() error                { panic("nothing inside") }
func (sullen) MarshalJSON() ([]byte, error) { runtime.Goexit(); return nil, nil }

func TestWhateverAHandlerDoesItsCallFailsAndTheHostStaysAlive(t *testing.T) {
	var none map[string]int
	var declared *runwright.ToolError
	does := map[string]performing{
		"goexit":       func(context.Context) (any, error) { runtime.Goexit(); return nil, nil },
		"nil-map":      func(context.Context) (any, error) { none["a"] = 1; return nil, nil },
		"nil-panic":    func(context.Context) (any, error) { panic(nil) },
		"error-panic":  func(context.Context) (any, error) { panic(sullen{}) },
		"abort":        func(context.Context) (any, error) { panic(context.Canceled) },
		"sullen":       func(context.Context) (any, error) { return nil, sullen{} },
		"typed-nil":    func(context.Context) (any, error) { return nil, declared },
		"wordless":     func(context.Context) (any, error) { return nil, &runwright.ToolError{} },
		"cancelled":    func(context.Context) (any, error) { return nil, context.Canceled },
		"not-utf-8":    func(context.Context) (any, error) { return nil, &runwright.ToolError{Message: "\xff"} },
		"no-such-func": nil,
	}
	does["look"] = func(context.Context) (any, error) { return "seen", nil }
	ask := served(t, quietly(), does)

	for tool := range does {
		if told := ask(tool); told != toolFailed && tool != "look" {
			t.Errorf("%s: %q", tool, told)
		}
	}
	if told := ask("look"); told != `"seen"` {
		t.Errorf("afterwards: %q", told)
	}
}

func TestAPerformedCallWhoseResultCannotBeEncodedIsSaidToBeMade(t *testing.T) {
	ring := map[string]any{}
	ring["ring"] = ring
	gives := map[string]any{
		"channel": make(chan int), "function": func() {}, "nan": math.NaN(), "ring": ring, "complex": 1i,
		"panics": panicking{}, "goexit": sullen{},
		"media-type": runwright.Raw{Data: []byte("x"), MediaType: "\xff"},
	}
	does := map[string]performing{}
	for name, value := range gives {
		does[name] = func(context.Context) (any, error) { return value, nil }
	}
	does["pointed"] = func(context.Context) (any, error) { return &runwright.Raw{Data: []byte("as it is")}, nil }
	ask := served(t, quietly(), does)

	for tool := range gives {
		if told := ask(tool); told != made {
			t.Errorf("%s: %q", tool, told)
		}
	}
	if told := ask("pointed"); told != "as it is" {
		t.Errorf("a pointer to Raw: %q", told)
	}
}

type panicking struct{}

func (panicking) MarshalJSON() ([]byte, error) { panic("no form") }

// brokenLog fails when it is told of an error.
type brokenLog struct{ slog.Handler }

func (brokenLog) Handle(_ context.Context, record slog.Record) error {
	if record.Level >= slog.LevelError {
		panic("the disk is full")
	}
	return nil
}

func TestALogThatFailsChangesNoAnswer(t *testing.T) {
	log := slog.New(brokenLog{slog.NewTextHandler(io.Discard, nil)})
	ask := served(t, log, map[string]performing{
		"fails": func(context.Context) (any, error) { return nil, errors.New("a secret") },
		"odd":   func(context.Context) (any, error) { return func() {}, nil },
	})

	if failed, odd := ask("fails"), ask("odd"); failed != toolFailed || odd != made {
		t.Errorf("told %q and %q", failed, odd)
	}
}
