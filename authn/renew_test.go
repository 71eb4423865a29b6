package authn_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
	"amlproxy/internal/secret"
)

// A world is a provider, replicas of one relying party and a browser, all in
// memory, so that time can be virtual.
type world struct {
	provider *authntest.Provider
	secrets  []secret.Value
	replicas []*site
	turn     int // of the replica that the browser reaches
	browser  *http.Client
}

const partyURL = "https://proxy.example"

func newWorld(t testing.TB, replicas int, alter ...func(*authn.SessionsConfig)) *world {
	t.Helper()
	w := &world{secrets: []secret.Value{newSecret()}}
	w.provider = must(authntest.New(authntest.Options{
		Issuer: "http://127.0.0.1:1",
		Users: []authntest.User{
			{Name: "alice", Password: "pw", Email: "alice@example.com", EmailVerified: true, Groups: []string{"ml-users"}},
			{Name: "bob", Password: "pw", Groups: []string{"ml-users"}},
		},
		Clients: []authntest.Client{{
			ID: "web", Secret: "web-secret", RedirectURIs: []string{partyURL + "/oauth2/callback"},
			PostLogoutURIs: []string{partyURL + "/oauth2/sign_in"},
		}},
	}))(t)
	for range replicas {
		w.replicas = append(w.replicas, w.replica(t, alter...))
	}
	w.browser = w.newBrowser(t)
	return w
}

// replica returns one more, as if it had just started.
func (w *world) replica(t testing.TB, alter ...func(*authn.SessionsConfig)) *site {
	t.Helper()
	cfg := authn.SessionsConfig{Secrets: w.secrets, Secure: true, Idle: time.Hour, Max: 12 * time.Hour, Refresh: 15 * time.Minute}
	for _, a := range alter {
		a(&cfg)
	}
	s := &site{provider: w.provider, url: partyURL, sessions: must(authn.NewSessions(cfg))(t)}
	issuer := authn.Issuer{URL: w.provider.Issuer(), Audiences: []string{audience}}
	client := &http.Client{Transport: inMemory{w.provider}}
	s.login = must(authn.NewLogin(authn.LoginConfig{
		Issuer: issuer, ClientID: "web", ClientSecret: secret.New("web-secret"),
		Scopes:    []string{"openid", "profile", "email", "offline_access"},
		PublicURL: must(url.Parse(partyURL))(t), Sessions: s.sessions, Client: client,
	}))(t)
	s.bearer = must(authn.NewBearer(authn.BearerConfig{Issuers: []authn.Issuer{issuer}, ClientID: "web", Client: client}))(t)
	return s
}

func (w *world) newBrowser(t testing.TB) *http.Client {
	return &http.Client{Jar: must(cookiejar.New(nil))(t), Transport: w}
}

// RoundTrip implements http.RoundTripper, for the browser.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	var h http.Handler = w.replicas[w.turn]
	if r.URL.Host == "127.0.0.1:1" {
		h = w.provider
	}
	answer, err := inMemory{h}.RoundTrip(r)
	if err == nil {
		answer.Request = r
	}
	return answer, err
}

func (w *world) signIn(t testing.TB) {
	t.Helper()
	answer := must(authntest.SignIn(t.Context(), w.browser, partyURL+"/oauth2/start", "alice", "pw"))(t)
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("signing in: %s", answer.Status)
	}
}

// cookies is what the browser sends now.
func (w *world) cookies(t testing.TB) *http.Request {
	r := request()
	for _, c := range w.browser.Jar.Cookies(must(url.Parse(partyURL))(t)) {
		r.AddCookie(c)
	}
	return r
}

// result is what became of one request.
type result struct {
	id     *authn.Identity
	header http.Header
	err    error
}

// ask sends r to a replica n times at once; wait waits for the answers.
func ask(s *authn.Sessions, r *http.Request, n int) (wait func() []result) {
	all := make([]result, n)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			all[i].header = http.Header{}
			all[i].id, all[i].err = s.Authenticate(all[i].header, r.Clone(r.Context()))
		})
	}
	return func() []result { wg.Wait(); return all }
}

func served(t testing.TB, all []result, cookies bool) {
	t.Helper()
	for i, got := range all {
		if got.err != nil || got.id.Subject != "user-alice" || (len(got.header) > 0) != cookies {
			t.Fatalf("request %d of %d: %v, %v, cookies %v", i+1, len(all), got.id, got.err, len(got.header))
		}
	}
}

