package runwright_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	runwright "github.com/runwright/runwright/clients/go"
	callbackv1 "github.com/runwright/runwright/clients/go/gen/runwright/callback/v1"
)

// dialled is a tool server as the runtime sees it.
func dialled(t *testing.T, tools *runwright.ToolServer) callbackv1.ToolExecutorServiceClient {
	t.Helper()
	connection, err := grpc.NewClient(tools.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return callbackv1.NewToolExecutorServiceClient(connection)
}

func request(tool string, attempt uint32, key string) *callbackv1.ExecuteToolRequest {
	return &callbackv1.ExecuteToolRequest{
		Tool: tool, Attempt: attempt, IdempotencyKey: key, ArgumentsJson: []byte(`{"step":1}`), RunId: "r1",
	}
}

func TestALowerAttemptThanSeenIsRefused(t *testing.T) {
	runtime := dialled(t, look(t, steps))
	call := func(attempt uint32, key string) codes.Code {
		_, err := runtime.ExecuteTool(within(t), request("look", attempt, key))
		return status.Code(err)
	}

	got := []codes.Code{call(2, "a"), call(1, "a"), call(1, "b"), call(2, "a"), call(3, "a"), call(2, "a")}

	wanted := []codes.Code{codes.OK, codes.FailedPrecondition, codes.OK, codes.OK, codes.OK, codes.FailedPrecondition}
	for number, code := range got {
		if code != wanted[number] {
			t.Errorf("call %d: %v, not %v", number, code, wanted[number])
		}
	}
}

func TestWhatAHandlerGivesIsAnswered(t *testing.T) {
	var log bytes.Buffer
	tools := runwright.NewToolServer(runwright.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	handle := func(name string, perform func() (any, error)) {
		runwright.Handle(tools, name, func(context.Context, *runwright.ToolCall, struct{ Step int }) (any, error) { return perform() })
	}
	handle("null", func() (any, error) { return nil, nil })
	handle("raw", func() (any, error) { return runwright.Raw{Data: []byte("é"), MediaType: "text/plain"}, nil })
	handle("declared", func() (any, error) { return nil, runwright.ToolErrorf("no such file: %s", "x") })
	handle("long", func() (any, error) { return nil, runwright.ToolErrorf("%s", "a"+strings.Repeat("é", 4000)) })
	handle("broken", func() (any, error) { return nil, errors.New("secret one") })
	handle("panics", func() (any, error) { panic("secret two") })
	handle("large", func() (any, error) { return strings.Repeat("x", 1<<20), nil })
	runwright.Handle(tools, "strict", func(context.Context, *runwright.ToolCall, struct{ Step string }) (any, error) {
		return "not reached", nil
	})
	if err := tools.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer tools.Close()
	runtime := dialled(t, tools)
	answer := func(tool string) *callbackv1.ExecuteToolResponse {
		t.Helper()
		response, err := runtime.ExecuteTool(within(t), request(tool, 1, tool))
		if err != nil {
			t.Fatal(err)
		}
		return response
	}

	if result := answer("null").GetResult(); string(result.GetData()) != "null" || result.GetMediaType() != "" {
		t.Errorf("null: %v", result)
	}
	if result := answer("raw").GetResult(); string(result.GetData()) != "é" || result.GetMediaType() != "text/plain" {
		t.Errorf("raw: %v", result)
	}
	if message := answer("declared").GetError().GetMessage(); message != "no such file: x" {
		t.Errorf("declared: %q", message)
	}
	if message := answer("long").GetError().GetMessage(); len(message) != 4095 {
		t.Errorf("long: %d bytes", len(message))
	}
	for _, tool := range []string{"broken", "panics"} {
		if message := answer(tool).GetError().GetMessage(); message != "The tool failed." {
			t.Errorf("%s: %q", tool, message)
		}
	}
	if message := answer("large").GetError().GetMessage(); !strings.Contains(message, "1048576") {
		t.Errorf("large: %q", message)
	}
	if message := answer("strict").GetError().GetMessage(); !strings.Contains(message, "arguments") {
		t.Errorf("strict: %q", message)
	}
	if _, err := runtime.ExecuteTool(within(t), request("nobody", 1, "k")); status.Code(err) != codes.Unimplemented {
		t.Errorf("an unknown tool: %v", err)
	}
	tools.Close()
	// As of a call that was on its way when the host began to stop.
	late, err := tools.ExecuteTool(within(t), request("null", 1, "late"))
	if err != nil || late.GetNotPerformed().GetMessage() != "This host is stopping." {
		t.Errorf("a call after the end: %v, %v", late, err)
	}
	for _, text := range []string{"secret one", "secret two", "run_id=r1"} {
		if !strings.Contains(log.String(), text) {
			t.Errorf("the log has no %q: %s", text, log.String())
		}
	}
}

func TestARegistrationIsRenewedOverARestartAndEndedAtTheEnd(t *testing.T) {
	server := serve(t, looks(1))
	registered := make(chan struct{}, 100)
	client := server.connect(intercepted(func(any) {}, func(request any) error {
		if _, ok := request.(*callbackv1.RegisterCallbackRequest); ok {
			registered <- struct{}{}
		}
		return nil
	}))
	tools := look(t, steps)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- tools.ServeFor(ctx, client, "desk", runwright.WithCallbackID("desk-1"), runwright.WithLease(5*time.Second))
	}()
	received(t, registered)
	listed := func() []*callbackv1.Callback {
		connection, err := grpc.NewClient(server.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = connection.Close() }()
		page, err := callbackv1.NewCallbackRegistryServiceClient(connection).ListCallbacks(within(t), &callbackv1.ListCallbacksRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return page.GetCallbacks()
	}
	first := listed()

	server.restart()
	received(t, registered) // a third of the lease later
	received(t, registered) // and another
	renewed := listed()
	started(t, client, "r1")
	completed(t, client, "r1")
	stop()
	err := received(t, served)

	if len(first) != 1 || first[0].GetSpec().GetCallbackId() != "desk-1" || first[0].GetSpec().GetTools()[0] != "look" {
		t.Errorf("registered %v", first)
	}
	if len(renewed) != 1 || !renewed[0].GetExpiresAt().AsTime().After(first[0].GetExpiresAt().AsTime()) {
		t.Errorf("renewed %v after %v", renewed, first)
	}
	if err != nil || len(listed()) != 0 {
		t.Errorf("ended with %v, left %v", err, listed())
	}
}

func TestWhatNobodyCanDialIsNotRegistered(t *testing.T) {
	client := serve(t, looks(1)).connect()
	tools := runwright.NewToolServer()
	runwright.Handle(tools, "look", steps)
	if err := tools.Start("0.0.0.0:0"); err != nil {
		t.Fatal(err)
	}
	defer tools.Close()
	var failure *runwright.Error

	if _, err := tools.Register(within(t), client, "desk"); err == nil || !strings.Contains(err.Error(), "WithAdvertised") {
		t.Errorf("an address of any kind: %v", err)
	}
	_, err := tools.Register(within(t), client, "desk", runwright.WithAdvertised("10.1.2.3:80"))
	if !errors.As(err, &failure) || failure.Reason != "CALLBACK_ADDRESS_REFUSED" {
		t.Errorf("an address that is not allowed: %v", err)
	}
}

func TestKeysAndTLSOnEveryLine(t *testing.T) {
	folder := t.TempDir()
	certificate := selfSigned(t)
	write := func(name string, data []byte) string {
		t.Helper()
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	keys := filepath.Join(folder, "keys.json")
	key := func(role string) string {
		t.Helper()
		printed, err := command(t, "keys", "add", role, "--file", keys, "--role", role).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(printed))
	}
	caller, executor := key("caller"), key("executor")
	server := serve(t, looks(1), "--keys", keys,
		"--tls-cert", write("cert.pem", certificate.Cert), "--tls-key", write("key.pem", certificate.Key))
	trusted := runwright.WithTLS(runwright.TLS{CA: certificate.CA})
	calls, hosts := server.connect(trusted, runwright.WithKey(caller)), server.connect(trusted, runwright.WithKey(executor))
	tools := runwright.NewToolServer(runwright.WithServerTLS(certificate), runwright.WithCredential("open-sesame"))
	runwright.Handle(tools, "look", steps)
	if err := tools.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer tools.Close()

	register(t, tools, hosts)
	started(t, calls, "r1")
	completed(t, calls, "r1")

	refused := func(what, reason string, options ...runwright.Option) {
		t.Helper()
		client := server.connect(options...)
		var failure *runwright.Error
		if _, err := client.Snapshot(within(t), "r1"); !errors.As(err, &failure) || failure.Reason != reason {
			t.Errorf("%s: %v", what, err)
		}
		for _, err := range client.Subscribe(within(t), runwright.RunScope("r1")).Frames() {
			if !errors.As(err, &failure) || failure.Reason != reason {
				t.Errorf("%s, a stream: %v", what, err)
			}
		}
	}
	refused("a wrong key", "UNAUTHENTICATED", trusted, runwright.WithKey(caller+"x"))
	refused("no key", "UNAUTHENTICATED", trusted)
	refused("a key of another role", "ROLE_MISSING", trusted, runwright.WithKey(executor))
	refused("an unknown authority", "UNAVAILABLE", runwright.WithTLS(runwright.TLS{}), runwright.WithDeadline(time.Second))

	if _, err := runwright.Connect(server.address, runwright.WithTLS(runwright.TLS{CA: []byte("none")})); err == nil {
		t.Error("authorities that are none are taken")
	}
	strangers := look(t, steps)
	guarded := runwright.NewToolServer(runwright.WithCredential("open-sesame"))
	if err := guarded.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer guarded.Close()
	if _, err := dialled(t, guarded).ExecuteTool(within(t), request("look", 1, "k")); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a call without the credential: %v", err)
	}
	if _, err := dialled(t, strangers).ExecuteTool(within(t), request("look", 1, "k")); err != nil {
		t.Errorf("a call where none is needed: %v", err)
	}
}

// selfSigned is a certificate for loopback that is its own authority.
func selfSigned(t *testing.T) runwright.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return runwright.TLS{CA: cert, Cert: cert, Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})}
}
