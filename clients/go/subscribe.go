package runwright

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

// errStands says that all events of a run that stands still were given out.
var errStands = errors.New("the run stands still")

// SubscribeOption is a setting of [Client.Subscribe].
type SubscribeOption interface{ forStream(*Subscription) }

// ListEventsOption is a setting of [Client.ListEvents].
type ListEventsOption interface {
	forEvents(*runwrightv1.ListEventsRequest)
}

type subscribeOption func(*Subscription)

func (o subscribeOption) forStream(s *Subscription) { o(s) }

// EventsOption is a setting of both [Client.Subscribe] and [Client.ListEvents].
type EventsOption func(*runwrightv1.ListEventsRequest)

func (o EventsOption) forEvents(r *runwrightv1.ListEventsRequest) { o(r) }

func (o EventsOption) forStream(s *Subscription) {
	list := &runwrightv1.ListEventsRequest{PageToken: s.cursor, View: s.request.View, Filter: s.request.Filter}
	o(list)
	s.cursor, s.request.View, s.request.Filter = list.PageToken, list.View, list.Filter
}

// PageOption is a setting of [Client.List] and [Client.ListEvents].
type PageOption int32

// WithPageSize says how much is asked for at once, 1 to 1,000. Without it: 100.
func WithPageSize(size int) PageOption { return PageOption(size) }

func (o PageOption) forEvents(r *runwrightv1.ListEventsRequest) { r.PageSize = int32(o) }

func (o PageOption) forRuns(r *runwrightv1.ListRunsRequest) { r.PageSize = int32(o) }

// WithAfter goes on after a cursor, exclusive. Without it: from the beginning.
func WithAfter(cursor string) EventsOption {
	return func(r *runwrightv1.ListEventsRequest) { r.PageToken = cursor }
}

// WithFilter says which events are wanted. A cursor is good for the scope and filter it was made for.
func WithFilter(filter *EventFilter) EventsOption {
	return func(r *runwrightv1.ListEventsRequest) { r.Filter = filter }
}

// WithContents has each frame carry the contents its event refers to, up to 64 KiB each: the FULL view.
func WithContents() EventsOption {
	return func(r *runwrightv1.ListEventsRequest) { r.View = runwrightv1.EventView_EVENT_VIEW_FULL }
}

// WithLiveOnly leaves out what happened before the subscription. It must not be set beside a cursor.
func WithLiveOnly() SubscribeOption {
	return subscribeOption(func(s *Subscription) { s.request.LiveOnly = true })
}

// WithDeltas adds the text of models while they answer: ephemeral events of kind
// MODEL_STREAM_DELTA between the others, and gaps where the reader was too slow for them.
func WithDeltas() SubscribeOption {
	return subscribeOption(func(s *Subscription) { s.request.IncludeDeltas = true })
}

// WithReconnectNotice is told why a stream was lost, before each attempt to come back.
func WithReconnectNotice(notice func(error)) SubscribeOption {
	return subscribeOption(func(s *Subscription) { s.notice = notice })
}

// Subscription is a stream of events that comes back by itself; see [Client.Subscribe].
type Subscription struct {
	ctx     context.Context
	client  *Client
	request *runwrightv1.SubscribeRequest
	notice  func(error)
	contact *contact // of the last loop

	untilDone, throughRepair bool

	mutex      sync.Mutex
	cursor     string
	reconnects int
}

// Subscribe gives the events of a scope; nothing is sent before [Subscription.Frames] is read.
// The context bounds all of it.
func (c *Client) Subscribe(ctx context.Context, scope *Scope, options ...SubscribeOption) *Subscription {
	s := &Subscription{ctx: ctx, client: c, request: &runwrightv1.SubscribeRequest{Scope: scope}}
	for _, option := range options {
		option.forStream(s)
	}
	return s
}

// Cursor is that of the last frame given out: where to go on, exclusive, also in another process.
func (s *Subscription) Cursor() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.cursor
}

