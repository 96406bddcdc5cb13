package runwright

import (
	"context"

	"github.com/google/uuid"

	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// Resume is a request of [Client.Resume].
type Resume struct {
	// RunID is the run, EffectID the question that was deferred, as the run's WaitingOn names it.
	RunID, EffectID string
	// Reason is for the record.
	Reason string
	// RequestID makes two requests the same one. Empty: Resume makes one.
	RequestID string
}

// Resume has what a policy has deferred go on; it is for whoever started the run, and admins. It is
// false when nothing was deferred by that question (any more).
func (c *Client) Resume(ctx context.Context, resume Resume) (run *Run, resumed bool, err error) {
	request := &runwrightv1.ResumeRequest{
		RunId: resume.RunID, EffectId: resume.EffectID, RequestId: resume.RequestID, Reason: resume.Reason,
	}
	if request.RequestId == "" {
		request.RequestId = uuid.NewString()
	}
	response, err := unary(ctx, c, true, bind(c.runtime.Resume), request)
	if err != nil {
		return nil, false, err
	}
	return response.GetRun(), response.GetResumed(), nil
}
