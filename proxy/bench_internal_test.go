package proxy

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/internal/secret"
	"amlproxy/upstream"
)

// A path is all that a request passes: the benchmarks measure it whole and step by
// step. What net/http does at both ends is left out.
type path struct {
	proxy  *Proxy
	writer writer
	body   []byte
}

// The caller is always the same one.
type always struct{ id *authn.Identity }

func (a always) Authenticate(http.Header, *http.Request) (*authn.Identity, error) { return a.id, nil }

// A writer is the caller's end, without a connection.
type writer struct{ header http.Header }

func (w *writer) Header() http.Header              { return w.header }
func (w *writer) Write(p []byte) (int, error)      { return len(p), nil }
func (w *writer) WriteHeader(int)                  {}
func (w *writer) SetReadDeadline(time.Time) error  { return nil }
func (w *writer) SetWriteDeadline(time.Time) error { return nil }

// A model answers as a model does.
type model struct{}

func (model) RoundTrip(r *http.Request) (*http.Response, error) {
	_, err := io.Copy(io.Discard, r.Body)
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, ContentLength: 1 << 10,
		Header: http.Header{
			"Content-Type": {"application/json"}, "Content-Length": {"1024"}, "Date": {"Mon, 02 Jan 2006 15:04:05 GMT"},
			"X-Ms-Request-Id": {"c7b1d3b0"}, "X-Ms-Run-Function-Failed": {"False"},
		},
		Body: io.NopCloser(bytes.NewReader(make([]byte, 1<<10))),
	}, err
}

func newPath(tb testing.TB) *path {
	tb.Helper()
	scoring, err := url.Parse("http://127.0.0.1:5001/score")
	if err != nil {
		tb.Fatal(err)
	}
	backend := upstream.Cached(upstream.Static(upstream.Lease{Scoring: scoring, Kind: upstream.Key, Primary: secret.New("the-key-of-the-model")}), nil)
	tb.Cleanup(func() { _ = backend.Close() })
	public := &url.URL{Scheme: "https", Host: "models.example.com"}
	id := &authn.Identity{Issuer: "https://idp.example", Subject: "alice", Method: authn.ByBearer, Groups: []string{"ml-users", "staff"}, Expires: time.Now().Add(time.Hour)}
	p, err := New(Config{
		Authenticator: always{id}, PublicURL: public, Record: func(*Record) {},
		Routes: []Route{{
			Name: "model", Access: &Access{Any: Rules{Groups: []string{"ml-users"}}},
			CORS:          &CORS{Origins: []string{"https://app.example.com"}},
			RateLimit:     &RateLimit{Requests: 1e9, Per: time.Second},
			MaxConcurrent: 100,
			Transport:     &upstream.Transport{Backends: []upstream.Backend{backend}, Base: model{}, ReplayLimit: 1 << 20},
		}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return &path{proxy: p, writer: writer{header: http.Header{}}, body: bytes.Repeat([]byte("1"), 1<<10)}
}

// request returns one as net/http hands it over.
func (p *path) request() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/models/model", bytes.NewReader(p.body))
	r.RequestURI, r.Host, r.RemoteAddr = "/models/model", "models.example.com", "192.0.2.7:4711"
	r.URL.Scheme, r.URL.Host = "", ""
	r.Header = http.Header{
		"User-Agent": {"bench"}, "Accept": {"application/json"}, "Content-Type": {"application/json"},
		"Content-Length": {"1024"}, "Authorization": {"Bearer token"},
	}
	return r
}

// BenchmarkServe is the whole path, from the caller's request to the last byte of
// the answer.
func BenchmarkServe(b *testing.B) {
	p := newPath(b)
	r := p.request()
	b.ReportAllocs()
	for b.Loop() {
		clear(p.writer.header)
		r.Body = io.NopCloser(bytes.NewReader(p.body))
		p.proxy.ServeHTTP(&p.writer, r)
	}
}

func BenchmarkStep(b *testing.B) {
	p := newPath(b)
	r := p.request()
	x := p.proxy.begin(&p.writer, r)
	x.target, _ = readTarget(r)
	x.route, x.rest = p.proxy.table.Load().find(x.caller.asked, x.target.path)
	x.record.Identity, _ = p.proxy.authenticator.Authenticate(nil, r)
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"begin", func() { p.proxy.begin(&p.writer, r) }},
		{"trace", x.follow},
		{"target", func() { _, _ = readTarget(r) }},
		{"route", func() { p.proxy.table.Load().find(x.caller.asked, x.target.path) }},
		{"cors", func() { x.route.cors.addTo(http.Header{}, r) }},
		{"access", func() { x.route.access.allows(x.record.Identity) }},
		{"limits", func() {
			x.route.limits.take(r.Context(), x.record.Identity, x.caller.address)
			x.route.limits.enter()
			x.route.limits.leave()
		}},
		{"the header of the request", func() { x.values = values{}; x.outbound() }},
		{"harden the answer", func() { harden(http.Header{"Content-Type": {"application/json"}}, false) }},
	} {
		b.Run(step.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				step.do()
			}
		})
	}
}
