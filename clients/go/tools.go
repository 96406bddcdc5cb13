package runwright

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	callbackv1 "github.com/runwright/runwright/clients/go/gen/runwright/callback/v1"
)

// How many calls one connection may have under way; more wait.
const mostCalls = 1000

// ToolCall is one attempt of one call.
type ToolCall struct {
	// RunID, TurnID and Round say who asks.
	RunID, TurnID string
	Round         uint32
	// CallID is the call inside the run.
	CallID string
	// Attempt counts from 1.
	Attempt uint32
	// IdempotencyKey is the same for every attempt of the call and unique over all runs: the
	// effect must be performed at most once for it.
	IdempotencyKey string
	// Tool is the tool's name.
	Tool string
	// Arguments are valid under the tool's schema.
	Arguments json.RawMessage
	// Deadline is when the runtime stops waiting; the handler's context ends then, too.
	Deadline time.Time
	// PackageFingerprint is of the package that declares the tool.
	PackageFingerprint string
}

// Raw is a result that is not JSON.
type Raw struct {
	// Data is what the model sees.
	Data []byte
	// MediaType says what it is, such as "text/plain; charset=utf-8".
	MediaType string
}

// ToolError is a failure of the tool itself, which a handler returns: the call failed for
// certain, and the model is told the message.
type ToolError struct {
	// Message is one sentence for the model, at most 4 KiB.
	Message string
}

// Error is the message.
func (e *ToolError) Error() string { return e.Message }

// ToolErrorf makes a [ToolError].
func ToolErrorf(format string, values ...any) error {
	return &ToolError{Message: fmt.Sprintf(format, values...)}
}

type handler func(ctx context.Context, call *ToolCall) (any, error)

// ToolServer performs the calls of tools for a Runwright server, which dials it.
type ToolServer struct {
	callbackv1.UnimplementedToolExecutorServiceServer

	tls        *TLS
	credential string
	log        *slog.Logger
	handlers   map[string]handler
	decide     PolicyFunc  // of a policy, which has no tools
	dispatcher *Dispatcher // of a dispatcher, which has none either
	declared   map[string]*declaration
	mistakes   mistakes
	attempts   attempts
	underWay   underWay
	health     *health.Server
	server     *grpc.Server
	listener   net.Listener
	served     chan struct{}

	reconcilers map[string]reconciler

	stopping      atomic.Bool
	hasEnded      atomic.Bool
	mutex         sync.Mutex
	registrations []*Registration
}

// ToolServerOption is a setting of [NewToolServer].
type ToolServerOption func(*ToolServer)

// WithServerTLS serves with TLS: Cert and Key are the server's own. CA and ServerName are for
// [ToolServer.Register]: whom the runtime is to trust, and the name it is to expect.
func WithServerTLS(tls TLS) ToolServerOption { return func(s *ToolServer) { s.tls = &tls } }

// WithCredential refuses calls that do not carry the token. [ToolServer.Register] tells the
// runtime, which takes it only with TLS or for a loopback address.
func WithCredential(token string) ToolServerOption {
	return func(s *ToolServer) { s.credential = token }
}

// WithLogger says where failures of handlers are logged. Without it: [slog.Default].
func WithLogger(log *slog.Logger) ToolServerOption { return func(s *ToolServer) { s.log = log } }

// NewToolServer gives a server without tools, which does not serve yet.
func NewToolServer(options ...ToolServerOption) *ToolServer {
	s := &ToolServer{log: slog.Default(), handlers: map[string]handler{}, declared: map[string]*declaration{}, health: health.NewServer()}
	for _, option := range options {
		option(s)
	}
	return s
}

// Handle registers what performs a tool, before [ToolServer.Start]. A is what the arguments are
// decoded into: a struct, a map, or [json.RawMessage].
//
// The handler gives a value that can be written as JSON, or [Raw]. A [ToolError] it returns is
// told to the model; of any other error, or a panic, the model is only told that the tool failed,
// and the log says why. The context ends with the run, the deadline or the server. A name that no tool may have, or
// that two have, is an error of [ToolServer.Start].
//
// The options say of the tool what a package says of it; its schema is made of A unless [WithSchema] gives one.
func Handle[A any](
	s *ToolServer, tool string, perform func(ctx context.Context, call *ToolCall, arguments A) (any, error), options ...ToolOption,
) {
	s.checkHandler(tool, perform != nil)
	declared, err := declare[A](options)
	if err != nil {
		s.mistakes.add("tool %s: %w", tool, err)
	}
	s.declared[tool] = declared
	s.handlers[tool] = func(ctx context.Context, call *ToolCall) (any, error) {
		var arguments A
		if err := json.Unmarshal(call.Arguments, &arguments); err != nil {
			return nil, ToolErrorf("The tool cannot read its arguments: %v.", err)
		}
		return perform(ctx, call, arguments)
	}
}

