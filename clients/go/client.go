package runwright

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	callbackv1 "github.com/runwright/runwright/clients/go/gen/runwright/callback/v1"
	runwrightv1 "github.com/runwright/runwright/clients/go/gen/runwright/v1"
)

const (
	defaultDeadline = 10 * time.Second
	// A page of events with contents of 64 KiB each is larger than gRPC's 4 MiB.
	maxMessageBytes = 64 << 20
	// How long one connection may take to be made; a frozen server accepts and says nothing.
	connectTimeout = 5 * time.Second
)

// Client calls one server. It is safe for concurrent use.
type Client struct {
	connection *grpc.ClientConn
	runtime    runwrightv1.RuntimeServiceClient
	packages   runwrightv1.PackageServiceClient
	approvals  runwrightv1.ApprovalServiceClient
	registry   callbackv1.CallbackRegistryServiceClient
	deadline   time.Duration
	peer       *peer
}

// TLS says whom to trust and what to show, all in PEM form.
type TLS struct {
	// CA are the authorities to trust. Empty: those of the system.
	CA []byte
	// Cert and Key are what is shown to the other side. Empty: nothing.
	Cert, Key []byte
	// ServerName is the name the other side's certificate must carry. Empty: the host of the address.
	ServerName string
}

func (t TLS) certificates() ([]tls.Certificate, error) {
	if len(t.Cert) == 0 && len(t.Key) == 0 {
		return nil, nil
	}
	pair, err := tls.X509KeyPair(t.Cert, t.Key)
	return []tls.Certificate{pair}, err
}

func (t TLS) config() (*tls.Config, error) {
	config := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if len(t.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(bytes.TrimPrefix(t.CA, []byte("\xef\xbb\xbf"))) {
			return nil, errors.New("runwright: TLS.CA must hold certificates in PEM form")
		}
	}
	var err error
	config.Certificates, err = t.certificates()
	return config, err
}

// Option is a setting of [Connect].
type Option func(*settings)

type settings struct {
	key       string
	tls       *TLS
	deadline  time.Duration
	keepalive keepalive.ClientParameters
	dial      []grpc.DialOption
}

// WithKey sends a key with every call. Without TLS it can be read on the way: [Connect] warns of that with
// slog, once for each address that is not loopback.
func WithKey(key string) Option { return func(s *settings) { s.key = key } }

// WithTLS makes the connection with TLS; the zero value trusts the system's authorities.
func WithTLS(tls TLS) Option { return func(s *settings) { s.tls = &tls } }

// WithDeadline bounds calls whose context has no deadline. Without it: 10 s. Streams have none.
func WithDeadline(deadline time.Duration) Option { return func(s *settings) { s.deadline = deadline } }

// WithKeepalive says after how much silence a server is asked whether it lives, and how long it
// may take to answer. Without it: 20 s and 10 s. gRPC asks every 10 s at most, and a server may
// refuse to be asked more often than its limit `min_ping_interval_seconds`.
func WithKeepalive(after, timeout time.Duration) Option {
	return func(s *settings) { s.keepalive.Time, s.keepalive.Timeout = after, timeout }
}

// WithDialOptions adds options of gRPC's own, such as interceptors; they come last.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dial = append(s.dial, options...) }
}

// Connect gives a client of the server at address, `host:port`. The connection is made with the
// first call, and anew whenever it is lost. It fails only if a setting makes no sense.
func Connect(address string, options ...Option) (*Client, error) {
	set := settings{deadline: defaultDeadline}
	set.keepalive = keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}
	for _, option := range options {
		option(&set)
	}
	transport, called := insecure.NewCredentials(), &peer{address: address}
	if set.tls != nil {
		called.tls, called.certified = true, len(set.tls.Cert) > 0
		config, err := set.tls.config()
		if err != nil {
			return nil, err
		}
		transport = credentials.NewTLS(config)
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithKeepaliveParams(set.keepalive),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
		grpc.WithDisableServiceConfig(), // what is tried again is decided here
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: connectTimeout,
		}),
	}
	if set.key != "" {
		if set.tls == nil && !staysHere(address) {
			warnOfPlaintext(address)
		}
		dial = append(dial, grpc.WithPerRPCCredentials(bearer(set.key)))
	}
	connection, err := grpc.NewClient(address, append(dial, set.dial...)...)
	if err != nil {
		return nil, newError(context.Background(), err)
	}
	return &Client{
		connection: connection,
		runtime:    runwrightv1.NewRuntimeServiceClient(connection),
		packages:   runwrightv1.NewPackageServiceClient(connection),
		approvals:  runwrightv1.NewApprovalServiceClient(connection),
		registry:   callbackv1.NewCallbackRegistryServiceClient(connection),
		deadline:   set.deadline,
		peer:       called,
	}, nil
}

// Close ends the connection and every call and subscription of the client.
func (c *Client) Close() error { return c.connection.Close() }

// bearer sends a key with every call, also without TLS: to loopback that is meant.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (b bearer) RequireTransportSecurity() bool { return false }
