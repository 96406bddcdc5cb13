package runwright_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	runwright "github.com/runwright/runwright/clients/go"
	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

func compliance(_ context.Context, question *runwright.PolicyQuestion) (runwright.PolicyDecision, error) {
	var arguments struct {
		To string `json:"to"`
	}
	if err := json.Unmarshal(question.GetCall().GetArgumentsJson(), &arguments); err != nil {
		return runwright.PolicyDecision{}, err
	}
	switch arguments.To {
	case "outside":
		return runwright.Deny("not_outside", "Write to somebody inside."), nil
	case "boss":
		return runwright.ReplaceArguments(map[string]any{"to": "assistant"}, ""), nil
	case "later":
		if question.GetEffectId() == "p1.1.1" {
			return runwright.Defer(time.Hour, "", ""), nil
		}
	case "nobody":
		return runwright.Interrupt("never", ""), nil
	case "error":
		return runwright.PolicyDecision{}, errors.New("the policy is broken")
	case "panic":
		panic("the policy is broken")
	case "odd":
		return runwright.PolicyDecision{}, nil
	}
	return runwright.Allow("inside"), nil
}

func TestAServedPolicyDecides(t *testing.T) {
	script := []spec{}
	for _, to := range []string{"ann", "boss", "outside", "error", "panic", "odd"} {
		script = append(script, spec{"calls": []spec{{"tool": "send", "arguments": spec{"to": to}}}})
	}
	server := serve(t, governed(append(script, spec{"text": "{results}"})))
	client := server.connect()
	sent := decided(t, client)

	run, err := client.Start(within(t), runwright.Text("hello"))
	if err != nil {
		t.Fatal(err)
	}
	ended, _, err := client.Wait(within(t), run.Run.GetRunId(), patience)
	if err != nil {
		t.Fatal(err)
	}

	if got := strings.Join(*sent, " "); got != "ann assistant" {
		t.Errorf("sent to %q", got)
	}
	text := ended.GetResult().GetText()
	for _, word := range []string{"not_outside", "policy.lost"} {
		if !strings.Contains(text, word) {
			t.Errorf("%q is not in %q", word, text)
		}
	}
}

func TestAnInterruptOfAServedPolicyEndsTheRun(t *testing.T) {
	server := serve(t, governed([]spec{{"calls": []spec{{"tool": "send", "arguments": spec{"to": "nobody"}}}}, {"text": "no"}}))
	client := server.connect()
	sent := decided(t, client)

	run, err := client.Start(within(t), runwright.Text("hello"))
	if err != nil {
		t.Fatal(err)
	}
	ended, _, err := client.Wait(within(t), run.Run.GetRunId(), patience)
	if err != nil {
		t.Fatal(err)
	}

	if ended.GetStopReason() != runwrightv1.StopReason_STOP_REASON_POLICY_INTERRUPT || len(*sent) > 0 {
		t.Errorf("%v, sent %v", ended.GetStopReason(), *sent)
	}
}

// governed is a package whose calls a remote policy decides on.
func governed(script []spec) spec {
	return spec{
		"format": "runwright-package-v0", "id": "one", "agent": spec{"id": "clerk"},
		"provider": spec{"adapter": "scripted", "model": "script-1", "parameters": spec{"script": script}},
		"policies": []spec{{"remote": "compliance", "max_attempts": 1}},
		"tools":    []spec{{"name": "send", "executor": "box", "effect": "write", "parameters": spec{"type": "object"}}},
	}
}

// decided registers the tool and the policy, and returns to whom something was sent.
func decided(t *testing.T, client *runwright.Client) *[]string {
	t.Helper()
	sent := new([]string)
	quiet := runwright.WithLogger(slog.New(slog.DiscardHandler))
	tools := runwright.NewToolServer(quiet)
	runwright.Handle(tools, "send", func(_ context.Context, _ *runwright.ToolCall, arguments map[string]string) (any, error) {
		*sent = append(*sent, arguments["to"])
		return "sent", nil
	})
	policy := runwright.NewPolicyServer(compliance, quiet)
	if err := errors.Join(tools.Start("127.0.0.1:0"), policy.Start("127.0.0.1:0")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tools.Close)
	t.Cleanup(policy.Close)
	_, first := tools.Register(context.Background(), client, "box")
	_, second := policy.Register(context.Background(), client, "compliance")
	if err := errors.Join(first, second); err != nil {
		t.Fatal(err)
	}
	return sent
}

func TestWhatAPolicyDefersIsResumed(t *testing.T) {
	server := serve(t, governed([]spec{{"calls": []spec{{"tool": "send", "arguments": spec{"to": "later"}}}}, {"text": "done"}}))
	client := server.connect()
	sent := decided(t, client)

	started, err := client.Start(within(t), runwright.Text("hello"))
	if err != nil {
		t.Fatal(err)
	}
	runID, resumed := started.Run.GetRunId(), false
	for !resumed {
		if _, resumed, err = client.Resume(within(t), runwright.Resume{RunID: runID, EffectID: "p1.1.1", Reason: "it is over"}); err != nil {
			t.Fatal(err)
		}
	}
	ended, _, err := client.Wait(within(t), runID, patience)
	if err != nil {
		t.Fatal(err)
	}

	if ended.GetStatus() != runwrightv1.RunStatus_RUN_STATUS_COMPLETED || strings.Join(*sent, " ") != "later" {
		t.Errorf("%v, sent %v", ended.GetStatus(), *sent)
	}
}
