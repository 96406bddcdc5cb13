package runwright

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

type (
	// Approval is something that waits, or waited, for somebody to decide.
	Approval = runwrightv1.Approval
	// ApprovalVerdict is what somebody decides.
	ApprovalVerdict = runwrightv1.ApprovalVerdict
	// ApprovalState is where an approval stands.
	ApprovalState = runwrightv1.ApprovalState
	// PreviousApproval is how a call differs from the last one that was approved: Previous of what [Client.GetApproval]
	// gives.
	PreviousApproval = runwrightv1.PreviousApproval
	// ApprovalComparison is what came of looking for that call.
	ApprovalComparison = runwrightv1.ApprovalComparison
	// ArgumentChange is one value of the arguments that differs. What is in it was written by a model.
	ArgumentChange = runwrightv1.ArgumentChange
	// ApprovalFilter says which approvals are wanted; what is left empty means any. Without states: those that are pending.
	ApprovalFilter = runwrightv1.ListApprovalsRequest
	// ApprovalDecision is a decision as it is asked for; see [Client.DecideApproval]. ArgumentsJson is set to approve with
	// edits: the arguments that the call is made with, as [encoding/json.Marshal] writes them. DelegateTo is set to
	// delegate: who is to decide.
	ApprovalDecision = runwrightv1.DecisionRequest
	// DecisionResult is what came of one decision of [Client.BatchDecide].
	DecisionResult = runwrightv1.DecisionResult
	// Decided is what [Client.DecideApproval] gives.
	Decided = runwrightv1.DecideApprovalResponse
)

// ListApprovals goes through approvals, page by page as it is read: those that are pending, the oldest first, unless the
// filter says other states, which come with the newest first. It stops after an error. A nil filter: all that is pending.
func (c *Client) ListApprovals(ctx context.Context, filter *ApprovalFilter) iter.Seq2[*Approval, error] {
	return func(yield func(*Approval, error) bool) {
		request := &runwrightv1.ListApprovalsRequest{
			States: filter.GetStates(), Mine: filter.GetMine(), AgentId: filter.GetAgentId(), Tool: filter.GetTool(),
			Risk: filter.GetRisk(), RunId: filter.GetRunId(), RequestedBefore: filter.GetRequestedBefore(),
			PageSize: filter.GetPageSize(), PageToken: filter.GetPageToken(),
		}
		for {
			page, err := unary(ctx, c, true, bind(c.approvals.ListApprovals), request)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, approval := range page.GetApprovals() {
				if !yield(approval, nil) {
					return
				}
			}
			if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
				return
			}
		}
	}
}

// GetApproval gives an approval as it stands, with the arguments that are to be approved, up to 64 KiB, and how they differ
// from those of the last call that was approved.
func (c *Client) GetApproval(ctx context.Context, approvalID string) (*Approval, error) {
	request := &runwrightv1.GetApprovalRequest{ApprovalId: approvalID, IncludeArguments: true}
	response, err := unary(ctx, c, true, bind(c.approvals.GetApproval), request)
	if err != nil {
		return nil, err
	}
	return response.GetApproval(), nil
}

// DecideApproval decides, once, on what has the decision's digest: [Approval.Digest] of what was looked at. Without a
// RequestId it makes one, so that it is tried again without deciding twice.
func (c *Client) DecideApproval(ctx context.Context, decision *ApprovalDecision) (*Decided, error) {
	request := &runwrightv1.DecideApprovalRequest{Decision: named(decision)}
	return unary(ctx, c, true, bind(c.approvals.DecideApproval), request)
}

// BatchDecide takes up to 100 decisions, each for itself; the results stand in their order.
func (c *Client) BatchDecide(ctx context.Context, decisions ...*ApprovalDecision) ([]*DecisionResult, error) {
	request := &runwrightv1.BatchDecideRequest{}
	for _, decision := range decisions {
		request.Decisions = append(request.Decisions, named(decision))
	}
	response, err := unary(ctx, c, true, bind(c.approvals.BatchDecide), request)
	if err != nil {
		return nil, err
	}
	return response.GetResults(), nil
}

// named gives the decision with an id of its request.
func named(decision *ApprovalDecision) *ApprovalDecision {
	named := &runwrightv1.DecisionRequest{}
	proto.Merge(named, decision) // what is given stays as it is
	if named.GetRequestId() == "" {
		named.RequestId = uuid.NewString()
	}
	return named
}

// ApprovalUpdate is an approval as it stands, and where to go on from behind it.
type ApprovalUpdate struct {
	Approval *Approval
	Cursor   string
}

// WatchOption is a setting of [Client.WatchApprovals].
type WatchOption func(*runwrightv1.WatchApprovalsRequest)

// WithApprovalsAfter goes on after the cursor of the last update that was seen; what is pending does not come first then.
func WithApprovalsAfter(cursor string) WatchOption {
	return func(r *runwrightv1.WatchApprovalsRequest) { r.AfterCursor = cursor }
}

// WithMine leaves out the approvals of whose approver sets the key is in none.
func WithMine() WatchOption { return func(r *runwrightv1.WatchApprovalsRequest) { r.Mine = true } }

// WatchApprovals gives what is pending, then each approval as it stands after something has become of it, for ever. It
// comes back by itself over disconnects and restarts, from the last cursor. It stops after an error that does not pass by
// waiting; the context bounds all of it.
func (c *Client) WatchApprovals(ctx context.Context, options ...WatchOption) iter.Seq2[*ApprovalUpdate, error] {
	request := &runwrightv1.WatchApprovalsRequest{}
	for _, option := range options {
		option(request)
	}
	return func(yield func(*ApprovalUpdate, error) bool) {
		contact := newContact(c)
		for {
			left, err := c.readApprovals(ctx, contact, request, yield)
			if left {
				return
			}
			if err := contact.lost(ctx, c.failure(ctx, err)); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// readApprovals gives out one stream until it fails, or the loop is left.
func (c *Client) readApprovals(
	ctx context.Context, contact *contact, request *runwrightv1.WatchApprovalsRequest, yield func(*ApprovalUpdate, error) bool,
) (left bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.approvals.WatchApprovals(ctx, request)
	if err != nil {
		return false, err
	}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) { // it has no end: somebody in between made one
			return false, status.Error(codes.Unavailable, "The stream ended.")
		}
		if err != nil {
			return false, err
		}
		contact.made()
		if response.GetApproval() != nil {
			if !yield(&ApprovalUpdate{Approval: response.GetApproval(), Cursor: response.GetCursor()}, nil) {
				return true, nil
			}
		}
		request.AfterCursor = response.GetCursor()
	}
}
