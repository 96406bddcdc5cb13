package runwright

import (
	"context"
	"iter"

	"github.com/google/uuid"

	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// Decision says what became of a call whose outcome is unknown; see [Client.ResolveEffect].
type Decision struct {
	RunID, EffectID string
	// Attempt is the one whose outcome is unknown.
	Attempt    uint32
	Resolution Resolution
	// Result is that of a call that happened, JSON unless MediaType says otherwise; nil for any other.
	Result    []byte
	MediaType string
	// Message is what the model is told of a call that failed.
	Message string
	// Reason is for the record.
	Reason string
	// RequestID makes two requests the same one. Empty: ResolveEffect makes one.
	RequestID string
}

// Resolved is what [Client.ResolveEffect] gives.
type Resolved struct {
	// Run is the run as it stands.
	Run *Run
	// Decision is the one on record.
	Decision *runwrightv1.EffectResolution
	// Resolved is false when the same request had decided before.
	Resolved bool
}

// ResolveEffect says what became of a call whose outcome is unknown, so that its run goes on. It is for repairers and
// admins, and is tried again without deciding twice.
func (c *Client) ResolveEffect(ctx context.Context, decision Decision) (*Resolved, error) {
	request := &runwrightv1.ResolveEffectRequest{
		RunId: decision.RunID, EffectId: decision.EffectID, Attempt: decision.Attempt, RequestId: decision.RequestID,
		Resolution: decision.Resolution, Message: decision.Message, Reason: decision.Reason,
	}
	if request.RequestId == "" {
		request.RequestId = uuid.NewString()
	}
	if decision.Result != nil || decision.MediaType != "" {
		request.Result = &runwrightv1.ResolvedResult{Data: decision.Result, MediaType: decision.MediaType}
	}
	response, err := unary(ctx, c, true, bind(c.runtime.ResolveEffect), request)
	if err != nil {
		return nil, err
	}
	return &Resolved{Run: response.GetRun(), Decision: response.GetResolution(), Resolved: response.GetResolved()}, nil
}

// UnknownEffect is a call whose outcome is unknown. Its run's WaitingOn says whose executor it was sent to, and since when.
type UnknownEffect struct {
	Run    *Run
	Effect *runwrightv1.OpenEffect
}

// UnknownEffects goes through the calls whose outcome is unknown, of the newest runs first. It stops after an error.
func (c *Client) UnknownEffects(ctx context.Context) iter.Seq2[*UnknownEffect, error] {
	inRepair := &RunFilter{Statuses: []runwrightv1.RunStatus{runwrightv1.RunStatus_RUN_STATUS_REPAIR_NEEDED}}
	return func(yield func(*UnknownEffect, error) bool) {
		for run, err := range c.List(ctx, WithRunFilter(inRepair)) {
			if err != nil {
				yield(nil, err)
				return
			}
			for _, effect := range run.GetOpenEffects() {
				isUnknown := effect.GetState() == runwrightv1.EffectState_EFFECT_STATE_UNKNOWN
				if isUnknown && !yield(&UnknownEffect{Run: run, Effect: effect}, nil) {
					return
				}
			}
		}
	}
}