func aged(t testing.TB, w *world, d time.Duration) *http.Request {
	t.Helper()
	w.signIn(t)
	time.Sleep(d)
	return w.cookies(t)
}

// TestTwoHundredRequestsAtExpiryRefreshOnce: F10. Refresh tokens work once, and a
// second use ends the session (other proxies served 1 of 20).
func TestTwoHundredRequestsAtExpiryRefreshOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s, old := w.replicas[0].sessions, aged(t, w, 16*time.Minute)
		if err := w.provider.SetUser(authntest.User{Name: "alice", Password: "pw", Groups: []string{"ml-admins"}}); err != nil {
			t.Fatal(err)
		}
		calls := w.provider.Calls(authntest.TokenEndpoint)
		undo := w.provider.Misbehave(authntest.Delay(authntest.TokenEndpoint, 10*time.Second))
		wait := ask(s, old, 200)
		synctest.Wait()
		all := wait()
		undo()
		served(t, all, true)
		if got := w.provider.Calls(authntest.TokenEndpoint) - calls; got != 1 {
			t.Errorf("%d token calls", got)
		}
		for _, got := range all {
			if got.id.Groups[0] != "ml-admins" {
				t.Fatal("claims are the old ones")
			}
		}
		all[0].id.Groups[0] = "changed by one request"

		// Late ones with the old cookie are served, and get the new one.
		time.Sleep(30 * time.Second)
		late := ask(s, old, 20)()
		served(t, late, true)
		fresh := carry(late[0].header, request())
		if got := ask(s, fresh, 1)(); got[0].err != nil || len(got[0].header) > 0 || got[0].id.Groups[0] != "ml-admins" {
			t.Errorf("the new cookie: %+v", got[0])
		}
		// Again at the next expiry, with the token that rotated.
		time.Sleep(16 * time.Minute)
		served(t, ask(s, fresh, 5)(), true)
		if got := w.provider.Calls(authntest.TokenEndpoint) - calls; got != 2 {
			t.Errorf("%d token calls", got)
		}
	})
}

// TestTwoReplicasWithoutRedisServeEverybody: F10, at most one call each, and the
// provider takes the second one for a theft.
func TestTwoReplicasWithoutRedisServeEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		old := aged(t, w, 16*time.Minute)
		calls := w.provider.Calls(authntest.TokenEndpoint)
		undo := w.provider.Misbehave(authntest.Delay(authntest.TokenEndpoint, 5*time.Second))
		first, second := ask(w.replicas[0].sessions, old, 100), ask(w.replicas[1].sessions, old, 100)
		all := append(first(), second()...)
		undo()
		renewed := 0
		for _, got := range all {
			if got.err != nil {
				t.Fatal(got.err)
			}
			if len(got.header) > 0 {
				renewed++
			}
		}
		if got := w.provider.Calls(authntest.TokenEndpoint) - calls; got != 2 || renewed != 100 {
			t.Errorf("%d token calls, %d new cookies", got, renewed)
		}
		// Requests still on their way are served by both; the family is gone, so the
		// session ends soon at one, and at its next refresh at the other.
		for _, s := range w.replicas {
			if got := ask(s.sessions, old, 3)(); got[0].err != nil {
				t.Error(got[0].err)
			}
		}
		time.Sleep(11 * time.Second)
		over := 0
		for _, s := range w.replicas {
			if errors.Is(ask(s.sessions, old, 1)()[0].err, authn.ErrInvalid) {
				over++
			}
		}
		if over != 1 {
			t.Errorf("over at %d replicas", over)
		}
	})
}

// TestRevokedAtTheProvider: F12.
func TestRevokedAtTheProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s, r := w.replicas[0].sessions, aged(t, w, 10*time.Minute)
		if err := w.provider.Revoke("alice"); err != nil {
			t.Fatal(err)
		}
		served(t, ask(s, r, 3)(), false)
		time.Sleep(6 * time.Minute)
		served(t, ask(s, r, 20)(), false) // a sibling may have refreshed
		time.Sleep(10 * time.Second)
		calls := w.provider.Calls(authntest.TokenEndpoint)
		for _, got := range ask(s, r, 20)() {
			wantError(t, got.err, authn.ErrInvalid)
			if len(got.header) > 0 {
				t.Error("the cookie was touched")
			}
		}
		if w.provider.Calls(authntest.TokenEndpoint) != calls {
			t.Error("the provider was asked again")
		}
	})
}

