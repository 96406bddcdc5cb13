package runwright

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// Error is a call that failed: in the server's words, or, where it did not answer, in gRPC's.
//
// Get it with [errors.As]. Where the context or the deadline of the call ended it, [errors.Is]
// finds [context.Canceled] or [context.DeadlineExceeded] in it.
type Error struct {
	// Reason is the name of the runwright.v1.ErrorReason without its prefix, such as
	// "RUN_NOT_FOUND"; the same as Code where the server gave none.
	Reason string
	// Code is the name of the gRPC status, such as "NOT_FOUND".
	Code string
	// Message is one sentence for a person.
	Message string
	// Remedy says what to do, for a person. Empty where the server gave none.
	Remedy string
	// Metadata has the keys that the reason documents, such as "run_id".
	Metadata map[string]string
	// Retryable is true when the same request may succeed later without anybody's help.
	Retryable bool
	// RetryAfter is how long the server asks to wait before that. Zero: it does not say.
	RetryAfter time.Duration

	told   bool // by a Runwright server, not only by gRPC
	status *status.Status
	cause  error
}

// Error is the reason, the message and the remedy.
func (e *Error) Error() string {
	return strings.TrimSpace(fmt.Sprintf("runwright: %s: %s %s", e.Reason, e.Message, e.Remedy))
}

// GRPCStatus is the status as it came, for [status.FromError] and [status.Code].
func (e *Error) GRPCStatus() *status.Status { return e.status }

// Unwrap is the error of the call's context, if that is why it failed.
func (e *Error) Unwrap() error { return e.cause }

// newError reads what a failed call says. AgentError comes first, then ErrorInfo, then the bare status.
func newError(ctx context.Context, failure error) *Error {
	var known *Error
	if errors.As(failure, &known) {
		return known
	}
	told := status.Convert(failure)
	if errors.Is(failure, context.Canceled) || errors.Is(failure, context.DeadlineExceeded) {
		told = status.FromContextError(failure)
	}
	e := &Error{
		Code:      code.Code(told.Code()).String(),
		Message:   told.Message(),
		Retryable: told.Code() == codes.Unavailable,
		status:    told,
	}
	if told.Code() == codes.Canceled || told.Code() == codes.DeadlineExceeded {
		e.cause = ctx.Err()
	}
	e.Reason = e.Code
	var agent *runwrightv1.AgentError
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *runwrightv1.AgentError:
			agent = detail
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == domain { // a proxy may have words of its own
				e.told, e.Reason, e.Metadata = true, detail.GetReason(), detail.GetMetadata()
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	if agent != nil {
		e.fill(agent)
	}
	return e
}

const domain = "runwright"

// fill takes what an AgentError says; a reason newer than this package keeps the name ErrorInfo gave it.
func (e *Error) fill(agent *runwrightv1.AgentError) {
	if name, known := runwrightv1.ErrorReason_name[int32(agent.GetReason())]; known || !e.told {
		e.Reason = strings.TrimPrefix(name, "ERROR_REASON_")
	}
	e.told = true
	e.Message, e.Remedy = agent.GetMessage(), agent.GetRemedy()
	e.Retryable = agent.GetRetryClass() == runwrightv1.RetryClass_RETRY_CLASS_RETRYABLE
	e.Metadata = maps.Clone(agent.GetMetadata())
}
