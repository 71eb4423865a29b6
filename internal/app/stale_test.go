package app_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"

	"amlproxy/authn/authntest"
)

// A ban that is added while people are signed in holds for them, too: what their
// sessions and remembered tokens do not say, since nobody asked for it when they
// were made, counts against them.
func TestABanHoldsForThoseWhoWereSignedInBefore(t *testing.T) {
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scored") }))
	defer model.Close()
	l := listen(t)
	public := "http://" + l.Addr().String()
	_ = l.Close() // the proxy listens there again
	provider, err := authntest.Start(authntest.Options{
		Audiences: []string{"api"},
		Users:     []authntest.User{{Name: "con", Password: "pw", Groups: []string{"contractors"}, Claims: map[string]any{"dept": "banned"}}},
		Clients:   []authntest.Client{{ID: "web", Secret: "secret-of-web", RedirectURIs: []string{public + "/oauth2/callback"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer provider.Close()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	route := fmt.Sprintf("routes:\n  - name: m\n    url: %q\n    auth: none\n", model.URL+"/score")
	r := newReloadingAt(t, public, route,
		"AMLPROXY_PUBLIC_URL="+public, "AMLPROXY_OIDC_ISSUER="+provider.Issuer(), "AMLPROXY_OIDC_CLIENT_ID=web",
		"AMLPROXY_OIDC_CLIENT_SECRET=secret-of-web", "AMLPROXY_OIDC_AUDIENCES=api",
		"AMLPROXY_COOKIE_SECRET="+base64.StdEncoding.EncodeToString(key))
	session := func() *http.Client {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Jar: jar}
		resp, err := authntest.SignIn(t.Context(), client, public+"/oauth2/start?rd=/livez", "con", "pw")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return client
	}
	token, err := provider.AccessToken("web", "con")
	if err != nil {
		t.Fatal(err)
	}
	call := func(client *http.Client, bearer string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, public+"/models/m", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if bearer != "" {
			req.Header.Set("Authorization", "Bearer "+bearer)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	before := session()
	until(t, "both may call", func() bool {
		return call(before, "") == http.StatusOK && call(http.DefaultClient, token) == http.StatusOK
	})
	for name, rule := range map[string]string{
		"by a group": "groups: [contractors]",
		"by a claim": "claims: {dept: [banned]}",
	} {
		t.Run(name, func(t *testing.T) {
			r.write(route)
			until(t, "the session may call again", func() bool { return call(before, "") == http.StatusOK })
			r.write(route + "    access: {none: {" + rule + "}}\n")
			until(t, "the ban is in force for a new session", func() bool { return call(session(), "") == http.StatusForbidden })
			if got := call(before, ""); got != http.StatusForbidden {
				t.Errorf("the session from before got %d", got)
			}
			if got := call(http.DefaultClient, token); got != http.StatusForbidden {
				t.Errorf("the token from before got %d", got)
			}
		})
	}
}
