package runwright_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	runwright "github.com/runwright/runwright/clients/go"
	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// A test that waits longer than this for anything has failed.
const patience = 60 * time.Second

var ready = regexp.MustCompile(`^runwright serving on (\S+:\d+)\n$`)

type spec = map[string]any

// server is one data directory and the process that serves it, life after life, at one address.
type server struct {
	t       *testing.T
	folder  string
	options []string
	address string
	process *exec.Cmd
	ended   chan struct{}
}

// python is the interpreter of the checkout; without a checkout there is no server to test against.
func python(t *testing.T) (interpreter, root string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "server", "runwright")); err != nil {
		t.Skip("needs a checkout of the whole repository: the tests talk to its server")
	}
	interpreter = filepath.Join(root, ".venv", "bin", "python")
	if _, err := os.Stat(interpreter); err != nil {
		t.Fatalf("%s is missing: run make -C clients/go deps", interpreter)
	}
	return interpreter, root
}

// command is a `runwright` command line of the checkout.
func command(t *testing.T, words ...string) *exec.Cmd {
	t.Helper()
	interpreter, root := python(t)
	process := exec.Command(interpreter, append([]string{"-m", "runwright"}, words...)...)
	process.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(root, "server"))
	process.Dir = root
	return process
}

// serve starts a server with one package.
func serve(t *testing.T, content spec, options ...string) *server {
	t.Helper()
	text, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "package.yaml") // JSON is YAML
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return serveFile(t, file, options...)
}

// serveFile starts a server with the package of a file.
func serveFile(t *testing.T, file string, options ...string) *server {
	t.Helper()
	options = append([]string{"--package", file}, options...)
	s := &server{t: t, folder: t.TempDir(), options: options, address: "127.0.0.1:0"}
	t.Cleanup(func() {
		if s.process != nil {
			s.kill()
		}
	})
	s.start()
	return s
}

// start begins a life; it returns once the server says that it serves.
func (s *server) start() {
	s.t.Helper()
	log, err := os.OpenFile(filepath.Join(s.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	words := append([]string{"serve", "--data", filepath.Join(s.folder, "data"), "--listen", s.address}, s.options...)
	process := command(s.t, words...)
	process.Stderr = log
	output, err := process.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	found := ready.FindStringSubmatch(line)
	if found == nil {
		text, _ := os.ReadFile(log.Name())
		s.t.Fatalf("not ready but %q (%v); its log:\n%s", line, err, text)
	}
	s.process, s.address, s.ended = process, found[1], make(chan struct{})
	go func(ended chan struct{}) {
		defer close(ended)
		_ = process.Wait()
	}(s.ended)
}

// signal sends a signal to the process.
func (s *server) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}

// kill is SIGKILL: nothing is said, nothing is finished.
func (s *server) kill() {
	_ = s.process.Process.Kill()
	<-s.ended
}

// restart is a kill and another life.
func (s *server) restart() {
	s.t.Helper()
	s.kill()
	s.start()
}

// connect gives a client that ends with the test.
func (s *server) connect(options ...runwright.Option) *runwright.Client {
	s.t.Helper()
	client, err := runwright.Connect(s.address, options...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// looks is a package that calls the tool `look` so many times, one after the other, and then answers.
func looks(times int) spec {
	var script []spec
	for step := range times {
		script = append(script, spec{"calls": []spec{{"tool": "look", "arguments": spec{"step": step + 1}}}})
	}
	return scripted(append(script, spec{"text": "done: {results}"})...)
}

func scripted(script ...spec) spec {
	return spec{
		"format":   "runwright-package-v0",
		"id":       "scripted",
		"agent":    spec{"id": "clerk"},
		"provider": spec{"adapter": "scripted", "model": "script-1", "parameters": spec{"script": script}},
		"policy":   "builtin:allow-declared",
		"budget":   spec{"rounds": 50, "tool_calls": 50},
		"tools": []spec{
			{"name": "look", "effect": "read", "executor": "desk", "parameters": spec{"type": "object"}},
		},
	}
}

// look is a tool server that performs `look`; it ends with the test.
func look(t *testing.T, perform func(context.Context, *runwright.ToolCall, map[string]any) (any, error)) *runwright.ToolServer {
	t.Helper()
	tools := runwright.NewToolServer()
	runwright.Handle(tools, "look", perform)
	if err := tools.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tools.Close)
	return tools
}

// steps answers with its argument.
func steps(_ context.Context, _ *runwright.ToolCall, arguments map[string]any) (any, error) {
	return spec{"step": arguments["step"]}, nil
}

func register(t *testing.T, tools *runwright.ToolServer, client *runwright.Client) *runwright.Registration {
	t.Helper()
	registration, err := tools.Register(within(t), client, "desk")
	if err != nil {
		t.Fatal(err)
	}
	return registration
}

func started(t *testing.T, client *runwright.Client, runID string, options ...runwright.StartOption) {
	t.Helper()
	options = append(options, runwright.WithRunID(runID))
	if _, err := client.Start(within(t), runwright.Text("Look around."), options...); err != nil {
		t.Fatal(err)
	}
}

func completed(t *testing.T, client *runwright.Client, runID string) *runwright.Run {
	t.Helper()
	run, done, err := client.Wait(within(t), runID, 0)
	if err != nil || !done || run.GetStatus() != runwrightv1.RunStatus_RUN_STATUS_COMPLETED {
		t.Fatalf("not completed but %v, %v, %v", run, done, err)
	}
	return run
}

// within is the context of something that must not take long.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// received waits for something to come.
func received[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		t.Fatal("it did not come")
		panic("unreachable")
	}
}

// events are the durable ones among frames.
func events(frames []*runwright.Frame) []*runwright.Frame {
	var found []*runwright.Frame
	for _, frame := range frames {
		if frame.GetEvent().GetSeq() > 0 {
			found = append(found, frame)
		}
	}
	return found
}

// noGoroutines fails unless as many goroutines are left as there were.
func noGoroutines(t *testing.T, before int) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(until) {
			var left strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&left, 1)
			t.Fatalf("%d goroutines, before %d:\n%s", runtime.NumGoroutine(), before, left.String())
		}
	}
}
