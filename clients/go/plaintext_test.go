package runwright_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/runwright/runwright/clients/go"
)

func TestAKeyThatGoesOutInPlaintextToAnotherHostIsWarnedOfOnce(t *testing.T) {
	var logged bytes.Buffer
	usual := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
	t.Cleanup(func() { slog.SetDefault(usual) })
	connect := func(address string, options ...runwright.Option) {
		t.Helper()
		client, err := runwright.Connect(address, options...)
		if err != nil {
			t.Fatal(err)
		}
		_ = client.Close()
	}

	for _, address := range []string{"127.0.0.1:7760", "127.8.8.8:1", "[::1]:7760", "[::ffff:127.0.0.1]:1", "localhost:7760",
		"LOCALHOST.:7760", "dns:///localhost:7760", "passthrough:///127.0.0.1:7760", "unix:///run/runwright"} {
		connect(address, runwright.WithKey("rwk_1_secret"))
	}
	connect("runs.example:7760", runwright.WithKey("rwk_1_secret"), runwright.WithTLS(runwright.TLS{}))
	connect("runs.example:7760")
	if logged.Len() > 0 {
		t.Errorf("said without a need: %s", logged.String())
	}
	others := []string{"runs.example:7760", "10.0.0.9:7760", "[fd00::9]:7760", "localhost.example:7760", "dns:///10.0.0.8:7760"}
	for range 2 {
		for _, address := range others {
			connect(address, runwright.WithKey("rwk_1_secret"))
		}
	}

	if lines := strings.Count(logged.String(), "\n"); lines != len(others) {
		t.Errorf("%d lines for %d addresses: %s", lines, len(others), logged.String())
	}
	for _, address := range others {
		if !strings.Contains(logged.String(), "address="+address) {
			t.Errorf("nothing of %s: %s", address, logged.String())
		}
	}
	if strings.Contains(logged.String(), "secret") {
		t.Errorf("the key itself: %s", logged.String())
	}
}

func TestAnAuthorityMayBeginWithAByteOrderMark(t *testing.T) {
	authority := []byte("\xef\xbb\xbf" + string(selfSigned(t).CA))
	if _, err := runwright.Connect("localhost:7760", runwright.WithTLS(runwright.TLS{CA: authority})); err != nil {
		t.Error(err)
	}
}
