package authn_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
)

// A tally counts Events and calls.
type tally[T comparable] struct {
	mu  sync.Mutex
	all map[T]int
}

func (c *tally[T]) add(v T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = make(map[T]int)
	}
	c.all[v]++
}

// is compares what was counted since it was last asked.
func (c *tally[T]) is(t *testing.T, what string, want map[T]int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !maps.Equal(c.all, want) {
		t.Errorf("%s: %v, want %v", what, c.all, want)
	}
	c.all = nil
}

// What becomes of logins and sessions is told once each, and names nobody.
func TestAnObserverHearsOfLoginsAndSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := new(tally[authn.Event])
		w := newWorld(t, 1, func(c *authn.SessionsConfig) { c.Observe = heard.add })
		s := w.replicas[0]
		event := func(k authn.EventKind, o authn.Outcome) authn.Event { return authn.Event{Kind: k, Outcome: o} }

		cookies := aged(t, w, 16*time.Minute)
		heard.is(t, "signing in", map[authn.Event]int{
			event(authn.LoginStarted, authn.OK): 1, event(authn.LoginEnded, authn.OK): 1, event(authn.SessionStarted, authn.OK): 1,
		})
		served(t, ask(s.sessions, cookies, 20)(), true)
		heard.is(t, "renewing", map[authn.Event]int{event(authn.SessionRenewed, authn.OK): 1})

		fresh := aged(t, w, 16*time.Minute)
		heard.is(t, "signing in again", map[authn.Event]int{
			event(authn.LoginStarted, authn.OK): 1, event(authn.LoginEnded, authn.OK): 1, event(authn.SessionStarted, authn.OK): 1,
		})
		undo := w.provider.Misbehave(authntest.Status(authntest.TokenEndpoint, http.StatusServiceUnavailable, "temporarily_unavailable"))
		served(t, ask(s.sessions, fresh, 1)(), false)
		undo()
		heard.is(t, "a provider in trouble", map[authn.Event]int{event(authn.SessionRenewed, authn.Unavailable): 1})

		if _, err := s.sessions.End(http.Header{}, fresh, false); err != nil {
			t.Fatal(err)
		}
		_, _ = s.sessions.End(http.Header{}, request(), false) // of nobody
		heard.is(t, "signing out", map[authn.Event]int{event(authn.SessionEnded, authn.SignOut): 1})
		w.signIn(t)
		heard.all = nil
		if _, err := s.sessions.End(http.Header{}, w.cookies(t), true); err != nil {
			t.Fatal(err)
		}
		answer, err := w.logout(t, s, w.sign(t, w.logoutClaims(nil)))
		loggedOut(t, answer, err)
		heard.is(t, "ends", map[authn.Event]int{event(authn.SessionEnded, authn.Everywhere): 1, event(authn.SessionEnded, authn.BackChannel): 1})

		for _, target := range []string{"/oauth2/callback", "/oauth2/callback?state=none&code=c"} {
			_ = s.login.Callback(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, target, http.NoBody))
		}
		heard.is(t, "answers that nobody asked for", map[authn.Event]int{
			event(authn.LoginEnded, authn.Malformed): 1, event(authn.LoginEnded, authn.Forbidden): 1,
		})
	})
}

type observed struct{ calls *tally[authn.Call] }

func (o observed) RoundTrip(r *http.Request) (*http.Response, error) {
	o.calls.add(authn.CallOf(r.Context()))
	return http.DefaultTransport.RoundTrip(r)
}

// Whoever makes the calls is told what each is for.
func TestCallsSayWhatTheyAreFor(t *testing.T) {
	calls := new(tally[authn.Call])
	s := newSite(t, siteOptions{plain: true, login: func(c *authn.LoginConfig) {
		c.Client = &http.Client{Transport: observed{calls}}
		c.Scopes = append(c.Scopes, "offline_access")
	}})
	_ = s.signIn(t, s.browser(t), "alice", "/").Body.Close()
	calls.mu.Lock()
	defer calls.mu.Unlock()
	for _, call := range []authn.Call{authn.CallDiscovery, authn.CallKeys, authn.CallToken} {
		if calls.all[call] == 0 {
			t.Errorf("no %s among %v", call, calls.all)
		}
	}
	if unknown := calls.all[authn.CallOther]; unknown > 0 || slices.Contains(slices.Collect(maps.Keys(calls.all)), "") {
		t.Errorf("calls for nothing: %v", calls.all)
	}
}
