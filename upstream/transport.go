package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Transport is an [http.RoundTripper] that sends a request to a [Backend]'s
// target with its credential and, if the endpoint answers 401, once more with
// another. It is safe for concurrent use and must not be copied.
//
// Of several backends one is chosen before anything is sent: the first that has a
// credential and was not unreachable a moment ago. The next is taken only if the
// connection to that one cannot be made, when nothing was written yet, and it is
// called with its own credential.
//
// Of the request's URL it reads what lies below the route. "", "/" and "/score"
// mean the scoring address, "/swagger.json" the endpoint's description, and
// anything else is appended, byte for byte, to the folder of the scoring
// address. The query is kept.
//
// Errors wrap [ErrNoCredential], [ErrRejected], [ErrNotReplayable],
// [ErrRequestBody], the context's cause, or are Base's.
type Transport struct {
	// Backends are at least one, in the order in which they are tried.
	Backends []Backend
	// Base sends the requests. Nil means http.DefaultTransport. It should have an
	// ExpectContinueTimeout, or a large body is on its way before the endpoint has
	// looked at the credential.
	Base http.RoundTripper
	// Bases are, at the places of Backends, what sends the requests of those that are
	// called in a way of their own; it may be shorter, and nil elements mean Base.
	Bases []http.RoundTripper
	// ReplayLimit is the size in bytes up to which a body is kept for a second
	// send. 0 keeps none.
	ReplayLimit int64

	outages outages
	memory  memory
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, trace := req.Context(), traceOf(req.Context())
	body, err := hold(req, t.ReplayLimit, &t.memory)
	if err != nil {
		return nil, err
	}
	defer body.release()

	rest := *req.URL // below the route; req may get another one
	for _, at := range t.order() {
		var resp *http.Response
		resp, err = t.call(req, &rest, at, body, trace)
		if ctx.Err() != nil || trace.Retried || !(errors.Is(err, ErrNoCredential) || dialFailed(err)) {
			return resp, err
		}
		t.outages.note(at)
	}
	return nil, err
}

// order returns the backends in the order in which to try them: those that could
// not be reached a moment ago last, and before those the ones that would have to
// wait for a credential.
func (t *Transport) order() []int {
	if len(t.Backends) == 1 {
		return only[:]
	}
	order, ranks := make([]int, len(t.Backends)), make([]int, len(t.Backends))
	for at := range t.Backends {
		order[at], ranks[at] = at, t.rank(at)
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(ranks[a], ranks[b]) })
	return order
}

// only is the order of one.
var only = [1]int{0}

// rank is 0 for a backend that can be called now.
func (t *Transport) rank(at int) int {
	waits := 0
	if b, ok := t.Backends[at].(interface{ Usable() bool }); ok && !b.Usable() {
		waits = 1
	}
	if t.outages.out(at) {
		return 2 + waits
	}
	return waits
}

// call sends req to one backend, and once more if its credential was rejected.
func (t *Transport) call(req *http.Request, rest *url.URL, at int, body *body, trace *Trace) (*http.Response, error) {
	ctx, backend, base := req.Context(), t.Backends[at], t.base(at)
	target, err := backend.Target(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := send(base, req, rest, target, body, trace)
	if err != nil {
		return nil, failed(ctx, backend, target, body, err)
	}
	if resp.StatusCode != http.StatusUnauthorized {
		target.accepted()
		return resp, nil
	}
	discard(resp)

	next, err := backend.Rejected(ctx, target)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, ErrNoReplacement):
		return nil, fmt.Errorf("%w: %w", ErrRejected, err)
	case err != nil:
		return nil, err
	case !body.replayable():
		return nil, ErrNotReplayable
	}
	trace.Retried, trace.Resent = true, time.Now()
	resp, err = send(base, req, rest, next, body, trace)
	if err != nil {
		return nil, failed(ctx, backend, next, body, err)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		discard(resp)
		// Only noted: the Backend replaces no replacement.
		_, _ = backend.Rejected(ctx, next)
		return nil, ErrRejected
	}
	next.accepted()
	return resp, nil
}

// send sends req to target once.
func send(base http.RoundTripper, req *http.Request, rest *url.URL, target Target, body *body, trace *Trace) (*http.Response, error) {
	address, err := target.address(rest)
	if err != nil {
		return nil, err
	}
	out := req
	// Whoever was sent it first may read it still.
	if !trace.Owned || trace.Sends > 0 {
		out = req.WithContext(req.Context()) // a shallow copy
		out.Header = make(http.Header, len(req.Header)+2)
		maps.Copy(out.Header, req.Header)
	}
	out.URL, out.Host = address, address.Host
	setHeader(out.Header, "Authorization", target.authorization())
	setHeader(out.Header, "Azureml-Model-Deployment", target.Deployment)
	if out, err = body.attach(out); err != nil {
		return nil, err
	}
	trace.Sends++
	trace.Kind = target.Kind
	return base.RoundTrip(out)
}

// base returns what sends the requests to one backend.
func (t *Transport) base(at int) http.RoundTripper {
	switch {
	case at < len(t.Bases) && t.Bases[at] != nil:
		return t.Bases[at]
	case t.Base != nil:
		return t.Base
	}
	return http.DefaultTransport
}

// failed explains why no answer came. An endpoint may refuse a credential by
// closing the connection on a body that streams, without an answer that could be
// read: such a failure is looked into like a 401, or it could repeat for ever.
func failed(ctx context.Context, backend Backend, target Target, body *body, err error) error {
	switch {
	case body.sourceErr() != nil:
		return fmt.Errorf("%w: %w", ErrRequestBody, body.sourceErr())
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case target.Kind == None || body.stream == nil || dialFailed(err) || errors.Is(err, ErrNotReplayable):
		return err
	}
	if b, ok := backend.(interface {
		Suspect(context.Context, Target) bool
	}); ok && b.Suspect(ctx, target) {
		return fmt.Errorf("%w: %w", ErrNotReplayable, err)
	}
	return err
}

// authorization returns the header's value, empty for none.
func (t Target) authorization() string {
	if t.Kind == None {
		return ""
	}
	return "Bearer " + t.Credential.Reveal()
}

// setHeader sets a header of ours or, when value is empty, makes sure that none
// is sent. The key is in canonical form.
func setHeader(h http.Header, key, value string) {
	if value == "" {
		delete(h, key)
		return
	}
	h[key] = []string{value}
}

// address returns where a request for rest, the URL below the route, goes.
func (t Target) address(rest *url.URL) (*url.URL, error) {
	var u url.URL
	switch path := rest.EscapedPath(); {
	case path == "" || path == "/" || path == "/score":
		u = *t.Scoring
	case path == "/swagger.json" && t.Description != nil && sameOrigin(t.Description, t.Scoring):
		u = *t.Description
	default:
		full := folder(t.Scoring) + strings.TrimPrefix(path, "/")
		decoded, err := url.PathUnescape(full)
		if err != nil {
			return nil, fmt.Errorf("path below the route: %w", err)
		}
		u = *t.Scoring
		u.Path, u.RawPath = decoded, full
	}
	u.RawQuery, u.ForceQuery = rest.RawQuery, rest.ForceQuery
	return &u, nil
}

// folder returns the path of u up to and with its last slash.
func folder(u *url.URL) string {
	path := u.EscapedPath()
	if path == "" {
		return "/"
	}
	return path[:strings.LastIndexByte(path, '/')+1]
}

func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// discard gives a connection back for reuse, if little is left to read on it. It
// does not wait for that: a body may take as long as the request's context lets it.
func discard(resp *http.Response) {
	go func() {
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
		_ = resp.Body.Close()
	}()
}
