package runwright_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	runwright "github.com/runwright/runwright/clients/go"
)

const around = `package main

import (
	"context"
	"fmt"
	"log"

	runwright "github.com/runwright/runwright/clients/go"
)

func serve(ctx context.Context, client *runwright.Client) error {
`

// The dispatcher of the README is taken out of it, and told of an approval and of its end.
func TestTheDispatcherOfTheReadmeIsTold(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)## Serve a dispatcher.*?```go\n(.*?)```").FindSubmatch(text)
	if found == nil {
		t.Fatal("the README has no dispatcher")
	}
	server := serve(t, spec{
		"format": "runwright-package-v0", "id": "one", "agent": spec{"id": "clerk"},
		"provider": spec{"adapter": "scripted", "model": "script-1", "parameters": spec{"script": []spec{
			{"calls": []spec{{"tool": "send", "arguments": spec{"to": "ann"}}}}, {"text": "{results}"},
		}}},
		"policies":  []spec{{"rules": []spec{{"then": "ask", "approval": "writes"}}}},
		"approvals": spec{"writes": spec{"expires": "1h", "dispatchers": []string{"chat"}}},
		"tools":     []spec{{"name": "send", "effect": "write", "executor": "box", "parameters": spec{"type": "object"}}},
	})
	program := filepath.Join(t.TempDir(), "main.go")
	main := around + string(found[1]) + `}

func main() {
	client, err := runwright.Connect("` + server.address + `")
	if err == nil {
		err = serve(context.Background(), client)
	}
	log.Fatal(err)
}
`
	if err := os.WriteFile(program, []byte(main), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "dispatcher")
	if output, err := exec.Command("go", "build", "-o", binary, program).CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, output)
	}
	command := exec.CommandContext(within(t), binary)
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	client := server.connect()
	started, err := client.Start(within(t), runwright.Text("hello"))
	if err != nil {
		t.Fatal(err)
	}

	first := lines.Scan() && strings.HasSuffix(lines.Text(), "/a1.1.1 APPROVAL_STATE_PENDING ")
	if !first {
		t.Fatalf("told %q", lines.Text())
	}
	if _, err := client.Cancel(within(t), started.Run.GetRunId()); err != nil {
		t.Fatal(err)
	}
	second := lines.Scan() && strings.HasSuffix(lines.Text(), "/a1.1.1 APPROVAL_STATE_WITHDRAWN my message 1")
	if !second {
		t.Fatalf("told %q", lines.Text())
	}
	_ = command.Process.Kill()
	_ = command.Wait()
}
