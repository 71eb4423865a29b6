package app_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"amlproxy/authn/authntest"
	"amlproxy/internal/app"
	"amlproxy/internal/config"
)

// The classes of attack on who is calling are thrown at every kind of route and at
// the proxy's own endpoints, on an app as serve builds it: attack_*_test.go, a table
// and a fuzz target each.

// A fort is a proxy with two providers: people sign in at the first, the second
// issues bearer tokens alone.
type fort struct {
	url             string
	provider, other *authntest.Provider
	bare            *http.Client // holds no cookies
	reached         atomic.Int32 // requests that a model saw
}

// A door is a kind of route, or an endpoint of the proxy that tells who is calling.
type door struct {
	name, method, path string
	open               bool // to anybody
}

// doors are all of them. Three of the routes are open to a part of those who are
// known; ann is among it everywhere but on the one of the other issuer.
func doors() []door {
	return []door{
		{"public", http.MethodPost, "/models/public", true},
		{"signed in", http.MethodPost, "/models/signed", false},
		{"grouped", http.MethodPost, "/models/grouped", false},
		{"bearer only", http.MethodPost, "/models/bearer", false},
		{"of the other issuer", http.MethodPost, "/models/other", false},
		{"of pages, any path", http.MethodPost, "/models/shared/any/thing", false},
		{"userinfo", http.MethodGet, "/oauth2/userinfo", false},
		{"auth", http.MethodGet, "/oauth2/auth", false},
		{"auth of a route", http.MethodGet, "/oauth2/auth?route=grouped", false},
		{"auth of a public route", http.MethodGet, "/oauth2/auth?route=public", false},
		{"auth of groups", http.MethodGet, "/oauth2/auth?allowed_groups=g", false},
	}
}

const (
	canary  = "the model was reached"
	marked  = "who-is-calling"
	crowded = 100
)

