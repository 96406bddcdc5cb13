package runwright

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	callbackv1 "github.com/runwright/runwright/clients/go/gen/runwright/callback/v1"
	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// PolicyQuestion is what a policy is asked: Stage says what it is about, Call before a tool call, that
// with Result after it, and else Text.
type PolicyQuestion = callbackv1.DecideRequest

// PolicyDecision is what a policy says; [Allow], [Deny] and the other functions here make one.
type PolicyDecision struct {
	response *callbackv1.DecideResponse
	err      error
}

// PolicyFunc decides on a question. The same question may come more than once: it decides without
// any effect. An error, or a panic, is logged and is no answer; a question without an answer is
// denied in the end.
type PolicyFunc func(ctx context.Context, question *PolicyQuestion) (PolicyDecision, error)

// Allow lets it go on. The code is for the record; empty: one that the runtime gives.
func Allow(code string) PolicyDecision {
	return said(runwrightv1.PolicyVerdict_POLICY_VERDICT_ALLOW, code, "")
}

// Deny does not let it go on; the model, or whoever is refused, is told the message, of at most 256
// characters.
func Deny(code, message string) PolicyDecision {
	return said(runwrightv1.PolicyVerdict_POLICY_VERDICT_DENY, code, message)
}

// Interrupt ends the run.
func Interrupt(code, message string) PolicyDecision {
	return said(runwrightv1.PolicyVerdict_POLICY_VERDICT_INTERRUPT, code, message)
}

// ReplaceArguments lets the call go on with other arguments, once they are checked and decided on
// anew.
func ReplaceArguments(arguments any, code string) PolicyDecision {
	decision := said(runwrightv1.PolicyVerdict_POLICY_VERDICT_MODIFY, code, "")
	data, err := json.Marshal(arguments)
	decision.response.Replacement = &callbackv1.DecideResponse_ArgumentsJson{ArgumentsJson: data}
	decision.err = err
	return decision
}

// ReplaceText lets the run go on with another input, result of a call, or answer.
func ReplaceText(text, code string) PolicyDecision {
	decision := said(runwrightv1.PolicyVerdict_POLICY_VERDICT_MODIFY, code, "")
	decision.response.Replacement = &callbackv1.DecideResponse_Text{Text: text}
	return decision
}

// LowerBudget starts the run with lower limits; 0 leaves one as it is.
func LowerBudget(budget *runwrightv1.Budget, code string) PolicyDecision {
	decision := said(runwrightv1.PolicyVerdict_POLICY_VERDICT_MODIFY, code, "")
	decision.response.Replacement = &callbackv1.DecideResponse_Budget{Budget: budget}
	return decision
}

// Defer holds it for so long, at most 7 days, or until [Client.Resume]; then the policy is asked
// again.
func Defer(wait time.Duration, code, message string) PolicyDecision {
	decision := said(runwrightv1.PolicyVerdict_POLICY_VERDICT_DEFER, code, message)
	decision.response.DeferFor = durationpb.New(wait)
	return decision
}

func said(verdict runwrightv1.PolicyVerdict, code, message string) PolicyDecision {
	return PolicyDecision{response: &callbackv1.DecideResponse{Verdict: verdict, Code: code, Message: message}}
}

// PolicyServer serves one remote policy to a Runwright server, which dials it.
type PolicyServer struct {
	host *ToolServer
}

// NewPolicyServer gives a server of a policy, which does not serve yet. Its options are those of
// [NewToolServer].
func NewPolicyServer(decide PolicyFunc, options ...ToolServerOption) *PolicyServer {
	host := NewToolServer(options...)
	host.decide = decide
	if decide == nil {
		host.decide = func(context.Context, *PolicyQuestion) (PolicyDecision, error) {
			return PolicyDecision{}, errors.New("this policy has no function that decides")
		}
	}
	return &PolicyServer{host: host}
}

// Start is as [ToolServer.Start].
func (p *PolicyServer) Start(address string) error { return p.host.Start(address) }

// Address is where it serves; empty before it is started.
func (p *PolicyServer) Address() string { return p.host.Address() }

// Register is as [ToolServer.Register], under the name by which packages and operators ask it.
func (p *PolicyServer) Register(
	ctx context.Context, client *Client, policy string, options ...RegisterOption,
) (*Registration, error) {
	return p.host.Register(ctx, client, policy, options...)
}

// ServeFor is as [ToolServer.ServeFor].
func (p *PolicyServer) ServeFor(ctx context.Context, client *Client, policy string, options ...RegisterOption) error {
	return p.host.ServeFor(ctx, client, policy, options...)
}

// Shutdown is as [ToolServer.Shutdown].
func (p *PolicyServer) Shutdown(ctx context.Context) { p.host.Shutdown(ctx) }

// Close is as [ToolServer.Close].
func (p *PolicyServer) Close() { p.host.Close() }

type policyService struct {
	callbackv1.UnimplementedPolicyServiceServer

	host *ToolServer
}

// Decide is called by the runtime.
func (p *policyService) Decide(ctx context.Context, question *callbackv1.DecideRequest) (*callbackv1.DecideResponse, error) {
	decision, err := guarded(func() (PolicyDecision, error) { return p.host.decide(ctx, question) })
	if err == nil {
		err = decision.err
	}
	if err == nil && decision.response == nil {
		err = errors.New("it returned no decision")
	}
	if err != nil {
		p.host.log.Error("policy failed", "policy", question.GetPolicy(), "question", question.GetEffectId(), "error", err)
		return nil, status.Error(codes.Unknown, "The policy failed; its log says how.")
	}
	decision.response.SubjectDigest = question.GetSubjectDigest()
	return decision.response, nil
}
