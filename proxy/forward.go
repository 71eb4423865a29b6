package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"amlproxy/authn"
	"amlproxy/upstream"
)

// forward sends the request of x to its route's Transport and passes the answer
// on. It returns a refusal if there is no answer.
func (x *exchange) forward() *refusal {
	rt := x.route
	var body io.ReadCloser
	if x.in != nil {
		x.in.forward()
		body = x.in
		if x.r.ContentLength < 0 { // else it is known to be small enough
			// The unwrapped ResponseWriter: net/http closes the connection through it.
			body = http.MaxBytesReader(x.w.ResponseWriter, x.in, rt.maxBody)
		}
	}
	x.clock = &x.room.clock
	x.room.scope = scope{x.clock.start(x.r.Context(), x, body), x}
	defer x.clock.end()
	in := x.r.WithContext(&x.room.scope)
	// outbound reads the caller's header, and ReverseProxy need not copy it first. A
	// caller's trailer is merged into headers by some servers.
	in.Header, in.Trailer = nil, nil
	if body != nil {
		in.Body = x.clock
	}
	x.trace.Owned = true
	defer x.p.ongoing.remove(&x.room.party) // also when ReverseProxy breaks the answer off, by a panic
	rt.proxy.ServeHTTP(x.w, in)
	x.clock.end()
	switch late := x.clock.cause(); {
	case x.record.Upgraded:
		x.record.Err = late
	case late != nil && x.failure == nil:
		abort() // at the last moment: the deadline would cut the next answer on this connection
	}
	return x.failure
}

// newReverseProxy returns what forwards the requests of one route. Its functions
// find the exchange in the request's context.
func (p *Proxy) newReverseProxy(transport http.RoundTripper) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      answered{transport},
		ModifyResponse: modifyResponse,
		ErrorHandler:   func(_ http.ResponseWriter, r *http.Request, err error) { exchangeOf(r.Context()).fail(err) },
		BufferPool:     &p.buffers,
		// What it has to say is in the Record; its own words would go to the global
		// logger.
		ErrorLog: log.New(io.Discard, "", 0),
	}
}

// answered makes sure that an answer says what it answers, as modifyResponse must
// know; an http.RoundTripper need not.
type answered struct{ http.RoundTripper }

func (a answered) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := a.RoundTripper.RoundTrip(r)
	if res != nil {
		res.Request = r
	}
	return res, err
}

// rewrite makes the request that the Transport gets; see outbound.
func rewrite(pr *httputil.ProxyRequest) {
	x := exchangeOf(pr.In.Context())
	x.address(pr.Out.URL)
	pr.Out.Host = ""
	pr.Out.Header = x.outbound()
}

// address makes of u what lies below the route, which is what the Transport wants.
// The bytes are the caller's: where they and net/url's own encoding differ, RawPath
// holds them, and what EscapedPath returns is x.rest in any case.
func (x *exchange) address(u *url.URL) {
	path, err := url.PathUnescape(x.rest)
	if err != nil { // checkPath let only whole encodings pass
		path = x.rest
	}
	*u = url.URL{
		Scheme: "http", Host: "upstream", Path: path, RawPath: x.rest,
		RawQuery: x.target.query, ForceQuery: x.target.mark && x.target.query == "",
	}
}

// modifyResponse looks at the upstream's answer before it is passed on.
func modifyResponse(res *http.Response) error {
	x := exchangeOf(res.Request.Context())
	if !x.clock.began() {
		return x.clock.cause()
	}
	x.record.Began = time.Since(x.record.Start)
	x.record.UpstreamStatus = res.StatusCode
	x.record.UpstreamRequestID = cut(cmp.Or(first(res.Header["X-Ms-Request-Id"]), first(res.Header["X-Request-Id"])), 100)
	if err := checkStatus(res); err != nil {
		return err
	}
	scrubAnswer(res.Header)
	scrubTrailer(res.Trailer)
	if res.StatusCode == http.StatusSwitchingProtocols {
		// ReverseProxy writes this one to the connection itself.
		x.record.Status, x.record.Upgraded = res.StatusCode, true
		x.w.addAlways(res.Header)
		x.clock.enter(res, x.route.idle, x.expires(true))
		x.count(&x.route.load.websockets)
	} else {
		x.w.take(res, x.route.public)
		harden(x.w.Header(), x.route.public)
		x.clock.watch(res, x.route.idle, x.expires(false))
		if res.ContentLength < 0 {
			x.count(&x.route.load.streams)
		}
	}
	x.room.party = party{clock: x.clock, route: x.route, id: x.record.Identity}
	x.p.ongoing.add(&x.room.party, x.p.table.Load)
	return nil
}

// expires returns when an answer ends at the latest, zero for never: with the
// identity. One to a request that a bearer token let in may outlast the token for
// as long as the route may take to begin, since callers use a token to its end; a
// WebSocket, in which there is always another request, may not.
func (x *exchange) expires(tunnel bool) time.Time {
	id := x.record.Identity
	switch {
	case id == nil || id.Expires.IsZero():
		return time.Time{}
	case id.Method == authn.ByBearer && !tunnel:
		return id.Expires.Add(x.route.timeout)
	}
	return id.Expires
}

// checkStatus refuses what must not be passed on: a status that says that the
// *proxy's* credential was not good enough would send the caller into a login
// loop; a protocol that nobody asked for would be a raw tunnel; and anything else
// below 200 is no answer.
func checkStatus(res *http.Response) error {
	switch status := res.StatusCode; {
	case status == http.StatusUnauthorized || status == http.StatusProxyAuthRequired:
		return fmt.Errorf("%w: it answered %d", upstream.ErrRejected, status)
	case status == http.StatusSwitchingProtocols && opensWebSocket(res.Request.Header) && opensWebSocket(res.Header):
		return nil
	case status < 200:
		return fmt.Errorf("the upstream answered with status %d", status)
	}
	return nil
}

// harden keeps a model's answer what it is: data. Opened as a page, it would be
// one of this origin, with everybody's session. A policy of the model's own takes
// nothing away: a page must meet all there are (Content Security Policy Level 3
// section 3.1).
func harden(h http.Header, public bool) {
	h["X-Content-Type-Options"] = noSniff
	h["Content-Security-Policy"] = join(h["Content-Security-Policy"], sandbox)
	if !public {
		keepPrivate(h)
	}
}

// fail notes what became of a request that has no answer; forward returns it.
func (x *exchange) fail(err error) {
	if late := x.clock.cause(); late != nil {
		err = late
	} else if x.r.Context().Err() != nil {
		x.leave(errors.Join(errClientGone, err))
	}
	x.failure = upstreamRefusal(x.route, err)
}

// buffers lends ReverseProxy the memory through which it copies answers.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get returns a buffer.
func (b *buffers) Get() []byte {
	if kept, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return kept[:]
	}
	return make([]byte, bufferSize)
}

// Put takes one back.
func (b *buffers) Put(p []byte) {
	if len(p) == bufferSize {
		b.pool.Put((*[bufferSize]byte)(p))
	}
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func cut(s string, most int) string { return s[:min(len(s), most)] }
