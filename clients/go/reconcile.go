package runwright

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	callbackv1 "github.com/runwright/runwright/clients/go/gen/runwright/callback/v1"
)

const lookingFailed = "Looking for it failed."

// Reconciled is what became of a call that the runtime has lost sight of: made by [Performed], [NotPerformed] or
// [CannotSay]. Its zero value says nothing, as [CannotSay] does.
type Reconciled struct {
	performed, notPerformed bool
	result                  any
	why                     string
}

// Performed says that the call was performed, with this result: what its handler would have given. The run goes on with it.
func Performed(result any) Reconciled { return Reconciled{performed: true, result: result} }

// NotPerformed says that neither this attempt nor an earlier one was performed, for certain: the call is sent again.
func NotPerformed(why string) Reconciled { return Reconciled{notPerformed: true, why: why} }

// CannotSay says that nobody here can say, or not yet: the runtime asks again for a while, then a person.
func CannotSay(why string) Reconciled { return Reconciled{why: why} }

type reconciler func(ctx context.Context, call *ToolCall) (Reconciled, error)

// Reconcile registers what says, of a tool that is handled, what became of a call that the runtime has lost sight of,
// before [ToolServer.Start]. The package declares such a tool `reconcilable`. An error or a panic says nothing, and the log
// says why. While the call is still under way in this process the function is not asked.
func Reconcile[A any](s *ToolServer, tool string, look func(ctx context.Context, call *ToolCall, arguments A) (Reconciled, error)) {
	s.checkReconciler(tool, look != nil)
	if s.reconcilers == nil {
		s.reconcilers = map[string]reconciler{}
	}
	s.reconcilers[tool] = func(ctx context.Context, call *ToolCall) (Reconciled, error) {
		var arguments A
		if err := json.Unmarshal(call.Arguments, &arguments); err != nil {
			return Reconciled{}, err
		}
		return look(ctx, call, arguments)
	}
}

// ReconcileTool is called by the runtime.
func (s *ToolServer) ReconcileTool(ctx context.Context, request *callbackv1.ReconcileToolRequest) (*callbackv1.ReconcileToolResponse, error) {
	look, known := s.reconcilers[request.GetTool()]
	if !known {
		return nil, status.Errorf(codes.Unimplemented, "Nobody here says what became of calls of %q.", request.GetTool())
	}
	key := request.GetIdempotencyKey()
	// The runtime has given the attempt up: should it still arrive, it comes too late.
	s.attempts.begin(key, request.GetAttempt()+1)
	call := &ToolCall{
		RunID: request.GetRunId(), TurnID: request.GetTurnId(), Round: request.GetRound(), CallID: request.GetCallId(),
		Attempt: request.GetAttempt(), IdempotencyKey: key, Tool: request.GetTool(),
		Arguments: request.GetArgumentsJson(), PackageFingerprint: request.GetPackageFingerprint(),
	}
	if deadline := request.GetDeadline(); deadline != nil {
		call.Deadline = deadline.AsTime()
	}
	said := CannotSay("The call is still under way here.")
	if s.stopping.Load() {
		said = CannotSay("This host is stopping.")
	} else if !s.underWay.has(key) {
		var err error
		if said, err = guarded(func() (Reconciled, error) { return look(ctx, call) }); err != nil {
			s.note("asking what became of a call failed", call, err)
			said = CannotSay(lookingFailed)
		}
	}
	return s.reconciled(request, said, call), nil
}

// reconciled is an answer about exactly what was asked.
func (s *ToolServer) reconciled(request *callbackv1.ReconcileToolRequest, said Reconciled, call *ToolCall) *callbackv1.ReconcileToolResponse {
	response := &callbackv1.ReconcileToolResponse{
		IdempotencyKey: request.GetIdempotencyKey(), Attempt: request.GetAttempt(), ArgumentsDigest: request.GetArgumentsDigest(),
	}
	why := strings.ToValidUTF8(said.why[:min(len(said.why), maxErrorBytes)], "")
	switch {
	case said.performed:
		response.Outcome = &callbackv1.ReconcileToolResponse_Performed{Performed: s.found(said.result, call)}
	case said.notPerformed:
		response.Outcome = &callbackv1.ReconcileToolResponse_NotPerformed{NotPerformed: &callbackv1.ToolNotPerformed{Message: why}}
	default:
		response.Outcome = &callbackv1.ReconcileToolResponse_Unknown{Unknown: &callbackv1.ToolOutcomeUnknown{Message: why}}
	}
	return response
}

// found is the result of a call that was performed: what cannot be sent is said in words.
func (s *ToolServer) found(result any, call *ToolCall) *callbackv1.ToolResult {
	answer := s.made(result, call)
	if made := answer.GetResult(); made != nil {
		return made
	}
	return &callbackv1.ToolResult{Data: []byte(answer.GetError().GetMessage()), MediaType: "text/plain; charset=utf-8"}
}

// underWay counts the calls that are being performed in this process, by key, those among them that nobody waits for.
type underWay struct {
	mutex sync.Mutex
	calls map[string]int
}

// begin notes a call; what it gives notes its end.
func (u *underWay) begin(key string) func() {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	if u.calls == nil {
		u.calls = map[string]int{}
	}
	u.calls[key]++
	return func() {
		u.mutex.Lock()
		defer u.mutex.Unlock()
		if u.calls[key]--; u.calls[key] == 0 {
			delete(u.calls, key)
		}
	}
}

func (u *underWay) has(key string) bool {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	return u.calls[key] > 0
}
