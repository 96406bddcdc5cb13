package runwright

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	callbackv1 "github.com/runwright/runwright/clients/go/gen/runwright/callback/v1"
	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// ApprovalNotification is what a dispatcher is told: Approval is how it stands; IdempotencyKey is the
// same whenever the same thing is told.
type ApprovalNotification = callbackv1.ApprovalNotification

// Dispatched is what a dispatcher answers. Reference, of at most 256 bytes, is handed back with what is
// told later. With a Verdict it decides, on exactly what it was shown, as whoever registered it: see
// [Client.DecideApproval].
type Dispatched struct {
	Reference  string
	Verdict    runwrightv1.ApprovalVerdict
	Message    string
	Note       string
	OnBehalfOf string
}

// DispatchFunc is told how an approval stands. It may be called more than once with one idempotency
// key. An error, or a panic, is logged, and it is called again later.
type DispatchFunc func(ctx context.Context, told *ApprovalNotification) (Dispatched, error)

// Dispatcher tells people of approvals: Dispatch is called when somebody is asked to decide, Update when
// it is somebody else's turn or somebody decided, Withdraw when there is nothing to decide any more, and
// what it answers is not used. One that is nil acknowledges.
type Dispatcher struct {
	Dispatch DispatchFunc
	Update   DispatchFunc
	Withdraw DispatchFunc
}

// DispatcherServer serves one dispatcher to a Runwright server, which dials it.
type DispatcherServer struct {
	host *ToolServer
}

// NewDispatcherServer gives a server of a dispatcher, which does not serve yet. Its options are those of
// [NewToolServer].
func NewDispatcherServer(dispatcher Dispatcher, options ...ToolServerOption) *DispatcherServer {
	host := NewToolServer(options...)
	host.dispatcher = &dispatcher
	return &DispatcherServer{host: host}
}

// Start is as [ToolServer.Start].
func (d *DispatcherServer) Start(address string) error { return d.host.Start(address) }

// Address is where it serves; empty before it is started.
func (d *DispatcherServer) Address() string { return d.host.Address() }

// Register is as [ToolServer.Register], under the name by which packages have it told.
func (d *DispatcherServer) Register(
	ctx context.Context, client *Client, dispatcher string, options ...RegisterOption,
) (*Registration, error) {
	return d.host.Register(ctx, client, dispatcher, options...)
}

// ServeFor is as [ToolServer.ServeFor].
func (d *DispatcherServer) ServeFor(
	ctx context.Context, client *Client, dispatcher string, options ...RegisterOption,
) error {
	return d.host.ServeFor(ctx, client, dispatcher, options...)
}

// Shutdown is as [ToolServer.Shutdown].
func (d *DispatcherServer) Shutdown(ctx context.Context) { d.host.Shutdown(ctx) }

// Close is as [ToolServer.Close].
func (d *DispatcherServer) Close() { d.host.Close() }

type dispatcherService struct {
	callbackv1.UnimplementedApprovalDispatcherServiceServer

	host *ToolServer
}

// DispatchApproval is called by the runtime.
func (d *dispatcherService) DispatchApproval(
	ctx context.Context, request *callbackv1.DispatchApprovalRequest,
) (*callbackv1.DispatchApprovalResponse, error) {
	answer, decision, err := d.tell(ctx, d.host.dispatcher.Dispatch, request.GetNotification())
	if err != nil {
		return nil, err
	}
	return &callbackv1.DispatchApprovalResponse{Reference: answer.Reference, Decision: decision}, nil
}

// UpdateApproval is called by the runtime.
func (d *dispatcherService) UpdateApproval(
	ctx context.Context, request *callbackv1.UpdateApprovalRequest,
) (*callbackv1.UpdateApprovalResponse, error) {
	answer, decision, err := d.tell(ctx, d.host.dispatcher.Update, request.GetNotification())
	if err != nil {
		return nil, err
	}
	return &callbackv1.UpdateApprovalResponse{Reference: answer.Reference, Decision: decision}, nil
}

// WithdrawApproval is called by the runtime.
func (d *dispatcherService) WithdrawApproval(
	ctx context.Context, request *callbackv1.WithdrawApprovalRequest,
) (*callbackv1.WithdrawApprovalResponse, error) {
	if _, _, err := d.tell(ctx, d.host.dispatcher.Withdraw, request.GetNotification()); err != nil {
		return nil, err
	}
	return &callbackv1.WithdrawApprovalResponse{}, nil
}

func (d *dispatcherService) tell(
	ctx context.Context, function DispatchFunc, told *ApprovalNotification,
) (Dispatched, *callbackv1.DispatcherDecision, error) {
	if function == nil {
		return Dispatched{}, nil, nil
	}
	answer, err := guarded(func() (Dispatched, error) { return function(ctx, told) })
	if err != nil {
		d.host.log.Error("dispatcher failed", "dispatcher", told.GetDispatcher(), "effect", told.GetEffectId(), "error", err)
		return Dispatched{}, nil, status.Error(codes.Unknown, "The dispatcher failed; its log says how.")
	}
	if answer.Verdict == runwrightv1.ApprovalVerdict_APPROVAL_VERDICT_UNSPECIFIED {
		return answer, nil, nil
	}
	return answer, &callbackv1.DispatcherDecision{
		Digest:     told.GetApproval().GetDigest(),
		Verdict:    answer.Verdict,
		Message:    answer.Message,
		Note:       answer.Note,
		OnBehalfOf: answer.OnBehalfOf,
	}, nil
}
