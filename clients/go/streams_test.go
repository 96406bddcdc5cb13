package runwright_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	runwright "github.com/runwright/runwright/clients/go"
	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// whole fails unless what was read is, event by event, what an uninterrupted reader gets.
func whole(t *testing.T, read []*runwright.Frame, client *runwright.Client, runID string) {
	t.Helper()
	var uninterrupted []*runwright.Frame
	for frame, err := range client.Subscribe(within(t), runwright.RunScope(runID)).Frames() {
		if err != nil {
			t.Fatal(err)
		}
		uninterrupted = append(uninterrupted, frame)
	}
	read, wanted := events(read), events(uninterrupted)
	if len(read) != len(wanted) {
		t.Fatalf("%d events, uninterrupted %d", len(read), len(wanted))
	}
	for number, frame := range wanted {
		if frame.GetEvent().GetSeq() != uint64(number+1) || !proto.Equal(frame, read[number]) {
			t.Fatalf("event %d: %v, uninterrupted %v", number+1, read[number], frame)
		}
	}
}

func TestASubscriptionGoesOnOverKillsAndDrains(t *testing.T) {
	server := serve(t, looks(6), "--grace", "1")
	client := server.connect()
	proceed := make(chan struct{}, 100) // the run is never ahead of its reader
	register(t, look(t, func(ctx context.Context, call *runwright.ToolCall, arguments map[string]any) (any, error) {
		select {
		case <-proceed:
			return steps(ctx, call, arguments)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}), client)
	away := false
	subscription := client.Subscribe(within(t), runwright.RunScope("r1"), runwright.WithReconnectNotice(func(err error) {
		if tried := strings.Contains(err.Error(), "refused"); away && tried {
			away = false
			server.start()
		}
	}))
	started(t, client, "r1")
	ends := map[string]func(){
		"c1.1 1": server.restart,
		"c2.1 1": func() { server.kill(); away = true }, // it comes back once the reader has tried in vain
		"c4.1 1": func() {
			server.signal(syscall.SIGTERM)
			<-server.ended
			server.start()
		},
		"c6.1 2": server.restart,
		"c6.1 1": server.restart,
	}

	var read []*runwright.Frame
	for frame, err := range subscription.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		if frame.GetCursor() != subscription.Cursor() {
			t.Fatalf("cursor %q at frame %v", subscription.Cursor(), frame)
		}
		read = append(read, frame)
		if event := frame.GetEvent(); event.GetToolStarted() != nil {
			if end := ends[fmt.Sprint(event.GetEffectId(), " ", event.GetAttempt())]; end != nil {
				end()
			} else {
				proceed <- struct{}{}
			}
		}
	}

	if subscription.Reconnects() <= len(ends) { // in vain once at least
		t.Errorf("it came back %d times only", subscription.Reconnects())
	}
	whole(t, read, client, "r1")
	run := completed(t, client, "r1")
	if subscription.Cursor() != run.GetLastCursor() {
		t.Errorf("ends at %q, the run at %q", subscription.Cursor(), run.GetLastCursor())
	}
	if run.GetUsage().GetToolCalls() != 6 {
		t.Errorf("used %v", run.GetUsage())
	}
}

func TestALoopThatIsLeftGoesOnWhereItWas(t *testing.T) {
	client := serve(t, looks(3)).connect()
	register(t, look(t, steps), client)
	started(t, client, "r1")
	completed(t, client, "r1")
	subscription := client.Subscribe(within(t), runwright.RunScope("r1"))
	var read []*runwright.Frame
	for isOver := false; !isOver; {
		isOver = true
		for frame, err := range subscription.Frames() {
			if err != nil {
				t.Fatal(err)
			}
			read = append(read, frame)
			if frame.GetEvent() != nil {
				isOver = false
				break
			}
		}
	}
	whole(t, read, client, "r1")

	other := client.Subscribe(within(t), runwright.RunScope("r1"), runwright.WithAfter(read[5].GetCursor()))
	for frame, err := range other.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		if seq := frame.GetEvent().GetSeq(); frame.GetEvent() != nil && seq != read[5].GetEvent().GetSeq()+1 && seq < 5 {
			t.Errorf("event %d after the cursor of %v", seq, read[5])
		}
	}
}

func TestWhatHappenedBeforeIsLeftOutAndKindsAreChosen(t *testing.T) {
	server := serve(t, looks(0))
	client := server.connect()
	started(t, client, "before")
	completed(t, client, "before")
	filter := &runwright.EventFilter{Kinds: []runwrightv1.EventKind{runwrightv1.EventKind_EVENT_KIND_RUN_COMPLETED}}
	subscription := client.Subscribe(within(t), runwright.AllScope(), runwright.WithLiveOnly(), runwright.WithFilter(filter))

	var ids []string
	for frame, err := range subscription.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case len(ids) == 0 && frame.GetBookmark() != nil && subscription.Reconnects() == 0: // it is open
			server.restart()
			started(t, client, "first")
		case frame.GetEvent() != nil:
			ids = append(ids, frame.GetEvent().GetRunId())
		}
		if len(ids) == 1 {
			break
		}
	}
	started(t, client, "second") // while nobody reads
	for frame, err := range subscription.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		if frame.GetEvent() != nil {
			ids = append(ids, frame.GetEvent().GetRunId())
			break
		}
	}

	if fmt.Sprint(ids) != "[first second]" {
		t.Errorf("heard of %v", ids)
	}
}

func TestTheTextOfAModelIsHeardWhileItComes(t *testing.T) {
	content := looks(0)
	content["provider"] = spec{"adapter": "demo", "model": "demo-1", "parameters": spec{"words_per_second": 200}}
	content["tools"] = []spec{}
	client := serve(t, content).connect()
	started(t, client, "r1")

	var heard bytes.Buffer
	var read []*runwright.Frame
	for frame, err := range client.Subscribe(within(t), runwright.RunScope("r1"), runwright.WithDeltas()).Frames() {
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, frame)
		if delta := frame.GetEvent().GetModelStreamDelta(); delta != nil {
			heard.Truncate(int(delta.GetOffset()))
			heard.WriteString(delta.GetText())
		}
	}

	if text := completed(t, client, "r1").GetResult().GetText(); heard.Len() == 0 || !bytes.HasPrefix([]byte(text), heard.Bytes()) {
		t.Errorf("heard %q of %q", heard.String(), text)
	}
	whole(t, read, client, "r1")
}

func TestAServerThatStandsStillIsNoticed(t *testing.T) {
	server := serve(t, looks(1))
	client := server.connect(runwright.WithKeepalive(10*time.Second, time.Second)) // gRPC pings no more often
	var reasons []string
	subscription := client.Subscribe(within(t), runwright.RunScope("r1"), runwright.WithReconnectNotice(func(err error) {
		if reasons = append(reasons, errorCode(err)); len(reasons) == 1 {
			server.signal(syscall.SIGCONT)
			register(t, look(t, steps), server.connect())
		}
	}))
	started(t, client, "r1")

	var read []*runwright.Frame
	for frame, err := range subscription.Frames() {
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, frame)
		if frame.GetEvent().GetRetryScheduled() != nil { // it waits for an executor: nothing more is on the way
			server.signal(syscall.SIGSTOP)
		}
	}

	if len(reasons) == 0 || reasons[0] != "UNAVAILABLE" {
		t.Errorf("noticed %v", reasons)
	}
	whole(t, read, client, "r1")
}

// errorCode is the name of the status of a failed call.
func errorCode(err error) string {
	var failure *runwright.Error
	if errors.As(err, &failure) {
		return failure.Code
	}
	return fmt.Sprintf("no Error: %v", err)
}