// Start begins to serve on an address, `host:port`; port 0 lets the system choose. It serves once.
func (s *ToolServer) Start(address string) error {
	if s.server != nil {
		return errors.New("runwright: this tool server has been started before")
	}
	if err := s.mistakes.err(); err != nil {
		return err
	}
	options := []grpc.ServerOption{
		grpc.UnaryInterceptor(s.admit),
		grpc.MaxConcurrentStreams(mostCalls),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	}
	if s.tls != nil {
		certificates, err := s.tls.certificates()
		if err == nil && len(certificates) == 0 {
			err = errors.New("TLS.Cert and TLS.Key are needed to serve")
		}
		if err != nil {
			return fmt.Errorf("runwright: %w", err)
		}
		config := &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12}
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("runwright: %w", err)
	}
	s.listener, s.server, s.served = listener, grpc.NewServer(options...), make(chan struct{})
	switch {
	case s.decide != nil:
		callbackv1.RegisterPolicyServiceServer(s.server, &policyService{host: s})
	case s.dispatcher != nil:
		callbackv1.RegisterApprovalDispatcherServiceServer(s.server, &dispatcherService{host: s})
	default:
		callbackv1.RegisterToolExecutorServiceServer(s.server, s)
	}
	grpc_health_v1.RegisterHealthServer(s.server, s.health)
	go func() {
		defer close(s.served)
		if err := s.server.Serve(listener); err != nil {
			s.log.Error("tool server ended", "error", err)
		}
	}()
	return nil
}

// Address is where it serves; empty before it is started.
func (s *ToolServer) Address() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Shutdown ends its registrations, lets calls under way answer, begins none, and ends. When the context ends
// before that, those calls are cancelled. It is not an error to call it twice.
func (s *ToolServer) Shutdown(ctx context.Context) {
	s.stopping.Store(true)
	ended := ctx.Err() != nil // the leases are left to end
	s.health.Shutdown()
	s.mutex.Lock()
	registrations := slices.Clone(s.registrations)
	s.mutex.Unlock()
	for _, registration := range registrations {
		if err := registration.Stop(ctx); err != nil && !ended {
			s.log.Warn("callback not unregistered; its lease ends it", "callback_id", registration.CallbackID, "error", err)
		}
	}
	if s.server == nil {
		return
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		s.server.GracefulStop()
	}()
	select {
	case <-answered:
	case <-ctx.Done():
		go s.server.Stop() // waits for handlers that do not heed their context; nobody else does
	}
	<-s.served
	if !s.hasEnded.Swap(true) {
		s.log.Info("the tool server has ended", "address", s.Address())
	}
}

// Close ends at once: calls under way are cancelled, and leases are left to end by themselves.
func (s *ToolServer) Close() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.Shutdown(ended)
}

// admit refuses whoever does not know the credential, health checks among them.
func (s *ToolServer) admit(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if s.credential != "" {
		told := strings.Join(metadata.ValueFromIncomingContext(ctx, "authorization"), ",")
		if subtle.ConstantTimeCompare([]byte(told), []byte("Bearer "+s.credential)) != 1 {
			return nil, status.Error(codes.Unauthenticated, "The credential of this tool server is missing or wrong.")
		}
	}
	return handle(ctx, request)
}

// ExecuteTool is called by the runtime.
func (s *ToolServer) ExecuteTool(ctx context.Context, request *callbackv1.ExecuteToolRequest) (*callbackv1.ExecuteToolResponse, error) {
	perform, known := s.handlers[request.GetTool()]
	if !known { // the one status by which a runtime knows that nothing was performed
		return nil, status.Errorf(codes.Unimplemented, "There is no tool %q here.", request.GetTool())
	}
	if s.stopping.Load() {
		putOff := &callbackv1.ToolNotPerformed{Message: "This host is stopping."}
		return &callbackv1.ExecuteToolResponse{Outcome: &callbackv1.ExecuteToolResponse_NotPerformed{NotPerformed: putOff}}, nil
	}
	defer s.underWay.begin(request.GetIdempotencyKey())()
	if seen := s.attempts.begin(request.GetIdempotencyKey(), request.GetAttempt()); seen > request.GetAttempt() {
		return nil, status.Errorf(codes.FailedPrecondition, "Attempt %d comes after attempt %d.", request.GetAttempt(), seen)
	}
	call := &ToolCall{
		RunID: request.GetRunId(), TurnID: request.GetTurnId(), Round: request.GetRound(), CallID: request.GetCallId(),
		Attempt: request.GetAttempt(), IdempotencyKey: request.GetIdempotencyKey(), Tool: request.GetTool(),
		Arguments: request.GetArgumentsJson(), PackageFingerprint: request.GetPackageFingerprint(),
	}
	if deadline := request.GetDeadline(); deadline != nil {
		call.Deadline = deadline.AsTime()
	}
	return s.answer(ctx, perform, call)
}

// tools are the names of what is handled.
func (s *ToolServer) tools() []string {
	names := make([]string, 0, len(s.handlers))
	for name := range s.handlers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