// Reconnects is how often the stream was lost.
func (s *Subscription) Reconnects() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.reconnects
}

// Frames gives frames in order, each event exactly once, through disconnects, restarts and drains
// of the server. It ends after a run's terminal event, and with [RepairNeeded] when the run needs repair; with
// [WithUntilDone] it just ends then, also when the run is HELD. It also ends with an error that does not pass by waiting. A server that has never answered is given up after the client's deadline. Leaving the
// loop ends the call; another loop goes on after the last frame. One goroutine at a time.
func (s *Subscription) Frames() iter.Seq2[*Frame, error] {
	return func(yield func(*Frame, error) bool) {
		if s.contact == nil || !s.contact.everMade {
			s.contact = newContact(s.client)
		}
		contact := s.contact
		end := end{cursor: s.Cursor()}
		ctx, stop := context.WithCancel(s.ctx)
		defer stop()
		if err := s.watch(ctx, &end); err != nil {
			yield(nil, err)
			return
		}
		for {
			left, err := s.read(contact, &end, yield)
			if left || err == nil {
				return
			}
			if end.isReached() && s.ctx.Err() == nil {
				if err := end.told(); err != nil {
					yield(nil, err)
				}
				return
			}
			failure := s.client.failure(s.ctx, err)
			if s.notice != nil && contact.passes(s.ctx, failure) {
				s.notice(failure)
			}
			if err := contact.lost(s.ctx, failure); err != nil {
				yield(nil, err)
				return
			}
			s.mutex.Lock()
			s.reconnects++
			s.mutex.Unlock()
		}
	}
}

// watch begins to find out whether the run that is followed, if it is one, stands still.
func (s *Subscription) watch(ctx context.Context, end *end) error {
	runID := s.request.GetScope().GetRunId()
	isOne := runID != "" && s.request.GetFilter() == nil
	switch {
	case s.untilDone && (!isOne || s.throughRepair):
		return errors.New("runwright: WithUntilDone: only of one run, without a filter, and not WithThroughRepair")
	case s.untilDone:
		go end.watch(ctx, s.client, runID)
	case isOne && !s.throughRepair:
		end.tell(ctx, s.client, runID)
		if end.cursor != "" || s.request.LiveOnly { // what says so may have come before
			end.mutex.Lock()
			end.look()
			end.mutex.Unlock()
		}
	}
	return nil
}

// read gives out one stream until it ends (nil), fails, or the loop is left.
func (s *Subscription) read(contact *contact, end *end, yield func(*Frame, error) bool) (left bool, err error) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	end.opened(cancel)
	s.request.AfterCursor = s.Cursor()
	stream, err := s.client.runtime.Subscribe(ctx, s.request)
	if err != nil {
		return false, err
	}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if s.request.GetScope().GetRunId() == "" { // only the stream of a run has an end: somebody in between made one
				return false, status.Error(codes.Unavailable, "The stream ended.")
			}
			return false, nil
		}
		if err != nil {
			return false, err
		}
		contact.made()
		for _, frame := range response.GetFrames() {
			s.mutex.Lock()
			s.cursor = frame.GetCursor()
			s.mutex.Unlock()
			s.request.LiveOnly = false // from here on there is a cursor
			if !yield(frame, nil) {
				return true, nil
			}
			if end.passed(frame) {
				return false, errStands
			}
		}
	}
}

// ListEvents goes through the events of a scope up to now, page by page as it is read. It stops
// after an error.
func (c *Client) ListEvents(ctx context.Context, scope *Scope, options ...ListEventsOption) iter.Seq2[*Frame, error] {
	return func(yield func(*Frame, error) bool) {
		request := &runwrightv1.ListEventsRequest{Scope: scope}
		for _, option := range options {
			option.forEvents(request)
		}
		for {
			page, err := unary(ctx, c, true, bind(c.runtime.ListEvents), request)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, frame := range page.GetFrames() {
				if !yield(frame, nil) {
					return
				}
			}
			if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
				return
			}
		}
	}
}
