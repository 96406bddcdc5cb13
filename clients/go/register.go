package runwright

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"

	callbackv1 "github.com/runwright/runwright/clients/go/gen/runwright/callback/v1"
)

// RegisterOption is a setting of [ToolServer.Register] and [ToolServer.ServeFor].
type RegisterOption func(*callbackv1.RegisterCallbackRequest)

// WithCallbackID is the registration's id, unique in the namespace; one for each process. Without
// it every registration makes one.
func WithCallbackID(id string) RegisterOption {
	return func(r *callbackv1.RegisterCallbackRequest) { r.Spec.CallbackId = id }
}

// WithLease is how long the registration outlives this process, 5 s to 1 h. Without it: 60 s.
func WithLease(lease time.Duration) RegisterOption {
	return func(r *callbackv1.RegisterCallbackRequest) { r.Lease = durationpb.New(lease) }
}

// WithMaxCalls is how many calls the runtime may have under way here at once, at most 10,000. Without
// it the runtime has 8; more calls wait there.
func WithMaxCalls(calls uint32) RegisterOption {
	return func(r *callbackv1.RegisterCallbackRequest) { r.Spec.MaxCallsInFlight = calls }
}

// WithAdvertised is the address under which the runtime reaches this server, where that is not
// the one it listens on.
func WithAdvertised(address string) RegisterOption {
	return func(r *callbackv1.RegisterCallbackRequest) { r.Spec.Address = address }
}

// WithoutSchemaDigests does not say at registration which schemas the tools have: calls of every package are sent here,
// whatever schema that has.
func WithoutSchemaDigests() RegisterOption {
	return func(r *callbackv1.RegisterCallbackRequest) { r.Spec.ToolDigests = nil }
}

// Registration is a tool server's entry with a Runwright server; it is renewed until it is stopped.
type Registration struct {
	// CallbackID is its id.
	CallbackID string

	executor string
	server   *ToolServer
	client   *Client
	cancel   context.CancelFunc
	done     chan struct{}
	err      error
}

// Register has a Runwright server send the calls of an executor's tools here. It returns once that
// is on disk there, and renews the lease, also through restarts of that server, until
// [Registration.Stop] or [ToolServer.Shutdown] unregisters it. Once the context has ended it is
// not renewed any more, and goes with its lease.
func (s *ToolServer) Register(
	ctx context.Context, client *Client, executor string, options ...RegisterOption,
) (*Registration, error) {
	request := &callbackv1.RegisterCallbackRequest{Credential: s.credential, Spec: &callbackv1.CallbackSpec{
		CallbackId: executor[:min(len(executor), 90)] + "-" + uuid.NewString(), Executor: executor, Address: s.Address(), Tools: s.tools(),
		ToolDigests: s.digests(),
	}}
	switch {
	case s.decide != nil:
		request.Spec.Kind = callbackv1.CallbackKind_CALLBACK_KIND_POLICY
	case s.dispatcher != nil:
		request.Spec.Kind = callbackv1.CallbackKind_CALLBACK_KIND_APPROVAL_DISPATCHER
	}
	if s.tls != nil {
		request.Spec.Tls = &callbackv1.CallbackTls{CaPem: s.tls.CA, ServerName: s.tls.ServerName}
	}
	for _, option := range options {
		option(request)
	}
	if err := s.checkRegistration(executor, request.Spec.CallbackId); err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(request.Spec.Address)
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return nil, errors.New("runwright: WithAdvertised is needed: nobody can dial " + request.Spec.Address)
	}
	response, err := unary(ctx, client, true, bind(client.registry.RegisterCallback), request)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &Registration{
		CallbackID: request.Spec.CallbackId, executor: executor, server: s, client: client, cancel: cancel, done: make(chan struct{}),
	}
	s.mutex.Lock()
	s.registrations = append(s.registrations, r)
	s.mutex.Unlock()
	said := []any{"server", client.peer.address, s.role(), executor}
	if s.role() == "executor" {
		said = append(said, "tools", strings.Join(request.Spec.Tools, ", "))
	}
	s.log.Info("registered", append(said, "address", request.Spec.Address)...)
	go func() {
		defer close(r.done)
		defer cancel()
		r.err = r.renew(ctx, request, response.GetCallback().GetLease().AsDuration()/3)
	}()
	return r, nil
}

// role is what the server is registered as, in the words of the other clients.
func (s *ToolServer) role() string {
	switch {
	case s.decide != nil:
		return "policy"
	case s.dispatcher != nil:
		return "dispatcher"
	}
	return "executor"
}

// ServeFor registers this server until the context ends, and then unregisters it. It returns an
// error if the registration is refused, at first or later.
func (s *ToolServer) ServeFor(ctx context.Context, client *Client, executor string, options ...RegisterOption) error {
	r, err := s.Register(ctx, client, executor, options...)
	if err != nil {
		return err
	}
	<-r.done
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), client.deadline)
	defer cancel()
	return errors.Join(r.err, r.Stop(stopping))
}

// Done is closed once the registration is not renewed any more.
func (r *Registration) Done() <-chan struct{} { return r.done }

// Err is why a registration that was not stopped is not renewed any more.
func (r *Registration) Err() error {
	select {
	case <-r.done:
		return r.err
	default:
		return nil
	}
}

// Stop ends the registration; calls under way may still answer.
func (r *Registration) Stop(ctx context.Context) error {
	r.cancel()
	<-r.done
	r.server.mutex.Lock()
	r.server.registrations = slices.DeleteFunc(r.server.registrations, func(one *Registration) bool { return one == r })
	r.server.mutex.Unlock()
	request := &callbackv1.UnregisterCallbackRequest{CallbackId: r.CallbackID}
	_, err := unary(ctx, r.client, true, bind(r.client.registry.UnregisterCallback), request)
	var failure *Error
	if errors.As(err, &failure) && failure.Reason == "CALLBACK_NOT_FOUND" {
		err = nil
	}
	if err == nil {
		r.server.log.Info("unregistered", "server", r.client.peer.address, r.server.role(), r.executor, "callback_id", r.CallbackID)
	}
	return err
}

// renew repeats the request at every third of the lease, and sooner after a failure, until the
// context ends; nil then, else why it is refused.
func (r *Registration) renew(ctx context.Context, request *callbackv1.RegisterCallbackRequest, every time.Duration) error {
	next := time.NewTimer(every)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		_, err := unary(ctx, r.client, true, bind(r.client.registry.RegisterCallback), request)
		var failure *Error
		if !errors.As(err, &failure) {
			next.Reset(every)
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		r.server.log.Warn("the registration could not be renewed", r.server.role(), r.executor, "callback_id", r.CallbackID, "error", failure)
		if failure.told && !failure.Retryable {
			return failure
		}
		next.Reset(min(every, longestPause))
	}
}
