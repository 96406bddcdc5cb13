package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	runwright "github.com/runwright/runwright/clients/go"
)

const (
	openSeconds = 5
	readSeconds = 20
)

type item struct {
	frame *runwright.Frame
	err   error
}

// stream reads a subscription one frame ahead of nobody: the next frame is fetched when it is asked
// for, so that a reader that does not read really does not.
type stream struct {
	subscription *runwright.Subscription
	cancel       context.CancelFunc
	wanted       chan struct{}
	items        chan item
	isAsked      bool  // a frame was asked for and has not come
	ahead        *item // the first frame, which came with the opening
	turn         chan struct{}
	ended        bool
	failure      error
}

// stream is what subscribe and list_events have in common.
func (a arguments) stream() (*runwright.Scope, []runwright.EventsOption, error) {
	scope, err := decode(a.Scope, &runwright.Scope{})
	if err != nil {
		return nil, nil, err
	}
	var options []runwright.EventsOption
	if a.After != "" {
		options = append(options, runwright.WithAfter(a.After))
	}
	if len(a.Filter) > 0 {
		filter, err := decode(a.Filter, &runwright.EventFilter{})
		if err != nil {
			return nil, nil, err
		}
		options = append(options, runwright.WithFilter(filter))
	}
	if strings.HasSuffix(a.View, "FULL") {
		options = append(options, runwright.WithContents())
	}
	return scope, options, nil
}

// subscribe answers once the stream is open, has failed, or has not come about for some seconds.
func (p *program) subscribe(ctx context.Context, args arguments) (any, error) {
	scope, options, err := args.stream()
	if err != nil {
		return nil, err
	}
	var all []runwright.SubscribeOption
	for _, option := range options {
		all = append(all, option)
	}
	if args.LiveOnly {
		all = append(all, runwright.WithLiveOnly())
	}
	if args.ThroughRepair {
		all = append(all, runwright.WithThroughRepair())
	}
	if args.UntilDone {
		all = append(all, runwright.WithUntilDone())
	}
	if args.IncludeDeltas || args.Deltas {
		all = append(all, runwright.WithDeltas())
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{
		subscription: p.connected().Subscribe(ctx, scope, all...), cancel: cancel, isAsked: true,
		wanted: make(chan struct{}, 1), items: make(chan item, 1), turn: make(chan struct{}, 1),
	}
	go s.pump(ctx)
	p.mutex.Lock()
	p.streams[args.Name] = s
	p.mutex.Unlock()
	if first, ok := s.take(time.After(openSeconds * time.Second)); ok {
		s.ahead = &first
	}
	return object{}, nil
}

func (s *stream) pump(ctx context.Context) {
	defer close(s.items)
	for frame, err := range s.subscription.Frames() {
		s.items <- item{frame, err}
		select {
		case <-s.wanted:
		case <-ctx.Done():
			return
		}
	}
}

// take gives the next frame; false: there is none, or not in time.
func (s *stream) take(late <-chan time.Time) (item, bool) {
	if s.ahead != nil {
		first := *s.ahead
		s.ahead = nil
		return first, true
	}
	if !s.isAsked {
		s.isAsked = true
		s.wanted <- struct{}{}
	}
	select {
	case next, ok := <-s.items:
		s.isAsked = false
		if !ok {
			s.ended = true
		}
		return next, ok
	case <-late:
		return item{}, false
	}
}

func (p *program) stream(name string) *stream {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	found := p.streams[name]
	if found == nil {
		panic("there is no subscription " + name)
	}
	return found
}

// read counts frames of every kind. An error is answered once what came before it has been.
func (p *program) read(_ context.Context, args arguments) (any, error) {
	s := p.stream(args.Name)
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	late := time.After(seconds(args.TimeoutSeconds, readSeconds*time.Second))
	frames := []json.RawMessage{}
	for s.failure == nil && !s.ended {
		next, ok := s.take(late)
		if s.ended {
			break
		}
		if !ok {
			return object{"frames": frames, "ended": false, "timed_out": true}, nil
		}
		if next.err != nil {
			s.failure = next.err
			break
		}
		frames = append(frames, encode(next.frame))
		if args.UntilKind != "" && strings.EqualFold(kindOf(next.frame), strings.TrimPrefix(args.UntilKind, "EVENT_KIND_")) {
			break
		}
		if args.Count > 0 && len(frames) == args.Count {
			break
		}
	}
	if s.failure != nil && len(frames) == 0 {
		return nil, s.failure
	}
	return object{"frames": frames, "ended": s.ended, "timed_out": false}, nil
}

func kindOf(frame *runwright.Frame) string {
	switch {
	case frame.GetBookmark() != nil:
		return "BOOKMARK"
	case frame.GetGap() != nil:
		return "GAP"
	}
	return strings.TrimPrefix(frame.GetEvent().GetKind().String(), "EVENT_KIND_")
}

func (p *program) cursor(_ context.Context, args arguments) (any, error) {
	s := p.stream(args.Name)
	return object{"cursor": s.subscription.Cursor(), "reconnects": s.subscription.Reconnects()}, nil
}

// unsubscribe has nothing to do for what was never subscribed to.
func (p *program) unsubscribe(_ context.Context, args arguments) (any, error) {
	p.mutex.Lock()
	s := p.streams[args.Name]
	delete(p.streams, args.Name)
	p.mutex.Unlock()
	if s == nil {
		return object{}, nil
	}
	s.cancel()
	select { // what the loop was about to give is nobody's any more
	case last := <-s.items:
		if last.err != nil && !errors.Is(last.err, context.Canceled) {
			return nil, fmt.Errorf("unsubscribe: %w", last.err)
		}
	case <-time.After(openSeconds * time.Second):
		return nil, errors.New("the loop did not end")
	}
	return object{}, nil
}
