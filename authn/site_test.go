package authn_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
	"amlproxy/internal/secret"
)

const audience = "api://models"

// A site is a provider and a relying party on sockets: what package proxy makes
// of authn, without what it adds.
type site struct {
	provider *authntest.Provider
	server   *httptest.Server
	url      string
	bearer   *authn.Bearer
	sessions *authn.Sessions
	login    *authn.Login

	mu     sync.Mutex
	failed []error
}

type siteOptions struct {
	plain    bool // http, not https
	provider func(*authntest.Options)
	login    func(*authn.LoginConfig)
	sessions func(*authn.SessionsConfig)
}

func newSecret() secret.Value {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return secret.New(string(b))
}

func newSite(t testing.TB, o siteOptions) *site {
	t.Helper()
	s := new(site)
	s.server = httptest.NewUnstartedServer(s)
	if o.plain {
		s.server.Start()
	} else {
		s.server.StartTLS()
	}
	t.Cleanup(s.server.Close)
	s.url = s.server.URL
	s.provider = startProvider(t, s.url, o.provider)
	issuer := authn.Issuer{URL: s.provider.Issuer(), Audiences: []string{audience}}

	sessions := authn.SessionsConfig{
		Secrets: []secret.Value{newSecret()}, Secure: !o.plain,
		Idle: time.Hour, Max: 12 * time.Hour, Refresh: 15 * time.Minute,
	}
	if o.sessions != nil {
		o.sessions(&sessions)
	}
	s.sessions = must(authn.NewSessions(sessions))(t)
	public := must(url.Parse(s.url))(t)
	login := authn.LoginConfig{
		Issuer: issuer, ClientID: "web", ClientSecret: secret.New("web-secret"),
		Scopes: []string{"openid", "profile", "email"}, PublicURL: public, Sessions: s.sessions,
		ReturnOrigins: []string{"https://app.example.com"},
	}
	if o.login != nil {
		o.login(&login)
	}
	s.login = must(authn.NewLogin(login))(t)
	s.bearer = must(authn.NewBearer(authn.BearerConfig{Issuers: []authn.Issuer{issuer}, ClientID: "web"}))(t)
	return s
}

func startProvider(t testing.TB, party string, alter func(*authntest.Options)) *authntest.Provider {
	t.Helper()
	o := authntest.Options{
		Users: []authntest.User{
			{
				Name: "alice", Password: "pw", FullName: "Alice Liddell", Email: "alice@example.com", EmailVerified: true,
				Groups: []string{"ml-users", "ml-admins"}, Roles: []string{"Reader"},
			},
			{Name: "bob", Password: "pw", Email: "bob@example.com", Groups: []string{"ml-users"}},
		},
		Clients: []authntest.Client{
			{
				ID: "web", Secret: "web-secret", RedirectURIs: []string{party + "/oauth2/callback"},
				PostLogoutURIs: []string{party + "/oauth2/sign_in"},
			},
			{ID: "public", RedirectURIs: []string{party + "/oauth2/callback"}},
			{ID: "batch-job", Secret: "batch-secret", ServiceAccount: true, Groups: []string{"ml-users"}},
		},
		Audiences: []string{audience},
	}
	if alter != nil {
		alter(&o)
	}
	p, err := authntest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// ServeHTTP serves the login's endpoints; anything else answers who is calling.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var err error
	switch r.URL.Path {
	case "/oauth2/start":
		err = s.login.Start(w, r)
	case "/oauth2/callback":
		err = s.login.Callback(w, r)
	case "/oauth2/sign_out":
		err = s.login.SignOut(w, r)
	case "/oauth2/sign_in":
		s.login.Clear(w.Header(), r)
		back := s.login.SignedOut(w.Header(), r, r.URL.Query().Get("state"))
		_, _ = io.WriteString(w, "signed out; on to "+back)
	default:
		var id *authn.Identity
		if id, err = authn.FirstOf(s.bearer, s.sessions).Authenticate(w.Header(), r); err == nil {
			err = json.NewEncoder(w).Encode(id)
		}
	}
	if err != nil {
		s.mu.Lock()
		s.failed = append(s.failed, err)
		s.mu.Unlock()
		http.Error(w, err.Error(), status(err))
	}
}

// lastFailure returns the error that the site answered with most recently.
func (s *site) lastFailure(t testing.TB) error {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failed) == 0 {
		t.Fatal("nothing failed")
	}
	return s.failed[len(s.failed)-1]
}

