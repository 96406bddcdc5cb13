package runwright_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The quick start is taken out of the README and does what the README says, but for the address.
func TestTheQuickStartWorks(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	taken := func(name, pattern string) string {
		t.Helper()
		found := regexp.MustCompile(pattern).FindSubmatch(text)
		if found == nil {
			t.Fatalf("the README has no %s", name)
		}
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, found[1], 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	server := serveFile(t, taken("adder.yaml", `(?s)adder\.yaml <<'END'\n(.*?)\nEND\n`))
	program := taken("main.go", "(?s)```go\n(package main\n.*?)```")
	source, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	source = []byte(strings.ReplaceAll(string(source), "127.0.0.1:7760", server.address))
	if err := os.WriteFile(program, source, 0o600); err != nil {
		t.Fatal(err)
	}

	output, err := exec.Command("go", "run", program).CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, output)
	}

	for _, line := range strings.Split(regexp.MustCompile("(?s)go run \\.\n(.*?)```").FindStringSubmatch(string(text))[1], "\n") {
		if line != "…" && !strings.Contains(string(output), line) {
			t.Errorf("not printed: %q, but:\n%s", line, output)
		}
	}
}
