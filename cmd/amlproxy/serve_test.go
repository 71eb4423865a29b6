package main_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"amlproxy/internal/demo"
)

func mustURL(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// answer is what a program gets.
type answer struct {
	status int
	header http.Header
	body   string
}

func (e *estate) call(t *testing.T, method, path, token, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, e.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// jobToken gets a bearer token as a program would: from the provider, over https.
func (e *estate) jobToken(t *testing.T) string {
	t.Helper()
	form := strings.NewReader("grant_type=client_credentials")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.Provider.Issuer()+"/oauth/token", form)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(demo.ClientJob, e.Job.Secret)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := e.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil || token.AccessToken == "" {
		t.Fatalf("%s: %v", resp.Status, err)
	}
	return token.AccessToken
}

// TestServe runs the built binary against an Azure over TLS and a provider in
// another process's place, and calls every model as a program.
func TestServe(t *testing.T) {
	e := newEstate(t)
	t.Run("no credential", func(t *testing.T) {
		got := e.call(t, http.MethodPost, "/models/iris", "", "{}")
		if got.status != 401 || got.header.Get("Content-Type") != "application/problem+json" ||
			!strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer") || !strings.Contains(got.body, "login_url") {
			t.Errorf("%d %v\n%s", got.status, got.header, got.body)
		}
	})
	t.Run("a bearer token made up", func(t *testing.T) {
		got := e.call(t, http.MethodPost, "/models/iris", "made.up.token", "{}")
		if got.status != 401 || !strings.Contains(got.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("%d %v\n%s", got.status, got.header, got.body)
		}
	})
	token := e.jobToken(t)
	for _, m := range e.Models {
		t.Run(m.Name(), func(t *testing.T) {
			got := e.call(t, http.MethodPost, "/models/"+m.Name()+"/score", token, string(m.Sample()))
			if got.status != 200 || strings.TrimSpace(got.body) != string(m.Expected()) {
				t.Errorf("%d %s, want %s", got.status, got.body, m.Expected())
			}
			if got := e.call(t, http.MethodGet, "/models/"+m.Name()+"/swagger.json", token, ""); got.status != 200 || got.body != string(m.Swagger()) {
				t.Errorf("swagger.json: %d %s", got.status, got.body)
			}
		})
	}
	t.Run("a user of another group", func(t *testing.T) {
		for name, want := range map[string]int{"alice": 200, "bob": 403, "eve": 403} {
			user, err := e.Provider.AccessToken("amlproxy", name)
			if err != nil {
				t.Fatal(err)
			}
			got := e.call(t, http.MethodPost, "/models/iris", user, string(e.Models[2].Sample()))
			if got.status != want {
				t.Errorf("%s: %d %s, want %d", name, got.status, got.body, want)
			}
		}
	})
	t.Run("healthcheck", func(t *testing.T) {
		environ := append(e.Environ(), "AMLPROXY_ADMIN_LISTEN="+strings.TrimPrefix(e.admin, "http://"))
		if code, out := once(t, environ, "healthcheck"); code != 0 {
			t.Errorf("exit %d: %s", code, out)
		}
	})
	t.Run("no secret in the log", func(t *testing.T) {
		log := e.proxy.err.String() + e.proxy.out.String()
		key, _ := e.Models[0].Scoring.Keys()
		for _, secret := range []string{token, e.Job.Secret, e.Azure.ClientSecret(), key} {
			if strings.Contains(log, secret) {
				t.Errorf("the log holds a secret:\n%s", log)
			}
		}
	})
	t.Run("stop", func(t *testing.T) {
		if err := e.proxy.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestCheckOfTheDemosSettings: what the demo runs with is in order, and a
// mistake in it is found with its place, without anybody being asked.
func TestCheckOfTheDemosSettings(t *testing.T) {
	w, err := demo.NewWorld(demo.Place{PublicURL: "http://127.0.0.1:8080"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.Azure.ResetCalls()
	if code, out := once(t, w.Environ(), "check"); code != 0 || !strings.Contains(out, "3 routes") {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, out := once(t, append(w.Environ(), "AMLPROXY_SESSION_IDLE="), "check"); code != 2 || !strings.Contains(out, "SESSION_IDLE") {
		t.Errorf("exit %d: %s", code, out)
	}
	if calls := w.Azure.Calls(); len(calls) != 0 {
		t.Errorf("check asked Azure: %v", calls)
	}
}
