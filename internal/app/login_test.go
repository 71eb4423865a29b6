package app_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"amlproxy/authn/authntest"
	"amlproxy/internal/app"
	"amlproxy/internal/config"
)

// begin runs a proxy with a login and returns its URL.
func begin(t *testing.T, client func(*authntest.Client), environ func(issuer string) []string) (string, *authntest.Provider) {
	t.Helper()
	l := listen(t)
	at := "http://" + l.Addr().String()
	web := authntest.Client{ID: "web", Secret: "s", RedirectURIs: []string{at + "/oauth2/callback"}, PostLogoutURIs: []string{at + "/oauth2/sign_in"}}
	if client != nil {
		client(&web)
	}
	provider := startTB(t, authntest.Options{
		Users: []authntest.User{{Name: "ann", Password: "x"}}, Clients: []authntest.Client{web},
	})
	settings, err := config.Load(append([]string{
		"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_URL=http://127.0.0.1:1/score", "AMLPROXY_ROUTES_0_AUTH=none",
		"AMLPROXY_ADMIN_LISTEN=127.0.0.1:0", "AMLPROXY_OIDC_ISSUER=" + provider.Issuer(), "AMLPROXY_OIDC_CLIENT_ID=web",
		"AMLPROXY_COOKIE_SECRET=" + newCookieSecret(),
	}, orPublic(environ(provider.Issuer()), at)...))
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(settings, app.Options{Log: io.Discard, Listener: l})
	if err != nil {
		t.Fatal(err)
	}
	serveUntilTheEnd(t, a)
	return at, provider
}

func orPublic(environ []string, at string) []string {
	if strings.Contains(strings.Join(environ, " "), "AMLPROXY_PUBLIC_URL=") {
		return environ
	}
	return append(environ, "AMLPROXY_PUBLIC_URL="+at)
}

// TestSettingsOfTheClient signs in with each way of proof, set as an operator would.
func TestSettingsOfTheClient(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "client.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := "AMLPROXY_OIDC_CLIENT_SECRET=s"
	for name, c := range map[string]struct {
		client  func(*authntest.Client)
		environ func(issuer string) []string
	}{
		"secret by post": {nil, func(string) []string { return []string{secret, "AMLPROXY_OIDC_CLIENT_AUTH=client_secret_post"} }},
		"key": {
			func(c *authntest.Client) { c.Secret, c.Key = "", key.Public() },
			func(string) []string { return []string{"AMLPROXY_OIDC_CLIENT_KEY_FILE=" + file} },
		},
		"none": {func(c *authntest.Client) { c.Secret = "" }, func(string) []string { return nil }},
		"endpoints by hand": {nil, func(issuer string) []string {
			return []string{
				secret, "AMLPROXY_OIDC_AUTHORIZATION_URL=" + issuer + "/authorize", "AMLPROXY_OIDC_TOKEN_URL=" + issuer + "/oauth/token",
				"AMLPROXY_OIDC_JWKS_URL=" + issuer + "/keys", "AMLPROXY_OIDC_USERINFO_URL=" + issuer + "/userinfo",
			}
		}},
		"max_age": {nil, func(string) []string { return []string{secret, "AMLPROXY_OIDC_PARAMETERS=max_age=60,prompt=login"} }},
	} {
		t.Run(name, func(t *testing.T) {
			at, provider := begin(t, c.client, c.environ)
			if name == "endpoints by hand" {
				provider.Misbehave(authntest.Refuse(authntest.Discovery))
			}
			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := authntest.SignIn(t.Context(), &http.Client{Jar: jar}, at+"/oauth2/start?rd=/oauth2/userinfo", "ann", "x")
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusOK || !strings.Contains(string(body), `"sub":"user-ann"`) {
				t.Errorf("%s at %s: %s", answer.Status, answer.Request.URL, body)
			}
		})
	}
}

// TestSettingsOfTheRequest: what the provider is asked with.
func TestSettingsOfTheRequest(t *testing.T) {
	at, _ := begin(t, nil, func(string) []string {
		return []string{
			"AMLPROXY_OIDC_CLIENT_SECRET=s", "AMLPROXY_PUBLIC_URL=https://models.example.com", "AMLPROXY_OIDC_RESPONSE_MODE=form_post",
			"AMLPROXY_OIDC_PARAMETERS=prompt=select_account,domain_hint=example.com",
		}
	})
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for query, status := range map[string]int{"login_hint=ann": 303, "prompt=none": 400, "max_age=1": 400, "domain_hint=evil.example": 400} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+"/oauth2/start?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "models.example.com"
		answer, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != status {
			t.Errorf("%s: %s", query, answer.Status)
		}
		if status != http.StatusSeeOther {
			continue
		}
		to, err := url.Parse(answer.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		q := to.Query()
		if q.Get("response_mode") != "form_post" || q.Get("prompt") != "select_account" || q.Get("domain_hint") != "example.com" || q.Get("login_hint") != "ann" {
			t.Errorf("asked with %v", q)
		}
		if !strings.Contains(answer.Header.Get("Set-Cookie"), "SameSite=None") {
			t.Errorf("cookie %s", answer.Header.Get("Set-Cookie"))
		}
	}
}
