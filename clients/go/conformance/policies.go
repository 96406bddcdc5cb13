package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	runwright "github.com/runwright/runwright/clients/go"
)

// verdict is what a policy of a case says of a call, by its step.
type verdict struct {
	Verdict   string          `json:"verdict"`
	Code      string          `json:"code"`
	Message   string          `json:"message"`
	Arguments json.RawMessage `json:"arguments"`
	Text      string          `json:"text"`
	Seconds   float64         `json:"seconds"`
}

func (v verdict) decision(question string) (runwright.PolicyDecision, error) {
	switch v.Verdict {
	case "deny":
		return runwright.Deny(v.Code, v.Message), nil
	case "interrupt":
		return runwright.Interrupt(v.Code, v.Message), nil
	case "replace":
		return runwright.ReplaceArguments(v.Arguments, v.Code), nil
	case "replace_text":
		return runwright.ReplaceText(v.Text, v.Code), nil
	case "fail":
		return runwright.PolicyDecision{}, errors.New("as the case has it")
	case "defer":
		if strings.HasSuffix(question, ".1") {
			return runwright.Defer(time.Duration(v.Seconds*float64(time.Second)), v.Code, ""), nil
		}
	}
	return runwright.Allow(v.Code), nil
}

func (p *program) servePolicy(ctx context.Context, args arguments) (any, error) {
	server := runwright.NewPolicyServer(func(_ context.Context, question *runwright.PolicyQuestion) (runwright.PolicyDecision, error) {
		var call struct {
			Step json.Number `json:"step"`
		}
		if err := json.Unmarshal(question.GetCall().GetArgumentsJson(), &call); err != nil {
			return runwright.PolicyDecision{}, err
		}
		return args.Answers[call.Step.String()].decision(question.GetEffectId())
	})
	if err := server.Start("127.0.0.1:0"); err != nil {
		return nil, err
	}
	if _, err := server.Register(ctx, p.connected(), args.Policy, runwright.WithCallbackID(args.CallbackID)); err != nil {
		server.Close()
		return nil, err
	}
	p.mutex.Lock()
	p.policies[args.Name] = server
	p.mutex.Unlock()
	return object{"address": server.Address()}, nil
}

func (p *program) stopPolicy(_ context.Context, args arguments) (any, error) {
	p.mutex.Lock()
	server := p.policies[args.Name]
	delete(p.policies, args.Name)
	p.mutex.Unlock()
	if server == nil {
		return nil, fmt.Errorf("there is no policy %q", args.Name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopSeconds*time.Second)
	defer cancel()
	server.Shutdown(ctx)
	return object{}, nil
}

func (p *program) resume(ctx context.Context, args arguments) (any, error) {
	run, resumed, err := p.connected().Resume(ctx, runwright.Resume{
		RunID: args.RunID, EffectID: args.EffectID, Reason: args.Reason, RequestID: args.RequestID,
	})
	if err != nil {
		return nil, err
	}
	return object{"run": encode(run), "resumed": resumed}, nil
}
