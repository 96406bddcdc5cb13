package runwright

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/connectivity"
)

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	mostTries    = 5

	unavailable = "UNAVAILABLE"
)

// pauses counts failures in a row and waits longer after each.
type pauses struct {
	failures int
}

// wait returns nil once it is time to try again, or the context's error. It waits 0.1 s doubling
// to 5 s, up to a half less so that clients do not come back in step, and at least what the
// server asked for.
func (p *pauses) wait(ctx context.Context, failure *Error) error {
	pause := min(longestPause, firstPause<<min(p.failures, 10))
	pause -= rand.N(pause/2 + 1)
	pause = max(pause, min(failure.RetryAfter, longestPause))
	p.failures++
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// unary makes a call under the client's deadline, unless the caller's context has one. What is
// safe to repeat is tried five times while nobody answers or the server restarts.
func unary[Request, Response any](
	ctx context.Context, c *Client, safe bool, method func(context.Context, Request) (Response, error), request Request,
) (Response, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.deadline)
		defer cancel()
	}
	var pause pauses
	for {
		response, err := method(ctx, request)
		if err == nil {
			c.peer.heard.Store(true)
			return response, nil
		}
		failure := c.failure(ctx, err)
		if !safe || !failure.Retryable || failure.Code != unavailable || pause.failures == mostTries-1 {
			return response, failure
		}
		if pause.wait(ctx, failure) != nil {
			return response, failure // which says more than that the time is over
		}
	}
}

// contact knows for how long a server has not answered, and whether it ever has.
type contact struct {
	pauses
	client   *Client
	everMade bool
	giveUp   time.Time
}

func newContact(c *Client) *contact { return &contact{client: c, giveUp: time.Now().Add(c.deadline)} }

// made is told of every answer.
func (c *contact) made() {
	c.everMade, c.failures = true, 0
	c.client.peer.heard.Store(true)
}

// passes is true for what waiting cures: what the server says it does, and lost connections. Some
// of these look like faults of the server, when a proxy or a dying process breaks a stream off;
// they are not believed for ever.
func (c *contact) passes(ctx context.Context, failure *Error) bool {
	closed := c.client.connection.GetState() == connectivity.Shutdown
	if closed || ctx.Err() != nil || (!c.everMade && time.Now().After(c.giveUp)) {
		return false
	}
	if failure.told || failure.Retryable {
		return failure.Retryable
	}
	switch failure.Code {
	case "CANCELLED", "INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED":
		return c.failures < mostTries
	}
	return false
}

// lost returns nil once it is time to try again, or why not to.
func (c *contact) lost(ctx context.Context, failure *Error) error {
	if !c.passes(ctx, failure) {
		return failure
	}
	if err := c.wait(ctx, failure); err != nil {
		return newError(ctx, err)
	}
	return nil
}
