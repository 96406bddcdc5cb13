package runwright

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/status"

	callbackv1 "github.com/runwright/runwright/clients/go/gen/runwright/callback/v1"
)

const (
	maxResultBytes = 1 << 20
	maxErrorBytes  = 4 << 10

	toolFailed = "The tool failed."
)

// answer calls a handler and says what came of it, whatever it does. It fails only where the call was given up.
func (s *ToolServer) answer(ctx context.Context, perform handler, call *ToolCall) (*callbackv1.ExecuteToolResponse, error) {
	value, err := guarded(func() (any, error) { return perform(ctx, call) })
	if err != nil {
		told, known := guarded(func() (string, error) { return declared(err) }) // its methods are the author's code, too
		if known == nil {
			return failedAnswer(told), nil
		}
		if ctx.Err() != nil { // given up in the middle: nobody knows what it did
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		s.note("tool failed", call, err)
		return failedAnswer(toolFailed), nil
	}
	return s.made(value, call), nil
}

// made is the answer of a call whose effect has happened: whatever is wrong with its result, the model must not be told
// that it has not.
func (s *ToolServer) made(value any, call *ToolCall) *callbackv1.ExecuteToolResponse {
	result, err := guarded(func() (*callbackv1.ToolResult, error) { return encoded(value) })
	if err != nil {
		s.note("the result of a tool cannot be encoded", call, err)
		return failedAnswer("The call was made; its result cannot be encoded.")
	}
	if size := len(result.GetData()); size > maxResultBytes {
		return failedAnswer(fmt.Sprintf("The call was made; its result of %d bytes is above %d.", size, maxResultBytes))
	}
	return &callbackv1.ExecuteToolResponse{Outcome: &callbackv1.ExecuteToolResponse_Result{Result: result}}
}

// guarded runs what an author wrote in a goroutine of its own: a panic, and runtime.Goexit, which ends a goroutine
// without a word, are errors. A panic of a goroutine that the author starts ends the process, as everywhere in Go.
func guarded[T any](work func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		given := outcome{err: errors.New("it ended its goroutine")}
		defer func() {
			if panicked := recover(); panicked != nil {
				given = outcome{err: fmt.Errorf("panic: %v\n%s", panicked, debug.Stack())}
			}
			done <- given
		}()
		value, err := work()
		given = outcome{value, err}
	}()
	given := <-done
	return given.value, given.err
}

// declared is the message of a ToolError that the author returned, or the error if it is none.
func declared(err error) (string, error) {
	var known *ToolError
	if !errors.As(err, &known) || known == nil {
		return "", err
	}
	return known.Message, nil
}

// encoded is a result as the model sees it.
func encoded(value any) (*callbackv1.ToolResult, error) {
	if pointed, ok := value.(*Raw); ok && pointed != nil {
		value = *pointed
	}
	if raw, ok := value.(Raw); ok {
		if !utf8.ValidString(raw.MediaType) {
			return nil, fmt.Errorf("the media type %q is not UTF-8", raw.MediaType)
		}
		return &callbackv1.ToolResult{Data: raw.Data, MediaType: raw.MediaType}, nil
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // a model reads it, not a browser
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return &callbackv1.ToolResult{Data: bytes.TrimSuffix(text.Bytes(), []byte("\n"))}, nil
}

// failedAnswer is a failure for certain, in words for the model.
func failedAnswer(told string) *callbackv1.ExecuteToolResponse {
	message := strings.ToValidUTF8(told[:min(len(told), maxErrorBytes)], "")
	if message == "" {
		message = toolFailed
	}
	return &callbackv1.ExecuteToolResponse{Outcome: &callbackv1.ExecuteToolResponse_Error{
		Error: &callbackv1.ToolError{Message: message},
	}}
}

// note logs what the model is not told. A logger that fails changes no answer.
func (s *ToolServer) note(message string, call *ToolCall, err error) {
	_, _ = guarded(func() (any, error) {
		s.log.Error(message, "tool", call.Tool, "run_id", call.RunID, "call_id", call.CallID, "error", err)
		return nil, nil
	})
}
