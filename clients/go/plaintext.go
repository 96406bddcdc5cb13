package runwright

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
)

var warned sync.Map // addresses of which it was said already

// warnOfPlaintext says once for each address that whoever stands on the way can read the key.
func warnOfPlaintext(address string) {
	if _, known := warned.LoadOrStore(address, true); !known {
		slog.Warn("runwright: the key goes out in plaintext, where others can read it: give WithTLS", "address", address)
	}
}

// staysHere tells whether what goes to an address leaves this machine. Names are not resolved, but
// for the one that says so.
func staysHere(address string) bool {
	if strings.HasPrefix(address, "unix:") || strings.HasPrefix(address, "unix-abstract:") {
		return true
	}
	if _, target, found := strings.Cut(address, ":///"); found { // a resolver of gRPC's, such as dns:///
		address = target
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]") // the port may be left out
	}
	if strings.TrimSuffix(strings.ToLower(host), ".") == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
