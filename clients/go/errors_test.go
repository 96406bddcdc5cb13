package runwright

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

func failed(code codes.Code, details ...protoadapt.MessageV1) *Error {
	told, err := status.New(code, "told").WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return newError(context.Background(), told.Err())
}

func TestTheDetailsOfAStatusAreReadInTheirOrder(t *testing.T) {
	agent := &runwrightv1.AgentError{
		Reason:     runwrightv1.ErrorReason_ERROR_REASON_SUBSCRIBER_STALLED,
		RetryClass: runwrightv1.RetryClass_RETRY_CLASS_RETRYABLE,
		Message:    "Too slow.", Remedy: "Be fast.", Metadata: map[string]string{"last_cursor": "c"},
	}
	info := &errdetails.ErrorInfo{Domain: "runwright", Reason: "FROM_INFO", Metadata: map[string]string{"of": "info"}}
	retry := &errdetails.RetryInfo{RetryDelay: durationpb.New(2 * time.Second)}

	both := failed(codes.ResourceExhausted, info, agent, retry)
	if both.Reason != "SUBSCRIBER_STALLED" || both.Metadata["last_cursor"] != "c" || !both.Retryable ||
		both.Remedy != "Be fast." || both.Code != "RESOURCE_EXHAUSTED" || both.RetryAfter != 2*time.Second {
		t.Errorf("both: %#v", both)
	}
	if text := both.Error(); text != "runwright: SUBSCRIBER_STALLED: Too slow. Be fast." {
		t.Errorf("its text: %q", text)
	}
	only := failed(codes.NotFound, info)
	if only.Reason != "FROM_INFO" || only.Metadata["of"] != "info" || only.Message != "told" || only.Retryable {
		t.Errorf("ErrorInfo only: %#v", only)
	}
	agent.Reason = 9999
	if newer := failed(codes.ResourceExhausted, info, agent); newer.Reason != "FROM_INFO" || newer.Remedy != "Be fast." {
		t.Errorf("a reason newer than this package: %#v", newer)
	}
	info.Domain = "proxy.example"
	if foreign := failed(codes.Unavailable, info); foreign.Reason != "UNAVAILABLE" || !foreign.Retryable || foreign.told {
		t.Errorf("a proxy's words: %#v", foreign)
	}
	if plain := newError(context.Background(), errors.New("odd")); plain.Code != "UNKNOWN" || plain.Message != "odd" {
		t.Errorf("no status: %#v", plain)
	}
	if wrapped := newError(context.Background(), fmt.Errorf("around: %w", both)); wrapped != both {
		t.Errorf("wrapped: %#v", wrapped)
	}
}

func TestWhatPassesByWaitingAndWhatDoesNot(t *testing.T) {
	client, err := Connect("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	stalled := &runwrightv1.AgentError{RetryClass: runwrightv1.RetryClass_RETRY_CLASS_RETRYABLE}
	internal := &runwrightv1.AgentError{RetryClass: runwrightv1.RetryClass_RETRY_CLASS_REPAIR_NEEDED}
	for name, one := range map[string]struct {
		failure *Error
		passes  int // so many times in a row
	}{
		"nobody answers":        {failed(codes.Unavailable), 100},
		"the server says so":    {failed(codes.ResourceExhausted, stalled), 100},
		"the server says not":   {failed(codes.Internal, internal), 0},
		"a stream is reset":     {failed(codes.Internal), mostTries},
		"a proxy cancels":       {failed(codes.Canceled), mostTries},
		"a message is too long": {failed(codes.ResourceExhausted), 0},
	} {
		contact := newContact(client)
		contact.made()
		times := 0
		for ; times < 100 && contact.passes(t.Context(), one.failure); times++ {
			contact.failures++
		}
		if times != one.passes {
			t.Errorf("%s: passes %d times, not %d", name, times, one.passes)
		}
		if contact.made(); one.passes > 0 && !contact.passes(t.Context(), one.failure) {
			t.Errorf("%s: not after an answer", name)
		}
	}
	late := newContact(client)
	if late.giveUp = time.Now().Add(-time.Second); late.passes(t.Context(), failed(codes.Unavailable)) {
		t.Error("a server that never answered is not given up")
	}
}

func TestTheOldestCallsAreForgotten(t *testing.T) {
	var seen attempts
	for number := range mostKeys + 10 {
		if highest := seen.begin(fmt.Sprint(number), 2); highest != 2 {
			t.Fatalf("call %d: %d", number, highest)
		}
	}
	if len(seen.highest) != mostKeys || len(seen.keys) != mostKeys {
		t.Errorf("%d calls are remembered", len(seen.highest))
	}
	if seen.begin("11", 1) != 2 || seen.begin("9", 1) != 1 {
		t.Error("the wrong calls are forgotten")
	}
}
