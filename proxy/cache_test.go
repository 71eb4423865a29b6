package proxy_test

import (
	"net/http"
	"slices"
	"testing"

	"amlproxy/proxy"
)

// TestSharedCacheCannotHandOutAnAnswerOrASession: a model says of its answers what
// it likes; to whom they may be shown is not its to say.
func TestSharedCacheCannotHandOutAnAnswerOrASession(t *testing.T) {
	said := make(chan []string, 1)
	transport := model(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Cache-Control"] = <-said
		w.Header().Set("Cdn-Cache-Control", "max-age=60")
		w.Header().Set("Cloudflare-Cdn-Cache-Control", "max-age=60")
		w.Header().Set("Surrogate-Control", "max-age=60")
		w.Header().Set("Expires", "Fri, 01 Jan 2100 00:00:00 GMT")
		w.Header().Set("Vary", "Accept")
	})
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Transport: transport}, {Name: "open", Public: true, Transport: transport}}})
	for _, c := range []struct {
		said []string
		want string
	}{
		{nil, "no-store"},
		{[]string{""}, "no-store"},
		{[]string{"public"}, "private"},
		{[]string{"Public, Max-Age=60, S-MaxAge=600"}, "private, max-age=60"},
		{[]string{"max-age=60", "public"}, "private, max-age=60"},
		{[]string{"no-cache"}, "private, no-cache"},
		{[]string{"public, no-store"}, "no-store"},
		{[]string{"must-understand, no-store"}, "no-store"},
		{[]string{`private="x-a, max-age=5", max-age=60`}, "no-store"},
		{[]string{"private, max-age=5, unknown"}, "private, max-age=5"},
	} {
		said <- c.said
		a := h.ask(t, "GET", "/models/m", "", "Authorization: Bearer alice")
		if got := a.Header.Values("Cache-Control"); !slices.Equal(got, []string{c.want}) {
			t.Errorf("%q became %q, want %q", c.said, got, c.want)
		}
		if got := a.Header.Values("Vary"); !slices.Equal(got, []string{"Accept", "Cookie, Authorization"}) {
			t.Errorf("Vary %q", got)
		}
		for _, name := range []string{"Cdn-Cache-Control", "Cloudflare-Cdn-Cache-Control", "Surrogate-Control", "Expires"} {
			if got := a.Header.Get(name); got != "" {
				t.Errorf("%s: %s", name, got)
			}
		}
		// The door renews the session of every answer.
		said <- c.said
		if a := h.ask(t, "GET", "/models/m", "", "Cookie: amlproxy=alice"); a.Header.Get("Set-Cookie") == "" || !slices.Equal(a.Header.Values("Cache-Control"), []string{"no-store"}) {
			t.Errorf("%q with a renewed session: %v", c.said, a.Header)
		}
	}
	said <- []string{"public, max-age=60"}
	if a := h.ask(t, "GET", "/models/open", ""); a.Header.Get("Cache-Control") != "public, max-age=60" || a.Header.Get("Vary") != "Accept" {
		t.Errorf("a public route: %v", a.Header)
	}
}

// TestModelsOwnPolicyDoesNotSwitchTheSandboxOff: policies add up.
func TestModelsOwnPolicyDoesNotSwitchTheSandboxOff(t *testing.T) {
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: model(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src *; sandbox allow-scripts allow-same-origin")
	})}}})
	a := h.ask(t, "GET", "/models/m", "")
	if got := a.Header.Values("Content-Security-Policy"); len(got) != 2 || got[1] != "sandbox" {
		t.Errorf("%q", got)
	}
}
