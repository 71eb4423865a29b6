package authntest_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"

	"amlproxy/authn/authntest"
)

func ExampleStart() {
	p, err := authntest.Start(authntest.Options{
		Clients:   []authntest.Client{{ID: "batch-job", Secret: "hunter2", ServiceAccount: true}},
		Audiences: []string{"api://models"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	token, err := p.AccessToken("batch-job", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	claims, err := authntest.Claims(token)
	fmt.Println(claims["sub"], claims["aud"], err)
	// Output: batch-job [api://models] <nil>
}

// Every endpoint that a discovery document names is below the issuer, and answers.
func TestDiscoveryIsAboutTheIssuer(t *testing.T) {
	certificate := httptest.NewTLSServer(nil)
	defer certificate.Close()
	for _, c := range []struct {
		name    string
		options authntest.Options
		issuer  string // PORT stands for the listener's
	}{
		{"default", authntest.Options{}, "http://127.0.0.1:PORT"},
		{"default with TLS", authntest.Options{TLS: certificate.TLS}, "https://127.0.0.1:PORT"},
		{"localhost", authntest.Options{Issuer: "http://localhost:0"}, "http://localhost:PORT"},
		{"host that does not resolve", authntest.Options{Issuer: "https://login.example.com", TLS: certificate.TLS}, "https://login.example.com"},
		{"host and port", authntest.Options{Issuer: "https://login.example.com:0", TLS: certificate.TLS}, "https://login.example.com:PORT"},
		{"another port", authntest.Options{Issuer: "https://login.example.com:8443", TLS: certificate.TLS}, "https://login.example.com:8443"},
		{"path", authntest.Options{Issuer: "https://login.example.com/tenant/v2.0", TLS: certificate.TLS}, "https://login.example.com/tenant/v2.0"},
		{"slash at the end", authntest.Options{Issuer: "https://login.example.com/", TLS: certificate.TLS}, "https://login.example.com/"},
		{"IPv6", authntest.Options{Issuer: "http://[::1]:0"}, "http://[::1]:PORT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			c.options.Listener = l
			p, err := authntest.Start(c.options)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			_, port, err := net.SplitHostPort(l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			issuer := strings.ReplaceAll(c.issuer, "PORT", port)
			if p.Issuer() != issuer {
				t.Fatalf("issuer is %q, want %q", p.Issuer(), issuer)
			}
			client := resolving(t, l.Addr().String(), certificate)
			found, err := oidc.NewProvider(oidc.ClientContext(t.Context(), client), issuer)
			if err != nil {
				t.Fatal(err)
			}
			var document map[string]any
			if err := found.Claims(&document); err != nil {
				t.Fatal(err)
			}
			for name, value := range document {
				address, ok := value.(string)
				if ok && name != "issuer" && (!strings.HasPrefix(address, strings.TrimSuffix(issuer, "/")+"/") || strings.Contains(address[8:], "//")) {
					t.Errorf("%s is %s", name, address)
				}
			}
			r, err := client.Get(document["jwks_uri"].(string))
			if err != nil {
				t.Fatal(err)
			}
			if text := body(t, r); r.StatusCode != http.StatusOK || !strings.Contains(text, `"keys"`) {
				t.Errorf("keys: %s %s", r.Status, text)
			}
		})
	}
}

// resolving returns a client for which every host is at address.
func resolving(t *testing.T, address string, certificate *httptest.Server) *http.Client {
	t.Helper()
	roots := certificate.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestDiscoveryDocument(t *testing.T) {
	p := newParty(t)
	r, err := p.browser.Get(p.provider.Issuer() + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(body(t, r)), &got); err != nil {
		t.Fatal(err)
	}
	at := p.provider.Issuer()
	want := map[string]any{
		"issuer": at, "authorization_endpoint": at + "/authorize", "token_endpoint": at + "/oauth/token", "userinfo_endpoint": at + "/userinfo",
		"jwks_uri": at + "/keys", "end_session_endpoint": at + "/end_session",
		"response_types_supported": []any{"code"}, "code_challenge_methods_supported": []any{"S256"},
		"id_token_signing_alg_values_supported":          []any{"ES256"},
		"response_modes_supported":                       []any{"query", "fragment", "form_post"},
		"authorization_response_iss_parameter_supported": true,
	}
	wantClaims(t, got, want)
	for _, name := range []string{"device_authorization_endpoint", "check_session_iframe", "registration_endpoint"} {
		if got[name] != nil {
			t.Errorf("%s is %v", name, got[name])
		}
	}
}

// op has endpoints that go around the login form or do nothing here.
func TestNothingElseIsServed(t *testing.T) {
	p := newParty(t)
	for _, path := range []string{"/", "/authorize/callback?id=x", "/device_authorization", "/healthz", "/Login", "//login", "/login/"} {
		r, err := p.browser.Get(p.provider.Issuer() + path)
		if err != nil {
			t.Fatal(err)
		}
		body(t, r)
		if r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	user := authntest.User{Name: "a", Password: "p"}
	for name, o := range map[string]authntest.Options{
		"http on a host":                   {Issuer: "http://login.example.com"},
		"https without TLS":                {Issuer: "https://login.example.com"},
		"issuer with a query":              {Issuer: "http://127.0.0.1:0?a=b"},
		"issuer without a host":            {Issuer: "http:///x"},
		"issuer that is no address":        {Issuer: "://"},
		"unknown algorithm":                {Algorithm: "HS256"},
		"user without a password":          {Users: []authntest.User{{Name: "a"}}},
		"user without a name":              {Users: []authntest.User{{Password: "p"}}},
		"one user twice":                   {Users: []authntest.User{user, user}},
		"one subject twice":                {Users: []authntest.User{user, {Name: "b", Password: "p", Subject: "user-a"}}},
		"client without an ID":             {Clients: []authntest.Client{{}}},
		"one client twice":                 {Clients: []authntest.Client{{ID: "a"}, {ID: "a"}}},
		"service account without a secret": {Clients: []authntest.Client{{ID: "a", ServiceAccount: true}}},
		"address that is taken elsewhere":  {Listen: "192.0.2.1:80"},
	} {
		if p, err := authntest.Start(o); err == nil {
			p.Close()
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := authntest.New(authntest.Options{}); err == nil {
		t.Error("a mounted provider without an issuer: no error")
	}
}

// A caller may serve the provider itself.
func TestMounted(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	p, err := authntest.New(authntest.Options{Issuer: "http://" + server.Listener.Addr().String() + "/id"})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/id/", p)
	server.Config.Handler = mux
	server.Start()
	defer server.Close()
	if _, err := oidc.NewProvider(oidc.ClientContext(t.Context(), server.Client()), p.Issuer()); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// Two providers on one host do not end each other's sessions.
func TestTwoProvidersInOneBrowser(t *testing.T) {
	a, b := newParty(t), newParty(t)
	b.browser = a.browser
	a.signIn(t)
	b.signIn(t)
	if got := a.provider.Calls(authntest.LoginPage); got != 2 {
		t.Errorf("%d calls of the login", got)
	}
	if response := a.signIn(t); !response.Has("code") {
		t.Errorf("response is %v", response)
	}
	if got := a.provider.Calls(authntest.LoginPage); got != 3 {
		t.Errorf("asked again: %d calls of the login", got)
	}
}

// A page of another origin may use a public client, with no cookie in it.
func TestCORS(t *testing.T) {
	p := newParty(t)
	for path, want := range map[string]string{
		"/.well-known/openid-configuration": "*", "/keys": "*", "/oauth/token": "*", "/userinfo": "*",
		"/authorize": "", "/login": "", "/end_session": "",
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, p.provider.Issuer()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", "https://app.example.com")
		r.Header.Set("Access-Control-Request-Method", "POST")
		answer, err := p.browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body(t, answer)
		got := []string{answer.Header.Get("Access-Control-Allow-Origin"), answer.Header.Get("Access-Control-Allow-Credentials")}
		if d := cmp.Diff([]string{want, ""}, got); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		p, err := authntest.Start(authntest.Options{})
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
}
