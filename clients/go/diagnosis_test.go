package runwright_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	runwright "github.com/runwright/runwright/clients/go"
)

// listening is an address at which a server without services serves gRPC.
func listening(t *testing.T, options ...grpc.ServerOption) string {
	t.Helper()
	server := grpc.NewServer(options...)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// answering is an address at which whoever connects is given to answer, and then left.
func answering(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = connection.Close() }()
				answer(connection)
			}()
		}
	}()
	return listener.Addr().String()
}

func silent(connection net.Conn) { _, _ = io.Copy(io.Discard, connection) }

func http1(connection net.Conn) {
	lines := bufio.NewReader(connection)
	for line := ""; line != "SM\r\n"; {
		var err error
		if line, err = lines.ReadString('\n'); err != nil {
			return
		}
	}
	_, _ = io.WriteString(connection, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
	silent(connection)
}

func TestEachWayOfNotBeingThereIsOneLineWithARemedy(t *testing.T) {
	own, stranger := selfSigned(t), selfSigned(t)
	pair, err := tls.X509KeyPair(own.Cert, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	strangers := x509.NewCertPool()
	strangers.AppendCertsFromPEM(stranger.CA)
	secured := func(asks tls.ClientAuthType) string {
		config := &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: asks, ClientCAs: strangers}
		return listening(t, grpc.Creds(credentials.NewTLS(config)))
	}
	plain, encrypted, mutual := listening(t), secured(tls.NoClientCert), secured(tls.RequireAndVerifyClientCert)
	trusting := runwright.WithTLS(runwright.TLS{CA: own.CA})
	const (
		away     = "Start one with `runwright serve`, or give the address of one that runs."
		closes   = "UNAVAILABLE: What answers at ADDRESS closes the connection before it has answered. "
		isItOne  = "check that the address is that of a Runwright server."
		untrust  = "UNAVAILABLE: The certificate of ADDRESS is not trusted: certificate signed by unknown authority. Give the authority that signed it as TLS.CA."
		tlsThere = closes + "If it is a server with TLS, give WithTLS; else " + isItOne
	)
	cases := map[string]struct {
		address string
		options []runwright.Option
		said    string
	}{
		"away":               {"127.0.0.1:1", nil, "UNAVAILABLE: No Runwright server answers at ADDRESS (connection refused). " + away},
		"no such host":       {"nowhere.invalid:7760", nil, "UNAVAILABLE: No Runwright server answers at ADDRESS ("},
		"another service":    {plain, nil, "UNIMPLEMENTED: What answers at ADDRESS does not serve this call. Check the address, and that client and server are of one version."},
		"no TLS there":       {plain, []runwright.Option{trusting}, "UNAVAILABLE: What answers at ADDRESS does not speak TLS. Leave WithTLS out, or start the server with a certificate."},
		"TLS there":          {encrypted, nil, tlsThere},
		"closing":            {answering(t, func(net.Conn) {}), nil, tlsThere},
		"another authority":  {encrypted, []runwright.Option{runwright.WithTLS(runwright.TLS{CA: stranger.CA})}, untrust},
		"public authorities": {encrypted, []runwright.Option{runwright.WithTLS(runwright.TLS{})}, untrust},
		"another name": {encrypted, []runwright.Option{runwright.WithTLS(runwright.TLS{CA: own.CA, ServerName: "elsewhere.example"})},
			"UNAVAILABLE: The certificate of ADDRESS is for another name. Connect by a name that the certificate has, or give that as TLS.ServerName."},
		"no certificate of its own": {mutual, []runwright.Option{trusting},
			closes + "If it asks for a certificate of clients, give TLS.Cert and TLS.Key; else " + isItOne},
		"HTTP": {answering(t, http1), nil, "UNAVAILABLE: What answers at ADDRESS does not speak gRPC. Check that the address is that of a Runwright server."},
		"silent": {answering(t, silent), []runwright.Option{runwright.WithDeadline(300 * time.Millisecond)},
			"DEADLINE_EXCEEDED: ADDRESS did not answer in time. Try again, and look at the server's log."},
	}
	var all sync.WaitGroup
	for name, one := range cases {
		client, err := runwright.Connect(one.address, one.options...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		all.Add(1)
		go func() {
			defer all.Done()
			_, err := client.ServerInfo(context.Background())
			var failure *runwright.Error
			if !errors.As(err, &failure) {
				t.Errorf("%s: %v", name, err)
				return
			}
			said := strings.TrimPrefix(strings.ReplaceAll(failure.Error(), one.address, "ADDRESS"), "runwright: ")
			if !strings.HasPrefix(said, one.said) || strings.Contains(said, "\n") {
				t.Errorf("%s: %q, not %q", name, said, one.said)
			}
			if lasting := strings.Contains(one.said, "ertificate of ADDRESS") || name == "no TLS there"; lasting == failure.Retryable && failure.Code == "UNAVAILABLE" {
				t.Errorf("%s: retryable is %v", name, failure.Retryable)
			}
		}()
	}
	all.Wait()
}

func TestAServerThatHasNeverAnsweredIsGivenUp(t *testing.T) {
	for _, address := range []string{"127.0.0.1:1", answering(t, silent), answering(t, func(net.Conn) {})} {
		client, err := runwright.Connect(address, runwright.WithDeadline(200*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		ctx := within(t)
		_, _, waited := client.Wait(ctx, "r1", 0)
		var read error
		for _, err := range client.Subscribe(ctx, runwright.RunScope("r1")).Frames() {
			read = err
		}
		for what, err := range map[string]error{"wait": waited, "stream": read} {
			var failure *runwright.Error
			if !errors.As(err, &failure) || failure.Remedy == "" || ctx.Err() != nil {
				t.Errorf("%s of %s: %v", what, address, err)
			}
		}
	}
}