// TestRevokedSessionsEndWithinTheRefreshTime: F12, for a session in use, whatever
// the time for its siblings' cookies.
func TestRevokedSessionsEndWithinTheRefreshTime(t *testing.T) {
	for _, refresh := range []time.Duration{2 * time.Second, 30 * time.Second, 15 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1, func(c *authn.SessionsConfig) { c.Refresh = refresh })
			s := w.replicas[0].sessions
			w.signIn(t)
			if err := w.provider.Revoke("alice"); err != nil {
				t.Fatal(err)
			}
			r, begun := w.cookies(t), time.Now()
			for ask(s, r, 1)()[0].err == nil {
				time.Sleep(refresh / 20)
				if time.Since(begun) > refresh+refresh/10 {
					t.Fatalf("%v: served after %v", refresh, time.Since(begun))
				}
			}
		})
	}
}

// TestProviderInTroubleEndsNoSession: F11.
func TestProviderInTroubleEndsNoSession(t *testing.T) {
	for name, fault := range map[string]authntest.Fault{
		"refuses":   authntest.Refuse(authntest.TokenEndpoint),
		"500":       authntest.Status(authntest.TokenEndpoint, 500, ""),
		"503":       authntest.Status(authntest.TokenEndpoint, 503, "temporarily_unavailable"),
		"hangs":     authntest.Hang(authntest.TokenEndpoint),
		"malformed": authntest.Body(authntest.TokenEndpoint, "application/json", []byte(`{"access_token`)),
		"no client": authntest.Status(authntest.TokenEndpoint, 401, "invalid_client"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				s, r := w.replicas[0].sessions, aged(t, w, 16*time.Minute)
				calls := w.provider.Calls(authntest.TokenEndpoint)
				undo := w.provider.Misbehave(fault)
				begun, until := time.Now(), time.Now().Add(8*time.Hour)
				served(t, ask(s, r, 20)(), false)
				if took := time.Since(begun); took > 15*time.Second {
					t.Errorf("answered after %v", took)
				}
				for time.Now().Before(until) { // in use, each with what the one before brought
					time.Sleep(time.Minute)
					before := time.Now()
					got := ask(s, r, 1)()[0]
					if got.err != nil || !time.Now().Equal(before) {
						t.Fatalf("%v, waited %v", got.err, time.Since(before))
					}
					if len(got.header) > 0 {
						r = carry(got.header, request())
					}
				}
				if got := w.provider.Calls(authntest.TokenEndpoint) - calls; got < 50 || got > 150 {
					t.Errorf("%d token calls in 8 hours", got)
				}
				undo()
				time.Sleep(6 * time.Minute)
				_ = ask(s, r, 1)() // asks in the background
				synctest.Wait()
				got := ask(s, r, 1)()
				served(t, got, true)
				calls = w.provider.Calls(authntest.TokenEndpoint)
				time.Sleep(8 * time.Minute)
				served(t, ask(s, carry(got[0].header, request()), 1)(), false)
				if w.provider.Calls(authntest.TokenEndpoint) != calls {
					t.Error("not renewed")
				}
			})
		})
	}
}

// TestWhoeverLeavesLosesNothing: a client that hangs up during the refresh
// neither ends it nor loses the session with the token that it used up.
func TestWhoeverLeavesLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s, old := w.replicas[0].sessions, aged(t, w, 16*time.Minute)
		w.provider.Misbehave(authntest.Delay(authntest.TokenEndpoint, 5*time.Second))
		calls := w.provider.Calls(authntest.TokenEndpoint)
		ctx, leave := context.WithCancel(t.Context())
		leaver := ask(s, old.WithContext(ctx), 1)
		synctest.Wait()
		stayer := ask(s, old, 1)
		synctest.Wait()
		leave()
		if err := leaver()[0].err; !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		served(t, stayer(), true)
		// Nobody took the answer home: half an hour later the old cookie still does.
		time.Sleep(12 * time.Minute)
		served(t, ask(s, old, 1)(), true)
		if got := w.provider.Calls(authntest.TokenEndpoint) - calls; got != 1 {
			t.Errorf("%d token calls", got)
		}
	})
}

