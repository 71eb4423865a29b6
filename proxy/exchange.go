package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"amlproxy/upstream"
)

// statusClientGone is what a Record says of a caller that left before the answer.
const statusClientGone = 499

// An exchange is one request on its way through ServeHTTP, with what was found
// out about it. It belongs to the request's goroutine, but for the fields of the
// clock (clock.go).
type exchange struct {
	p      *Proxy
	w      *answer
	r      *http.Request
	in     *intake // nil: the request has no body
	target target
	route  *route
	rest   string // of the path, below the route's
	caller caller
	record Record
	values values // of fields that x sets

	counted [2]*atomic.Int64 // of its route, that x is in
	follows bool             // the caller's trace goes on
	traced  func(*Record)    // ends the span of x; nil: there is none

	trace   upstream.Trace
	clock   *clock
	failure *refusal // what ReverseProxy's ErrorHandler was told

	// What w, in and clock point to, and others, in one piece of memory with x.
	room struct {
		answer answer
		intake intake
		clock  clock
		party  party
		scope  scope
	}
}

// A scope is the context of what is done for an exchange: the functions of
// ReverseProxy find it there, and the Transport what to fill.
type scope struct {
	context.Context //nolint:containedctx // it is one
	x               *exchange
}

type exchangeKey struct{}

// Value implements [context.Context].
func (s *scope) Value(key any) any {
	switch key {
	case exchangeKey{}:
		return s.x
	case upstream.TraceKey{}:
		return &s.x.trace
	}
	return s.Context.Value(key)
}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

func (p *Proxy) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{p: p, r: r}
	x.w = &x.room.answer
	x.w.ResponseWriter, x.w.r, x.w.always, x.w.old = w, r, make(http.Header), !r.ProtoAtLeast(1, 1)
	if hasBody(r) {
		x.in = &x.room.intake
		x.in.begin(w, r, p.readTimeout)
		x.w.in = x.in
	}
	x.caller = callerOf(r, p.trusted, p.publicURL)
	path, _, _ := strings.Cut(r.RequestURI, "?")
	x.record = Record{
		Start:     time.Now(),
		RequestID: p.requestID(r),
		Method:    r.Method,
		Path:      path,
		Host:      r.Host,
		Proto:     r.Proto,
		UserAgent: first(r.Header["User-Agent"]),
		Address:   x.caller.address,
	}
	x.w.id = x.values.of(x.record.RequestID)
	if !certain(r) {
		x.w.always.Set("Connection", "close")
	}
	return x
}

// end makes the Record. It is deferred, because ReverseProxy breaks off an answer
// with a panic that net/http understands (http.ErrAbortHandler), and such a request
// must be recorded like any other. Any other panic is a mistake of ours: the
// caller gets a refusal if nothing was sent yet, and a broken answer otherwise,
// never one that looks whole.
func (x *exchange) end() {
	caught := recover()
	if caught != nil && caught != http.ErrAbortHandler { //nolint:errorlint // a panic's value, not an error
		x.record.Err = fmt.Errorf("panic: %v\n%s", caught, debug.Stack())
		if x.w.status == 0 {
			caught = nil
			x.refuse(&refusal{status: http.StatusInternalServerError, problem: "internal", title: "Something went wrong here", detail: "The proxy made a mistake, and has written down which.", err: x.record.Err})
		}
	}
	x.in.end()
	x.depart()
	x.finish(caught != nil)
	if x.traced != nil {
		x.traced(&x.record)
	}
	x.p.record(&x.record)
	if caught != nil {
		abort()
	}
}

func (x *exchange) finish(aborted bool) {
	rec := &x.record
	rec.Duration = time.Since(rec.Start)
	if rec.Status == 0 {
		rec.Status = x.w.status
	}
	if rec.Status == 0 {
		rec.Status = http.StatusOK // what net/http sends for a handler that wrote nothing
	}
	rec.ResponseBytes = x.w.bytes
	rec.Aborted = aborted && x.w.status != 0
	if x.clock != nil {
		rec.RequestBytes = x.clock.taken.Load()
		if rec.Aborted && rec.Err == nil {
			rec.Err = x.clock.why()
		}
	}
	rec.Sends, rec.Retried, rec.Kind = x.trace.Sends, x.trace.Retried, x.trace.Kind
	if rec.Retried {
		rec.Resent = x.trace.Resent.Sub(rec.Start)
	}
}

// leave ends a request whose caller is gone: nothing is written, and the
// connection is closed, so that a half-closed one does not see an empty 200.
func (x *exchange) leave(err error) {
	x.record.Status = statusClientGone
	x.record.Err = err
	abort()
}

// abort breaks the answer off, so that no caller takes it for whole.
func abort() {
	panic(http.ErrAbortHandler) //nolint:forbidigo // what net/http knows for this; end is deferred for it
}

var errClientGone = errors.New("the caller left")

// requestID returns the caller's X-Request-Id, or a new one. Azure ML refuses
// ids of over 100 characters with 431, and a log must not be written by a caller.
func (p *Proxy) requestID(r *http.Request) string {
	if ids := r.Header["X-Request-Id"]; len(ids) == 1 && len(ids[0]) <= 100 && ids[0] != "" &&
		!strings.ContainsFunc(ids[0], func(c rune) bool { return c > '~' || !isAlnum(byte(c)) && !strings.ContainsRune("-._~:/+=@|", c) }) {
		return ids[0]
	}
	return p.chance.text()
}
