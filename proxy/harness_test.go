package proxy_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/internal/secret"
	"amlproxy/proxy"
	"amlproxy/upstream"
)

const credential = "the-key-of-the-model"

// A recorder is an upstream that writes down every byte of every request.
type recorder struct {
	listener net.Listener
	mu       sync.Mutex
	heads    []string // request line and fields, as they came
	bodies   []string
	trailers []http.Header
	answer   string
}

func record(t *testing.T, answer string) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &recorder{listener: l, answer: answer}
	if answer == "" {
		u.answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { u.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); open.Wait() })
	return u
}

func (u *recorder) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	var raw bytes.Buffer
	r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, &raw)))
	if err != nil {
		return
	}
	body, _ := io.ReadAll(r.Body)
	head, _, _ := strings.Cut(raw.String(), "\r\n\r\n")
	u.mu.Lock()
	u.heads, u.bodies, u.trailers = append(u.heads, head), append(u.bodies, string(body)), append(u.trailers, r.Trailer)
	u.mu.Unlock()
	_, _ = io.WriteString(c, u.answer)
}

func (u *recorder) url() string {
	return "http://" + u.listener.Addr().String() + "/api/v1/service/x/score"
}

// last returns the one request that came since the last call, or "".
func (u *recorder) last(t *testing.T) (head, body string) {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	heads, bodies := u.heads, u.bodies
	u.heads, u.bodies = nil, nil
	switch len(heads) {
	case 0:
		return "", ""
	case 1:
		return heads[0], bodies[0]
	}
	t.Fatalf("the upstream got %d requests, want one: %q", len(heads), heads)
	return "", ""
}

// fields returns the values of name in a raw head, whatever its spelling.
func fields(head, name string) []string {
	var all []string
	for line := range strings.SplitSeq(head, "\r\n") {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.EqualFold(strings.NewReplacer("_", "-", ".", "-").Replace(key), name) {
			all = append(all, strings.TrimSpace(value))
		}
	}
	return all
}

// to returns a Transport as a real route has one.
func to(t testing.TB, address string) http.RoundTripper {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	// A recorder hangs up after each answer, and a request on a connection that is
	// being closed is not repeated: so none is kept.
	return through(t, u, &http.Transport{MaxIdleConnsPerHost: -1})
}

func through(t testing.TB, u *url.URL, base *http.Transport) http.RoundTripper {
	t.Helper()
	backend := upstream.Cached(upstream.Static(upstream.Lease{Scoring: u, Kind: upstream.Key, Primary: secret.New(credential)}), nil)
	t.Cleanup(func() { _ = backend.Close() })
	base.Protocols = new(http.Protocols)
	base.Protocols.SetHTTP1(true)
	t.Cleanup(base.CloseIdleConnections)
	return &upstream.Transport{Backends: []upstream.Backend{backend}, Base: base, ReplayLimit: 1 << 20}
}

// people are the identities that the door knows.
var people = map[string]*authn.Identity{
	"alice": {Issuer: "https://idp", Subject: "a1", Name: "Alice", Email: "alice@Example.com", EmailVerified: true, Groups: []string{"ml-users", "ml-admins"}, Roles: []string{"scorer"}, Expires: time.Now().Add(time.Hour)},
	"bob":   {Issuer: "https://idp", Subject: "b1", Email: "bob@example.com", Groups: []string{"ml-users"}, Claims: map[string][]string{"department": {"sales"}}},
	"eve":   {Issuer: "https://idp", Subject: "e1", Email: "eve@evil.example@example.com", EmailVerified: true},
	"batch": {Issuer: "https://idp", Subject: "job", Client: "batch-job", Scopes: []string{"score"}},
}

// door is an Authenticator: "Authorization: Bearer NAME" or "Cookie: amlproxy=NAME".
type door struct{}

func (door) Authenticate(answer http.Header, r *http.Request) (*authn.Identity, error) {
	if all := r.Header["Authorization"]; len(all) > 0 {
		name, ok := strings.CutPrefix(all[0], "Bearer ")
		switch {
		case len(all) > 1:
			return nil, &authn.Error{Kind: authn.ErrInvalid, Malformed: true, Bearer: true, Detail: "more than one Authorization field"}
		case !ok:
			return nil, &authn.Error{Kind: authn.ErrNone}
		case name == "provider-down":
			return nil, &authn.Error{Kind: authn.ErrUnavailable, Err: fmt.Errorf("no keys: %w", io.ErrUnexpectedEOF)}
		case name == "other-tenant":
			return nil, &authn.Error{Kind: authn.ErrForbidden, Bearer: true, Detail: "this tenant is not let in"}
		case name == "strange":
			return nil, io.ErrUnexpectedEOF
		case name == "nobody":
			return nil, nil
		case people[name] == nil:
			return nil, &authn.Error{Kind: authn.ErrInvalid, Bearer: true, Detail: `the token "has" expired`}
		}
		id := *people[name]
		id.Method = authn.ByBearer
		return &id, nil
	}
	c, err := r.Cookie("amlproxy")
	if err != nil {
		return nil, &authn.Error{Kind: authn.ErrNone}
	}
	if people[c.Value] == nil {
		return nil, &authn.Error{Kind: authn.ErrInvalid, Err: io.ErrUnexpectedEOF}
	}
	answer.Add("Set-Cookie", "amlproxy=renewed")
	id := *people[c.Value]
	id.Method, id.Session = authn.BySession, "s-"+c.Value
	return &id, nil
}

