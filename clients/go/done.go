package runwright

import (
	"context"
	"log/slog"
	"sync"

	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// WithUntilDone ends the stream of one run, read without a filter, as soon as [Client.Wait] would return: also when the
// run needs repair or is HELD.
func WithUntilDone() SubscribeOption {
	return subscribeOption(func(s *Subscription) { s.untilDone = true })
}

// end is when the stream of a run that stands still is over: once Wait says so, and all its events were given out.
type end struct {
	mutex  sync.Mutex
	run    *Run
	seq    uint64
	cursor string
	cancel context.CancelFunc // of the stream that is open
}

// watch asks until the context ends whether the run stands still.
func (e *end) watch(ctx context.Context, client *Client, runID string) {
	run, done, err := client.Wait(ctx, runID, 0)
	if err != nil || !done { // the stream meets the same, and says so
		return
	}
	if status := run.GetStatus(); status != runwrightv1.RunStatus_RUN_STATUS_REPAIR_NEEDED && status != runwrightv1.RunStatus_RUN_STATUS_HELD {
		return
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
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
	e.seq, e.cursor = max(e.seq, frame.GetEvent().GetSeq()), frame.GetCursor()
	return e.reached()
}

func (e *end) isReached() bool {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.reached()
}

func (e *end) reached() bool {
	return e.run != nil && (e.seq >= e.run.GetLastSeq() || e.cursor == e.run.GetLastCursor())
}

// noteRepair says that a loop without WithUntilDone goes on waiting.
func (s *Subscription) noteRepair(event *Event) {
	if event.GetKind() == runwrightv1.EventKind_EVENT_KIND_TOOL_RECOVERY_REQUIRED && !s.untilDone {
		slog.Warn("runwright: the run needs repair: ResolveEffect settles the call; its stream stays open, WithUntilDone ends it",
			"run_id", event.GetRunId(), "effect_id", event.GetEffectId(), "attempt", event.GetAttempt())
	}
}
