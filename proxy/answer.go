package proxy

import (
	"encoding/json"
	"net/http"
	"strings"
)

// An answer is the caller's ResponseWriter: it adds the fields that every answer
// carries, whoever writes it, and remembers what was sent. Everything else that a
// ResponseWriter can do is found through Unwrap.
type answer struct {
	http.ResponseWriter
	// What is set over the header at the last moment. Adding it earlier would not do:
	// ReverseProxy empties the header after each 1xx answer.
	id     []string // X-Request-Id
	cors   *cors    // which pages may read it
	r      *http.Request
	always http.Header // and whatever else

	in     *intake // the request's body, nil for none
	old    bool    // the caller speaks HTTP/1.0, which has no 1xx
	status int     // 0: nothing was sent yet
	bytes  int64
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// take makes what may pass of the upstream's fields those of this one, as they are;
// ReverseProxy would copy them one by one. Of those that it leaves it looks at the
// media type alone, and only a stream of events means anything to it.
func (a *answer) take(res *http.Response, public bool) {
	h := a.Header()
	for name, values := range res.Header {
		if !removedAnswer(name) && (public || !forCaches(name)) {
			h[name] = values
		}
	}
	res.Header = nil
	if kind := h["Content-Type"]; len(kind) > 0 && strings.Contains(strings.ToLower(kind[0]), "event-stream") {
		delete(h, "Content-Type")
		res.Header = http.Header{"Content-Type": kind}
	}
}

// WriteHeader sends a 1xx answer of the upstream, or begins the answer. A 100 is
// none for the caller: upstream asked for it, to learn whether a large body is
// wanted, and a caller who did not takes it for the answer to his next request, as
// nginx before us does, and hangs (RFC 9110 section 15.2). One who did is told by
// net/http as soon as his body is read.
func (a *answer) WriteHeader(code int) {
	switch {
	case code == http.StatusContinue, code < 200 && a.old:
		return
	case code >= 100 && code < 200:
		scrubAnswer(a.Header())
	case a.status == 0:
		a.status = code
		a.addAlways(a.Header())
		a.in.settle(a.Header())
	}
	a.ResponseWriter.WriteHeader(code)
}

// Write sends a part of the body.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	return n, err
}

func (a *answer) addAlways(h http.Header) {
	a.cors.addTo(h, a.r)
	h["X-Request-Id"] = a.id
	for name, values := range a.always {
		if name == "Vary" || name == "Set-Cookie" {
			h[name] = join(h[name], values)
		} else {
			h[name] = values
		}
	}
	if len(h["Set-Cookie"]) > 0 {
		// Every cookie is the proxy's own: a cache must not hand out a session
		// (RFC 9111 section 7.3).
		h.Set("Cache-Control", "no-store")
	}
}

// Media types of the proxy's own answers.
const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
	typeHTML    = "text/html; charset=utf-8"
)

// write sends an answer of the proxy's own. None is kept by a cache, and none is
// taken by a browser for something else than it is.
func (x *exchange) write(status int, contentType string, body []byte) {
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if strings.HasPrefix(contentType, "text/html") {
		h.Set("Content-Security-Policy", x.p.pages.policy)
		h.Set("X-Frame-Options", "DENY") // for browsers without frame-ancestors
	} else {
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	}
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(body) // a caller that left is seen by the Record
	}
}

func (x *exchange) writeJSON(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		x.refuse(&refusal{status: http.StatusInternalServerError, problem: "internal", title: "Something went wrong here", err: err})
		return
	}
	x.write(status, typeJSON, body)
}