// gate is a Login that says what it was asked.
type gate struct{ err error }

func (g gate) Start(w http.ResponseWriter, r *http.Request) error    { return g.did(w, r, "start") }
func (g gate) Callback(w http.ResponseWriter, r *http.Request) error { return g.did(w, r, "callback") }

func (g gate) SignOut(w http.ResponseWriter, r *http.Request) error { return g.did(w, r, "sign-out") }

func (g gate) BackchannelLogout(w http.ResponseWriter, r *http.Request) error {
	return g.did(w, r, "back-channel")
}

func (g gate) SignedOut(answer http.Header, _ *http.Request, state string) string {
	answer.Add("Set-Cookie", "leaving=")
	return "/after/" + state
}

func (g gate) Clear(answer http.Header, r *http.Request) {
	if c, err := r.Cookie("amlproxy"); err == nil && people[c.Value] == nil {
		answer.Add("Set-Cookie", "amlproxy=; Max-Age=0")
	}
}

func (g gate) did(w http.ResponseWriter, r *http.Request, what string) error {
	if g.err != nil {
		return g.err
	}
	_, err := fmt.Fprintf(w, "%s rd=%s", what, r.URL.Query().Get("rd"))
	return err
}

// A house is a running proxy with its records.
type house struct {
	*httptest.Server
	mu      sync.Mutex
	records []proxy.Record
	news    chan struct{}
}

const publicURL = "https://models.example.com"

func open(t *testing.T, c proxy.Config) *house {
	t.Helper()
	h := build(t, c)
	h.Start()
	return h
}

// build is open without Start.
func build(t testing.TB, c proxy.Config) *house {
	t.Helper()
	h := &house{news: make(chan struct{}, 1)}
	if c.Authenticator == nil {
		c.Authenticator = door{}
	}
	if c.PublicURL == nil {
		c.PublicURL, _ = url.Parse(publicURL)
	}
	c.Record = func(r *proxy.Record) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.records = append(h.records, *r)
		select {
		case h.news <- struct{}{}:
		default:
		}
	}
	p, err := proxy.New(c)
	if err != nil {
		t.Fatal(err)
	}
	h.Server = httptest.NewUnstartedServer(p)
	t.Cleanup(func() {
		if h.URL != "" { // it was started
			h.Close()
		}
	})
	return h
}

// record returns the Record of the oldest request whose Record was not looked at.
func (h *house) record(t testing.TB) proxy.Record {
	t.Helper()
	r, ok := h.next()
	if !ok {
		t.Fatal("no record")
	}
	return r
}

// next waits for that Record.
func (h *house) next() (proxy.Record, bool) {
	deadline := time.After(10 * time.Second)
	for {
		if r, ok := h.pending(); ok {
			return r, true
		}
		select {
		case <-h.news:
		case <-deadline:
			return proxy.Record{}, false
		}
	}
}

// pending returns it if it is there.
func (h *house) pending() (proxy.Record, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.records) == 0 {
		return proxy.Record{}, false
	}
	r := h.records[0]
	h.records = h.records[1:]
	return r, true
}

// An answer is a response that was read to its end.
type answer struct {
	*http.Response
	status int
	body   string
	err    error // of reading the body
}

func (a answer) problem(t *testing.T) map[string]any {
	t.Helper()
	var p map[string]any
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("%d %s is no JSON: %q", a.status, a.Header.Get("Content-Type"), a.body)
	}
	return p
}

// ask sends a request; fields are "Name: value" and may repeat a name.
func (h *house) ask(t *testing.T, method, target, body string, fields ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, h.URL+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		if name == "Host" {
			r.Host = value
		} else {
			r.Header.Add(name, value)
		}
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(res.Body)
	return answer{res, res.StatusCode, string(got), err}
}

// raw sends bytes and returns the status of the first answer, 0 if there was none.
func (h *house) raw(t *testing.T, request string) int {
	t.Helper()
	c, err := net.Dial("tcp", h.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// kinds is one route of each kind, each under /models/NAME and with what lets a
// caller in; every attack is tried on all of them.
func kinds(transport http.RoundTripper) (routes []proxy.Route, pass map[string]string) {
	routes = []proxy.Route{
		{Name: "public", Public: true},
		{Name: "signed-in"},
		{Name: "grouped", Access: &proxy.Access{Any: proxy.Rules{Groups: []string{"ml-users"}}}},
		{Name: "bearer", Access: &proxy.Access{All: proxy.Rules{Scopes: []string{"score"}}}},
		{Name: "told", IdentityHeaders: []string{"user", "email", "groups"}},
		{Name: "shared", CORS: &proxy.CORS{Origins: []string{"https://app.example.com"}, Credentials: true}},
	}
	for i := range routes {
		routes[i].Paths, routes[i].Transport = []string{"*"}, transport
	}
	pass = map[string]string{
		"public": "X-Nothing: 1", "signed-in": "Cookie: amlproxy=eve", "grouped": "Cookie: amlproxy=bob", "bearer": "Authorization: Bearer batch",
		"told": "Cookie: amlproxy=alice", "shared": "Cookie: amlproxy=alice",
	}
	return routes, pass
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
