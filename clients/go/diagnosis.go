package runwright

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

// peer is whom a client calls, and whether it has ever answered.
type peer struct {
	address        string
	tls, certified bool
	heard          atomic.Bool
}

// failure reads what a failed call says. Where no Runwright server spoke, it says in one sentence what
// is wrong and in another what to do: gRPC has that in its texts alone.
func (c *Client) failure(ctx context.Context, err error) *Error {
	e := newError(ctx, err)
	if e.told {
		c.peer.heard.Store(true)
	}
	if !e.told && e.Remedy == "" && !errors.Is(e.cause, context.Canceled) {
		c.peer.explain(e)
	}
	return e
}

const isItOne = "check that the address is that of a Runwright server."

func (p *peer) explain(e *Error) {
	text := e.Message
	_, why, notTrusted := strings.Cut(text, "failed to verify certificate: ")
	why, _, _ = strings.Cut(strings.TrimSuffix(strings.TrimPrefix(why, "x509: "), `"`), " (possibly because")
	says := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(text, part) {
				return true
			}
		}
		return false
	}
	switch {
	case e.Code == "UNIMPLEMENTED":
		e.Message = fmt.Sprintf("What answers at %s does not serve this call.", p.address)
		e.Remedy = "Check the address, and that client and server are of one version."
	case says("first record does not look like a TLS handshake"):
		p.lasting(e, "What answers at %s does not speak TLS.", "Leave WithTLS out, or start the server with a certificate.")
	case notTrusted && (strings.Contains(why, "is valid for") || strings.Contains(why, "SANs") || strings.Contains(why, "any names")):
		p.lasting(e, "The certificate of %s is for another name.", "Connect by a name that the certificate has, or give that as TLS.ServerName.")
	case notTrusted && strings.Contains(why, "expired or is not yet valid"):
		p.lasting(e, "The certificate of %s is not trusted: "+why+".", "Renew the server's certificate, and check the clocks.")
	case notTrusted:
		p.lasting(e, "The certificate of %s is not trusted: "+why+".", "Give the authority that signed it as TLS.CA.")
	case says("looked like an HTTP/1.1 header"):
		e.Message = fmt.Sprintf("What answers at %s does not speak gRPC.", p.address)
		e.Remedy = "Check that the address is that of a Runwright server."
	case e.Code == unavailable && says("Error while dialing", "name resolver error", "no such host"):
		e.Message = fmt.Sprintf("No Runwright server answers at %s (%s).", p.address, lastPart(text))
		e.Remedy = "Start one with `runwright serve`, or give the address of one that runs."
	case e.Code == unavailable && p.heard.Load():
		e.Message = fmt.Sprintf("The connection to %s was lost.", p.address)
		e.Remedy = "Try again, and look at the server's log."
	case e.Code == unavailable && says("EOF", "connection reset", "broken pipe", "remote error: tls", "closing", "server preface"):
		e.Message = fmt.Sprintf("What answers at %s closes the connection before it has answered.", p.address)
		e.Remedy = p.aboutClosing()
	case e.Code == unavailable:
		e.Message = fmt.Sprintf("%s is not available: %s.", p.address, strings.TrimSuffix(text, "."))
		e.Remedy = "Try again."
	case e.Code == "DEADLINE_EXCEEDED":
		e.Message = p.address + " did not answer in time."
		e.Remedy = "Try again, and look at the server's log."
	default:
		e.Remedy = "Look at the server's log, and check the address."
	}
}

// lasting is what waiting does not cure.
func (p *peer) lasting(e *Error, format, remedy string) {
	e.Message, e.Remedy, e.Retryable = strings.ReplaceAll(format, "%s", p.address), remedy, false
	e.Reason, e.Code = unavailable, unavailable
}

func (p *peer) aboutClosing() string {
	switch {
	case !p.tls:
		return "If it is a server with TLS, give WithTLS; else " + isItOne
	case !p.certified:
		return "If it asks for a certificate of clients, give TLS.Cert and TLS.Key; else " + isItOne
	}
	return "Check that it takes the certificate that is given, and " + isItOne
}

// lastPart is what the system says, behind whose words it is told in.
func lastPart(text string) string {
	parts := strings.Split(strings.Trim(text, `"`), ": ")
	return parts[len(parts)-1]
}
