package runwright

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// WithUntilDone ends the stream of one run, read without a filter, as soon as [Client.Wait] would return: also when the
// run needs repair or is HELD.
func WithUntilDone() SubscribeOption {
	return subscribeOption(func(s *Subscription) { s.untilDone = true })
}

// WithThroughRepair has the stream of one run go on while the run needs repair, for whoever waits until somebody else has
// settled it. Without it such a stream, read without a filter, ends with [RepairNeeded].
func WithThroughRepair() SubscribeOption {
	return subscribeOption(func(s *Subscription) { s.throughRepair = true })
}

// RepairNeeded is how a loop over the events of a run ends that goes on only once somebody says what became of a call:
// see [Client.ResolveEffect]. All events so far have been given out; [WithAfter] with the cursor goes on. Get it with
// [errors.As]; the Reason of its Failure is "REPAIR_NEEDED".
type RepairNeeded struct {
	// Failure is the same as an error of the library, as [errors.As] finds it: with reason, remedy and metadata.
	Failure *Error
	// Run is the run as it stands.
	Run *Run
	// Effects are the calls whose outcome is unknown.
	Effects []*runwrightv1.OpenEffect
}

// Error is what [Error.Error] says of it.
func (e *RepairNeeded) Error() string { return e.Failure.Error() }

// Unwrap is the failure.
func (e *RepairNeeded) Unwrap() error { return e.Failure }

func repairNeeded(run *Run) *RepairNeeded {
	e := &RepairNeeded{Run: run}
	for _, effect := range run.GetOpenEffects() {
		if effect.GetState() == runwrightv1.EffectState_EFFECT_STATE_UNKNOWN {
			e.Effects = append(e.Effects, effect)
		}
	}
	var first *runwrightv1.OpenEffect
	if len(e.Effects) > 0 {
		first = e.Effects[0]
	}
	id, attempt := first.GetEffectId(), strconv.FormatUint(uint64(first.GetAttempt()), 10)
	message := fmt.Sprintf("The run %s needs repair: nobody knows what became of %s %s, attempt %s.", run.GetRunId(), id, first.GetTool(), attempt)
	words := fmt.Sprintf("runwright effects resolve %s %s --attempt %s --as …", run.GetRunId(), id, attempt)
	e.Failure = &Error{
		Reason: "REPAIR_NEEDED", Code: "FAILED_PRECONDITION", Message: message,
		Remedy:   fmt.Sprintf("Say what became of it, with ResolveEffect or `%s`, then go on after the cursor.", words),
		Metadata: map[string]string{"run_id": run.GetRunId(), "effect_id": id, "attempt": attempt},
		status:   status.New(codes.FailedPrecondition, message),
	}
	return e
}

// end is when the stream of a run that stands still is over: once the run says so, and all its events were given out.
type end struct {
	tells func() // asks how the run stands; nil: nobody is told

	mutex  sync.Mutex
	run    *Run
	seq    uint64
	cursor string
	asking bool
	again  bool               // it is to be asked once more
	cancel context.CancelFunc // of the stream that is open
}

// watch asks until the context ends whether the run stands still.
func (e *end) watch(ctx context.Context, client *Client, runID string) {
	run, done, err := client.Wait(ctx, runID, 0)
	if err != nil || !done { // the stream meets the same, and says so
		return
	}
	status := run.GetStatus()
	if status == runwrightv1.RunStatus_RUN_STATUS_REPAIR_NEEDED || status == runwrightv1.RunStatus_RUN_STATUS_HELD {
		e.stands(run)
	}
}

// tell has readers told when the run needs repair: it is asked whenever it may have come to that.
func (e *end) tell(ctx context.Context, client *Client, runID string) {
	e.tells = func() {
		run, err := client.Snapshot(ctx, runID)
		e.mutex.Lock()
		e.asking, e.again = false, e.again || err != nil // the stream meets the same
		e.mutex.Unlock()
		if err == nil && run.GetStatus() == runwrightv1.RunStatus_RUN_STATUS_REPAIR_NEEDED {
			e.stands(run)
		}
	}
}

// look asks how the run stands, unless it is being asked.
func (e *end) look() {
	if e.tells == nil || e.asking {
		return
	}
	e.asking, e.again = true, false
	go e.tells()
}

// stands notes a run that stands still, and ends the stream if all its events were given out.
func (e *end) stands(run *Run) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.tells != nil && e.seq > run.GetLastSeq() {
		e.again = true // it has gone on since it was asked
		return
	}
	e.run = run
	if e.reached() && e.cancel != nil {
		e.cancel()
	}
}

// opened notes the stream that is to be ended.
func (e *end) opened(cancel context.CancelFunc) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.cancel = cancel
}

// passed notes that a frame was given out, and tells whether nothing more is to come.
func (e *end) passed(frame *Frame) bool {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	event := frame.GetEvent()
	e.seq, e.cursor = max(e.seq, event.GetSeq()), frame.GetCursor()
	if event.GetKind() == runwrightv1.EventKind_EVENT_KIND_TOOL_RECOVERY_REQUIRED {
		e.again = true
	}
	if e.tells != nil && e.run != nil && e.seq > e.run.GetLastSeq() {
		e.run, e.again = nil, true // it has gone on since it was asked
	}
	if e.again {
		e.look()
	}
	return e.reached()
}

func (e *end) isReached() bool {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.reached()
}

// told is what the loop ends with, once the end is reached; nil: it just ends.
func (e *end) told() error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if e.tells == nil || !e.reached() {
		return nil
	}
	return repairNeeded(e.run)
}

func (e *end) reached() bool {
	return e.run != nil && (e.seq >= e.run.GetLastSeq() || e.cursor == e.run.GetLastCursor())
}