// TestOldCookieIsForgottenOnceTheNewOneCame, and then no longer a key to the new session.
func TestOldCookieIsForgottenOnceTheNewOneCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s, old := w.replicas[0].sessions, aged(t, w, 16*time.Minute)
		got := ask(s, old, 1)()
		served(t, got, true)
		served(t, ask(s, carry(got[0].header, request()), 1)(), false)
		time.Sleep(59 * time.Second)
		served(t, ask(s, old, 1)(), true)
		time.Sleep(2 * time.Second)
		served(t, ask(s, old, 1)(), false) // now it is a token used twice
		time.Sleep(10 * time.Second)
		wantError(t, ask(s, old, 1)()[0].err, authn.ErrInvalid)
	})
}

// TestSubjectMayNotChangeAtRefresh.
func TestSubjectMayNotChangeAtRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s, r := w.replicas[0].sessions, aged(t, w, 16*time.Minute)
		w.provider.Misbehave(authntest.AlterIDToken(func(t *authntest.Token) { t.Claims["sub"] = "user-bob" }))
		for _, got := range ask(s, r, 5)() {
			if got.err == nil && got.id.Subject != "user-alice" {
				t.Fatalf("became %s", got.id.Subject)
			}
		}
		time.Sleep(10 * time.Second)
		wantError(t, ask(s, r, 1)()[0].err, authn.ErrInvalid)
	})
}

// TestRestartSignsNobodyOut, nor does a new secret, nor a rolling replacement.
func TestRestartSignsNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.signIn(t)
		for round := range 8 {
			time.Sleep(10 * time.Minute)
			if round%2 == 1 {
				w.secrets = append([]secret.Value{newSecret()}, w.secrets...)
			}
			w.replicas[round%2] = w.replica(t)
			// The other one does not know a secret that is new until it is replaced, too.
			if round%2 == 1 {
				w.replicas[0] = w.replica(t)
			}
			for w.turn = range w.replicas {
				if id, status := w.replicas[0].whoAmI(t, w.browser); status != http.StatusOK || id.Subject != "user-alice" {
					t.Fatalf("round %d, replica %d: %d", round, w.turn, status)
				}
			}
		}
	})
}

// TestClockJumps: F13.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s, r := w.replicas[0].sessions, aged(t, w, 14*time.Minute+45*time.Second)
		time.Sleep(30 * time.Second) // a jump forward
		served(t, ask(s, r, 1)(), true)
	})
}

// TestRefreshTokenThatDoesNotFitSaysSo.
func TestRefreshTokenThatDoesNotFitSaysSo(t *testing.T) {
	s := newSessions(t)
	err := s.Start(http.Header{}, request(), alice(), authn.Tokens{Refresh: secret.New(repeated("r", 20_000))})
	if e := wantError(t, err, authn.ErrForbidden); e.Detail == "" || !strings.Contains(e.Detail, "refresh token of 20000 bytes") {
		t.Errorf("says %q", e.Detail)
	}
	answer := http.Header{}
	if err := s.Start(answer, request(), alice(), authn.Tokens{Refresh: secret.New(repeated("r", 9_000))}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Authenticate(http.Header{}, carry(answer, request())); err != nil {
		t.Error(err)
	}
}

// TestSignedOutCookieIsWorthNothing in the process that knows (CVE-2024-21492).
func TestSignedOutCookieIsWorthNothing(t *testing.T) {
	s := newSessions(t)
	_, r := started(t, s, alice())
	if _, err := s.End(http.Header{}, r, false); err != nil {
		t.Fatal(err)
	}
	wantError(t, second(s.Authenticate(http.Header{}, r)), authn.ErrInvalid)
}

func TestSignOutEverywhereInOneProcess(t *testing.T) {
	s := newSessions(t)
	_, one := started(t, s, alice())
	_, two := started(t, s, alice())
	_, other := started(t, s, &authn.Identity{Issuer: "https://idp.example", Subject: "user-bob"})
	answer := http.Header{}
	if _, err := s.End(answer, request(), true); !errors.Is(err, authn.ErrNone) || len(answer) > 0 {
		t.Errorf("without a session: %v", err)
	}
	if _, err := s.End(answer, one, true); err != nil || len(answer) == 0 {
		t.Fatal(err)
	}
	for _, r := range []*http.Request{one, two} {
		wantError(t, second(s.Authenticate(http.Header{}, r)), authn.ErrInvalid)
	}
	_, again := started(t, s, alice())
	for _, r := range []*http.Request{other, again} {
		if _, err := s.Authenticate(http.Header{}, r); err != nil {
			t.Error(err)
		}
	}
}
