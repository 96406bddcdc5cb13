package runwright

import (
	"context"
	"errors"
	"testing"
	"time"

	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

func unknownFrame(seq uint64) *Frame {
	event := &runwrightv1.Event{Seq: seq, Kind: runwrightv1.EventKind_EVENT_KIND_TOOL_RECOVERY_REQUIRED}
	return &Frame{Item: &runwrightv1.EventFrame_Event{Event: event}}
}

func inRepair(lastSeq uint64) *Run {
	return &Run{Status: runwrightv1.RunStatus_RUN_STATUS_REPAIR_NEEDED, LastSeq: lastSeq, LastCursor: "last"}
}

// following gives the end of a stream whose run is asked about, and a context that ends once the stream is left for it.
func following(t *testing.T, ask func(context.Context) (*Run, error)) (*end, context.Context) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	stream, leave := context.WithCancel(ctx)
	e := &end{}
	e.opened(leave)
	e.tell(ctx, ask)
	return e, stream
}

func TestAReaderIsToldOnceSomebodySaysHowTheRunStands(t *testing.T) {
	usual := askAgain
	askAgain = 0
	t.Cleanup(func() { askAgain = usual })
	asked := 0
	e, stream := following(t, func(context.Context) (*Run, error) {
		if asked++; asked == 1 {
			return nil, errors.New("too many calls")
		}
		return inRepair(5), nil
	})

	e.passed(unknownFrame(5))

	<-stream.Done()
	var needed *RepairNeeded
	if err := e.told(); !errors.As(err, &needed) {
		t.Fatalf("told %v", err)
	}
}

func TestASecondCallThatIsLostWhileItIsAskedLeavesNobodyWaiting(t *testing.T) {
	asked := uint64(0)
	var e *end
	var stream context.Context
	e, stream = following(t, func(context.Context) (*Run, error) {
		if asked++; asked == 1 {
			e.passed(unknownFrame(6)) // the answer is that of the moment before
			return inRepair(5), nil
		}
		return inRepair(6), nil
	})

	e.passed(unknownFrame(5))

	<-stream.Done()
	var needed *RepairNeeded
	if err := e.told(); !errors.As(err, &needed) || needed.Run.GetLastSeq() != 6 {
		t.Fatalf("told %v", err)
	}
}
