package runwright_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	runwright "github.com/runwright/runwright/clients/go"
)

func TestAMistakeOfAnAuthorIsOneSentenceThatNamesWhatWasWritten(t *testing.T) {
	type handler = func(context.Context, *runwright.ToolCall, map[string]any) (any, error)
	var none handler
	some := func(context.Context, *runwright.ToolCall, map[string]any) (any, error) { return nil, nil }
	cases := map[string]struct {
		handle func(*runwright.ToolServer)
		said   string
	}{
		"a bad name": {func(s *runwright.ToolServer) { runwright.Handle(s, "take a walk", some) },
			`runwright: "take a walk" cannot be the name of a tool, which has 1 to 64 letters, digits, _ and -, the first a letter or _`},
		"no handler": {func(s *runwright.ToolServer) { runwright.Handle(s, "walk", none) }, "runwright: the handler of tool walk is nil"},
		"a double name": {func(s *runwright.ToolServer) { runwright.Handle(s, "walk", some); runwright.Handle(s, "walk", some) },
			"runwright: two tools are named walk"},
	}
	for name, one := range cases {
		tools := runwright.NewToolServer()
		one.handle(tools)
		if err := tools.Start("127.0.0.1:0"); err == nil || err.Error() != one.said {
			t.Errorf("%s: %v", name, err)
		}
		tools.Close()
	}

	client, err := runwright.Connect("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	tools := look(t, steps)
	refused := func(said, executor string, options ...runwright.RegisterOption) {
		t.Helper()
		if _, err := tools.Register(within(t), client, executor, options...); err == nil || !strings.HasPrefix(err.Error(), said) {
			t.Errorf("%v, not %s", err, said)
		}
	}
	refused(`runwright: "my desk" cannot be the name of an executor, which has 1 to 128 letters`, "my desk")
	refused(`runwright: "desk 1" cannot be the id of a callback`, "desk", runwright.WithCallbackID("desk 1"))
	runwright.Handle(tools, "late", some)
	refused("runwright: tool late comes after Start", "desk")
	tools = runwright.NewToolServer()
	refused("runwright: start the tool server before it is registered", "desk")
	if err := tools.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer tools.Close()
	refused("runwright: there is no tool to register", "desk")
	if err := runwright.NewToolServer().Start(tools.Address()); err == nil || !strings.Contains(err.Error(), tools.Address()) {
		t.Errorf("an address in use: %v", err)
	}
}

// callbackServer is what servers of tools, of a policy and of a dispatcher have in common.
type callbackServer interface {
	Start(address string) error
	Register(ctx context.Context, client *runwright.Client, name string, options ...runwright.RegisterOption) (*runwright.Registration, error)
	Shutdown(ctx context.Context)
}

func TestWhatIsRegisteredIsNamedByItsKind(t *testing.T) {
	var log bytes.Buffer
	server := serve(t, looks(1))
	client := server.connect()
	logging := runwright.WithLogger(slog.New(slog.NewTextHandler(&log, nil)))
	policy := runwright.NewPolicyServer(compliance, logging)
	dispatcher := runwright.NewDispatcherServer(runwright.Dispatcher{}, logging)
	for name, registered := range map[string]callbackServer{"compliance": policy, "chat": dispatcher} {
		if err := registered.Start("127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if _, err := registered.Register(within(t), client, name); err != nil {
			t.Fatal(err)
		}
		registered.Shutdown(within(t))
	}

	for _, part := range []string{
		"msg=registered server=" + server.address + " policy=compliance address=",
		"msg=registered server=" + server.address + " dispatcher=chat address=",
		"msg=unregistered server=" + server.address + " policy=compliance ",
		"msg=unregistered server=" + server.address + " dispatcher=chat ",
	} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("there is no %s in %s", part, log.String())
		}
	}
	if strings.Contains(log.String(), "executor=") || strings.Contains(log.String(), "tools=") {
		t.Errorf("neither is an executor: %s", log.String())
	}
}

func TestAToolServerSaysWhatItRegisteredWhereAndWhenItEnded(t *testing.T) {
	var log bytes.Buffer
	server := serve(t, looks(1))
	client := server.connect()
	tools := runwright.NewToolServer(runwright.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	runwright.Handle(tools, "look", steps)
	if err := tools.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if _, err := tools.Register(within(t), client, strings.Repeat("d", 128)); err != nil {
		t.Fatal(err)
	}
	where := tools.Address()
	tools.Shutdown(within(t))

	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	for number, parts := range [][]string{
		{"msg=registered", "server=" + server.address, "executor=ddd", "tools=look", "address=" + where},
		{"msg=unregistered", "server=" + server.address, "executor=ddd"},
		{`msg="the tool server has ended"`, "address=" + where},
	} {
		for _, part := range parts {
			if number >= len(lines) || !strings.Contains(lines[number], part) {
				t.Errorf("line %d has no %s: %s", number, part, log.String())
			}
		}
	}
}
