package runwright

import (
	"context"
	"iter"
	"maps"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// Started is what [Client.Start] gives.
type Started struct {
	// Run is the run as it stands.
	Run *Run
	// Created is true when this call started it, false when it had been started before.
	Created bool
}

// StartOption is a setting of [Client.Start].
type StartOption func(*RunRequest)

// WithRunID is the run's id, and the key by which a repeated start gives the same run. Without
// it every start makes an id of its own.
func WithRunID(id string) StartOption { return func(r *RunRequest) { r.RunId = id } }

// WithSessionID makes the run part of a conversation: it sees the session's earlier turns.
func WithSessionID(id string) StartOption { return func(r *RunRequest) { r.SessionId = id } }

// WithTurnID is carried through.
func WithTurnID(id string) StartOption { return func(r *RunRequest) { r.TurnId = id } }

// WithAgentID is the agent expected to answer; another than the package's is refused.
func WithAgentID(id string) StartOption { return func(r *RunRequest) { r.AgentId = id } }

// WithPackageID says which package answers. Without it: the server's default.
func WithPackageID(id string) StartOption {
	return selected(&runwrightv1.PackageSelector{Selector: &runwrightv1.PackageSelector_PackageId{PackageId: id}})
}

// WithFingerprint says which package answers, to the letter.
func WithFingerprint(fingerprint string) StartOption {
	return selected(&runwrightv1.PackageSelector{Selector: &runwrightv1.PackageSelector_Fingerprint{Fingerprint: fingerprint}})
}

// WithTag says which package answers: the one a tag points to.
func WithTag(tag string) StartOption {
	return selected(&runwrightv1.PackageSelector{Selector: &runwrightv1.PackageSelector_Tag{Tag: tag}})
}

func selected(selector *runwrightv1.PackageSelector) StartOption {
	return func(r *RunRequest) { r.Package = selector }
}

// WithBudget sets limits below the package's.
func WithBudget(budget *Budget) StartOption { return func(r *RunRequest) { r.Budget = budget } }

// WithLabels puts words of the caller on the run.
func WithLabels(labels map[string]string) StartOption {
	return func(r *RunRequest) { r.Labels = maps.Clone(labels) }
}

// WithIdleSession refuses the start with SESSION_BUSY while a run of the session goes on.
func WithIdleSession() StartOption {
	return func(r *RunRequest) { r.OnBusy = runwrightv1.OnBusy_ON_BUSY_REJECT }
}

// Start starts a run and returns once it is on disk. It always has a run id, which it makes if
// none is given, so that it can be tried again without a second run.
func (c *Client) Start(ctx context.Context, input []*Part, options ...StartOption) (*Started, error) {
	request := &RunRequest{Input: input}
	for _, option := range options {
		option(request)
	}
	if request.RunId == "" {
		request.RunId = uuid.NewString()
	}
	response, err := unary(ctx, c, true, bind(c.runtime.StartRun), &runwrightv1.StartRunRequest{Run: request})
	if err != nil {
		return nil, err
	}
	return &Started{Run: response.GetRun(), Created: response.GetCreated()}, nil
}

// Snapshot gives a run as it stands.
func (c *Client) Snapshot(ctx context.Context, runID string) (*Run, error) {
	response, err := unary(ctx, c, true, bind(c.runtime.Snapshot), &runwrightv1.SnapshotRequest{RunId: runID})
	return response.GetRun(), err
}

// Cancelled is what [Client.Cancel] gives.
type Cancelled struct {
	// Run is the run as it stands.
	Run *Run
	// BarrierSeq is the number of the event after which no new effect starts; 0 when the run
	// ended without a cancel.
	BarrierSeq uint64
}

// CancelOption is a setting of [Client.Cancel].
type CancelOption func(*runwrightv1.CancelRequest)

// WithReason says why, for the record.
func WithReason(reason string) CancelOption {
	return func(r *runwrightv1.CancelRequest) { r.Reason = reason }
}

// WithGrace says how long open calls that must not be repeated may take to answer. Without it: 10 s.
func WithGrace(grace time.Duration) CancelOption {
	return func(r *runwrightv1.CancelRequest) { r.Grace = durationpb.New(grace) }
}

// Cancel asks a run to end. Repeating it changes nothing.
func (c *Client) Cancel(ctx context.Context, runID string, options ...CancelOption) (*Cancelled, error) {
	request := &runwrightv1.CancelRequest{RunId: runID}
	for _, option := range options {
		option(request)
	}
	response, err := unary(ctx, c, true, bind(c.runtime.Cancel), request)
	if err != nil {
		return nil, err
	}
	return &Cancelled{Run: response.GetRun(), BarrierSeq: response.GetBarrierSeq()}, nil
}

// ServerInfo describes the server, with every package of the caller's namespace, of all pages.
func (c *Client) ServerInfo(ctx context.Context) (*ServerInfo, error) {
	request := &runwrightv1.GetServerInfoRequest{}
	var packages []*runwrightv1.PackageInfo
	for {
		info, err := unary(ctx, c, true, bind(c.runtime.GetServerInfo), request)
		if err != nil {
			return nil, err
		}
		packages = append(packages, info.GetPackages()...)
		if info.GetNextPageToken() == "" {
			info.Packages = packages
			return info, nil
		}
		request = &runwrightv1.GetServerInfoRequest{PageToken: info.GetNextPageToken()}
	}
}

// How long one call waits; a longer wait is made of several.
const (
	waitSlice      = 60 * time.Second
	firstWaitSlice = time.Second
)

// Wait returns a run once it has ended, needs repair or is HELD, through disconnects and restarts of
// the server. With a timeout above zero it also returns, with done false, when that is over; so does
// the end of the context, with an error. It never cancels the run. A server that has never
// answered is given up after the client's deadline.
func (c *Client) Wait(ctx context.Context, runID string, timeout time.Duration) (run *Run, done bool, err error) {
	until := time.Now().Add(timeout)
	contact := newContact(c)
	for {
		slice := waitSlice
		if !contact.everMade {
			slice = firstWaitSlice // it also finds out whether anybody is there
		}
		if timeout > 0 {
			slice = max(0, min(slice, time.Until(until)))
		}
		request := &runwrightv1.WaitRequest{RunId: runID, Timeout: durationpb.New(slice)}
		bounded, cancel := context.WithTimeout(ctx, slice+c.deadline)
		response, err := c.runtime.Wait(bounded, request)
		cancel()
		if err == nil {
			contact.made()
			if response.GetDone() || (timeout > 0 && !time.Now().Before(until)) {
				return response.GetRun(), response.GetDone(), nil
			}
			continue
		}
		if err := contact.lost(ctx, c.failure(ctx, err)); err != nil {
			return nil, false, err
		}
	}
}

// ListOption is a setting of [Client.List].
type ListOption interface {
	forRuns(*runwrightv1.ListRunsRequest)
}

type runsOption func(*runwrightv1.ListRunsRequest)

func (o runsOption) forRuns(r *runwrightv1.ListRunsRequest) { o(r) }

// WithRunFilter says which runs are wanted. Without it: all of the namespace.
func WithRunFilter(filter *RunFilter) ListOption {
	return runsOption(func(r *runwrightv1.ListRunsRequest) { r.Filter = filter })
}

// List goes through runs, newest first, page by page as it is read. It stops after an error.
func (c *Client) List(ctx context.Context, options ...ListOption) iter.Seq2[*Run, error] {
	return func(yield func(*Run, error) bool) {
		request := &runwrightv1.ListRunsRequest{}
		for _, option := range options {
			option.forRuns(request)
		}
		for {
			page, err := unary(ctx, c, true, bind(c.runtime.ListRuns), request)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, run := range page.GetRuns() {
				if !yield(run, nil) {
					return
				}
			}
			if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
				return
			}
		}
	}
}

// bind leaves out the options of a generated method.
func bind[Request, Response any](
	method func(context.Context, Request, ...grpc.CallOption) (Response, error),
) func(context.Context, Request) (Response, error) {
	return func(ctx context.Context, request Request) (Response, error) { return method(ctx, request) }
}