func status(err error) int {
	var e *authn.Error
	switch {
	case errors.As(err, &e) && e.Malformed:
		return http.StatusBadRequest
	case errors.Is(err, authn.ErrForbidden):
		return http.StatusForbidden
	case errors.Is(err, authn.ErrUnavailable):
		return http.StatusServiceUnavailable
	}
	return http.StatusUnauthorized
}

// browser returns a client with a cookie jar that trusts the site.
func (s *site) browser(t testing.TB) *http.Client {
	t.Helper()
	jar := must(cookiejar.New(nil))(t)
	return &http.Client{Jar: jar, Transport: s.server.Client().Transport}
}

// signIn signs a user in and returns the last answer.
func (s *site) signIn(t testing.TB, browser *http.Client, user, rd string) *http.Response {
	t.Helper()
	answer, err := authntest.SignIn(t.Context(), browser, s.url+"/oauth2/start?rd="+url.QueryEscape(rd), user, "pw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// whoAmI returns the identity that the site sees, or nil and the status.
func (s *site) whoAmI(t testing.TB, browser *http.Client) (*authn.Identity, int) {
	t.Helper()
	answer := must(browser.Get(s.url + "/whoami"))(t)
	return readIdentity(t, answer)
}

func readIdentity(t testing.TB, answer *http.Response) (*authn.Identity, int) {
	t.Helper()
	defer func() { _ = answer.Body.Close() }()
	body := must(io.ReadAll(answer.Body))(t)
	if answer.StatusCode != http.StatusOK {
		return nil, answer.StatusCode
	}
	id := new(authn.Identity)
	if err := json.Unmarshal(body, id); err != nil {
		t.Fatal(err)
	}
	return id, answer.StatusCode
}

// callback lets a browser sign in up to the point where the provider sends it
// back, and returns that address without following it.
func (s *site) callback(t testing.TB, browser *http.Client, user string) *url.URL {
	t.Helper()
	return s.follow(t, browser, s.url+"/oauth2/start?rd=/deep", user)
}

// follow is callback for a login that was started already.
func (s *site) follow(t testing.TB, browser *http.Client, start, user string) *url.URL {
	t.Helper()
	back := errors.New("back at the callback")
	stopping := *browser
	stopping.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), s.url+"/oauth2/callback") {
			return back
		}
		return nil
	}
	_, err := authntest.SignIn(t.Context(), &stopping, start, user, "pw")
	var stopped *url.Error
	if !errors.Is(err, back) || !errors.As(err, &stopped) {
		t.Fatalf("never came back: %v", err)
	}
	return must(url.Parse(stopped.URL))(t)
}

// inMemory serves requests by calling a handler, so that time can be virtual.
type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil { // as a server has it
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w.Result(), nil
}

// serve runs a real server and client over pipes, which virtual time understands.
func serve(t *testing.T, h http.Handler) *http.Transport {
	l := pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: h}
	go func() { _ = server.Serve(l) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		near, far := net.Pipe()
		select {
		case l.conns <- far:
			return near, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
	})
	return transport
}

type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func flush(w http.ResponseWriter, s string) {
	_, _ = io.WriteString(w, s)
	_ = http.NewResponseController(w).Flush()
}

// eventually polls a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// wantError fails unless err is an *Error of kind and of no other.
func wantError(t testing.TB, err, kind error) *authn.Error {
	t.Helper()
	var e *authn.Error
	if !errors.As(err, &e) && kind == authn.ErrNone { // there is nothing to say about it
		e = new(authn.Error)
	}
	if err == nil || e == nil {
		t.Fatalf("got %v, want %v", err, kind)
	}
	for _, k := range []error{authn.ErrNone, authn.ErrInvalid, authn.ErrForbidden, authn.ErrUnavailable} {
		if errors.Is(err, k) != (k == kind) {
			t.Fatalf("got %v, want %v alone", err, kind)
		}
	}
	return e
}

func request(fields ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/models/diabetes", nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

// carry copies the cookies that an answer sets into a request, as a browser does.
func carry(answer http.Header, r *http.Request) *http.Request {
	for _, c := range (&http.Response{Header: answer}).Cookies() {
		if c.MaxAge >= 0 {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
	return r
}

func repeated(s string, n int) string { return string(bytes.Repeat([]byte(s), n)) }

func numbered(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s%04d", prefix, i)
	}
	return list
}