func newFort(t testing.TB, more ...string) *fort {
	t.Helper()
	f := &fort{bare: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	t.Cleanup(f.bare.CloseIdleConnections)
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.reached.Add(1)
		w.Header().Set(marked, r.Header.Get("X-Forwarded-User"))
		_, _ = io.WriteString(w, canary)
	}))
	t.Cleanup(model.Close)
	l := listen(t)
	f.url = "http://" + l.Addr().String()
	users := []authntest.User{{Name: "ann", Password: "x", Email: "ann@example.com", EmailVerified: true, Groups: []string{"g"}}}
	for i := range crowded {
		users = append(users, authntest.User{Name: fmt.Sprint("p", i), Password: "x", Groups: []string{"g", fmt.Sprint("g", i)}})
	}
	f.provider = startTB(t, authntest.Options{
		Audiences: []string{"api"}, Users: users,
		Clients: []authntest.Client{
			{ID: "web", Secret: "s", RedirectURIs: []string{f.url + "/oauth2/callback"}, PostLogoutURIs: []string{f.url + "/oauth2/sign_in"}},
			{ID: "cli", Secret: "s", Scopes: []string{"score"}},
		},
	})
	f.other = startTB(t, authntest.Options{
		Audiences: []string{"api-of-other"}, Users: []authntest.User{{Name: "ann", Password: "y", Groups: []string{"g"}}}, Clients: []authntest.Client{{ID: "cli", Secret: "s", Scopes: []string{"score"}}},
	})
	const told = "identity_headers: [user], "
	var yaml strings.Builder
	yaml.WriteString("routes:\n")
	for name, rule := range map[string]string{
		"public": "public: true", "signed": told + "methods: [GET, POST]", "grouped": told + "access: {groups: [g]}", "bearer": told + "access: {scopes: [score]}",
		"shared": told + "paths: [\"*\"], cors: {origins: [\"https://app.example.com\"]}",
		"other":  told + "access: {claims: {iss: [\"" + f.other.Issuer() + "\"]}}",
	} {
		fmt.Fprintf(&yaml, "  - {name: %s, url: %q, auth: none, %s}\n", name, model.URL+"/score", rule)
	}
	file := filepath.Join(t.TempDir(), "routes.yaml")
	if err := os.WriteFile(file, []byte(yaml.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	settings, err := config.Load(append([]string{
		"AMLPROXY_ROUTES_FILE=" + file, "AMLPROXY_ADMIN_LISTEN=127.0.0.1:0", "AMLPROXY_PUBLIC_URL=" + f.url,
		"AMLPROXY_OIDC_ISSUER=" + f.provider.Issuer(), "AMLPROXY_OIDC_CLIENT_ID=web", "AMLPROXY_OIDC_CLIENT_SECRET=s", "AMLPROXY_OIDC_AUDIENCES=api,web",
		"AMLPROXY_COOKIE_SECRET=" + newCookieSecret(),
		"AMLPROXY_BEARER_ISSUERS_0_URL=" + f.other.Issuer(), "AMLPROXY_BEARER_ISSUERS_0_AUDIENCES=api-of-other",
	}, more...))
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(settings, app.Options{Log: io.Discard, Listener: l})
	if err != nil {
		t.Fatal(err)
	}
	serveUntilTheEnd(t, a)
	return f
}

func newCookieSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

func startTB(t testing.TB, o authntest.Options) *authntest.Provider {
	t.Helper()
	p, err := authntest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// An answered is what came back from a door.
type answered struct {
	*http.Response
	body string
}

// knock sends one request, and follows no redirect. The fields are "Name: value",
// sent as they are.
func (f *fort) knock(t testing.TB, client *http.Client, d door, fields ...string) answered {
	t.Helper()
	a, err := f.send(client, d, fields...)
	if err != nil {
		t.Fatalf("%s: %v", d.name, err)
	}
	return a
}

func (f *fort) send(client *http.Client, d door, fields ...string) (answered, error) {
	req, err := http.NewRequestWithContext(context.Background(), d.method, f.url+d.path, http.NoBody)
	if err != nil {
		return answered{}, err
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		req.Header[name] = append(req.Header[name], value)
	}
	once := *client
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := once.Do(req)
	if err != nil {
		return answered{}, err
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	_, err = body.ReadFrom(resp.Body)
	return answered{resp, body.String()}, err
}

// refused fails unless a door is shut: the status is one of those wanted, no model
// saw the request, nothing of an identity is told and no session begins.
func (f *fort) refused(t testing.TB, what string, client *http.Client, d door, statuses []int, fields ...string) {
	t.Helper()
	before := f.reached.Load()
	a := f.knock(t, client, d, fields...)
	ok := false
	for _, s := range statuses {
		ok = ok || a.StatusCode == s
	}
	switch {
	case !ok:
		t.Errorf("%s: %s: %d, want one of %d: %.300s", what, d.name, a.StatusCode, statuses, a.body)
	case f.reached.Load() != before || strings.Contains(a.body, canary):
		t.Errorf("%s: %s: %d, and a model was reached", what, d.name, a.StatusCode)
	case a.Header.Get("X-Auth-Request-User") != "" || strings.Contains(a.body, "user-ann"):
		t.Errorf("%s: %s: %d, and an identity was told", what, d.name, a.StatusCode)
	}
	for _, c := range a.Cookies() {
		if c.Name == "amlproxy" && c.MaxAge >= 0 && c.Value != "" {
			t.Errorf("%s: %s: a session began", what, d.name)
		}
	}
}

// browser returns a client with a jar.
func (f *fort) browser(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport}
}

// signedIn returns a browser in which a user has signed in.
func (f *fort) signedIn(t testing.TB, user string) *http.Client {
	t.Helper()
	client := f.browser(t)
	if err := f.signIn(client, user); err != nil {
		t.Fatal(err)
	}
	return client
}

func (f *fort) signIn(client *http.Client, user string) error {
	resp, err := authntest.SignIn(context.Background(), client, f.url+"/oauth2/start?rd=/oauth2/userinfo", user, "x")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && !strings.Contains(string(body), `"user-`+user+`"`) {
		err = fmt.Errorf("%s signed in and is %d %s", user, resp.StatusCode, body)
	}
	return err
}

// cookie returns a cookie that a browser holds for the proxy, by the beginning of
// its name.
func (f *fort) cookie(t testing.TB, client *http.Client, prefix string) *http.Cookie {
	t.Helper()
	at, err := url.Parse(f.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range client.Jar.Cookies(at) {
		if strings.HasPrefix(c.Name, prefix) {
			return c
		}
	}
	t.Fatalf("there is no cookie %s…", prefix)
	return nil
}

// token returns a good access token of the first provider.
func (f *fort) token(t testing.TB, user string) string {
	t.Helper()
	token, err := f.provider.AccessToken("cli", user, "openid", "profile", "email", "score")
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestTheFortStands: what all the attacks lack is all that it takes to get in.
func TestTheFortStands(t *testing.T) {
	f := newFort(t)
	client, token := f.signedIn(t, "ann"), "Authorization: Bearer "+f.token(t, "ann")
	for _, d := range doors() {
		byCookie, byToken := 200, 200
		switch {
		case strings.HasPrefix(d.path, "/oauth2/auth"):
			byCookie, byToken = 202, 202
		case d.name == "bearer only":
			byCookie = 403
		case d.name == "of the other issuer":
			byCookie, byToken = 403, 403
		}
		if a := f.knock(t, client, d); a.StatusCode != byCookie {
			t.Errorf("%s by a session: %d %s", d.name, a.StatusCode, a.body)
		}
		if a := f.knock(t, f.bare, d, token); a.StatusCode != byToken {
			t.Errorf("%s by a token: %d %s", d.name, a.StatusCode, a.body)
		}
		if d.open {
			if a := f.knock(t, f.bare, d); a.StatusCode != http.StatusOK {
				t.Errorf("%s by nobody: %d %s", d.name, a.StatusCode, a.body)
			}
			continue
		}
		f.refused(t, "nobody", f.bare, d, []int{401})
	}
}
