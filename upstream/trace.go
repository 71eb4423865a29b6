package upstream

import (
	"context"
	"time"
)

// A Trace is filled by [Transport] while it sends a request, for the record that
// is kept of it. Read it after RoundTrip has returned.
type Trace struct {
	// Owned is set by the caller: the request is the Transport's, which then changes
	// it instead of a copy. Others may read it once RoundTrip has returned, and show
	// nobody its header, in which the credential is.
	Owned bool

	Sends   int       // how many times the request was sent: 0, 1 or 2
	Kind    Kind      // of the credential it was last sent with
	Retried bool      // whether a 401 led to a second send
	Resent  time.Time // when it did; zero if it did not
}

// TraceKey is what a context has a *Trace under that [Transport] is to fill.
type TraceKey struct{}

// WithTrace returns a context that makes Transport fill t.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, TraceKey{}, t)
}

func traceOf(ctx context.Context) *Trace {
	if t, ok := ctx.Value(TraceKey{}).(*Trace); ok {
		return t
	}
	return &Trace{}
}
