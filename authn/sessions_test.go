package authn_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"amlproxy/authn"
	"amlproxy/internal/secret"
)

func newSessions(t testing.TB, alter ...func(*authn.SessionsConfig)) *authn.Sessions {
	t.Helper()
	cfg := authn.SessionsConfig{
		Secrets: []secret.Value{newSecret()}, Secure: true, Idle: time.Hour, Max: 12 * time.Hour, Refresh: 15 * time.Minute,
	}
	for _, a := range alter {
		a(&cfg)
	}
	return must(authn.NewSessions(cfg))(t)
}

func alice() *authn.Identity {
	return &authn.Identity{
		Issuer: "https://idp.example", Subject: "user-alice", Tenant: "t", ObjectID: "o", Client: "web",
		Name: "Alice\r\n\x00 Müller", Username: "alice", Email: "a@example.com", EmailVerified: true,
		Groups: []string{"ml-users", "a,b", ""}, Roles: []string{"Reader"},
		Claims: map[string][]string{"plan": {"gold", "silver"}, "none": nil},
		Time:   time.Unix(1700000000, 0),
	}
}

// started returns a request that holds a new session of s.
func started(t testing.TB, s *authn.Sessions, id *authn.Identity) (http.Header, *http.Request) {
	t.Helper()
	answer := http.Header{}
	if err := s.Start(answer, request(), id, authn.Tokens{}); err != nil {
		t.Fatal(err)
	}
	return answer, carry(answer, request())
}

func setCookies(answer http.Header) []*http.Cookie {
	return (&http.Response{Header: answer}).Cookies()
}

func TestSessionHoldsTheWholeIdentity(t *testing.T) {
	s := newSessions(t)
	answer, r := started(t, s, alice())
	id, err := s.Authenticate(http.Header{}, r)
	if err != nil {
		t.Fatal(err)
	}
	want := alice()
	want.Method, want.Session, want.Expires, want.Idle = authn.BySession, id.Session, id.Expires, id.Idle
	if d := cmp.Diff(want, id, cmpopts.IgnoreUnexported(authn.Identity{})); d != "" {
		t.Error(d)
	}
	if id.Session == "" || strings.Contains(answer.Get("Set-Cookie"), id.Session) || time.Until(id.Expires) > 12*time.Hour {
		t.Errorf("session %q expires %v", id.Session, id.Expires)
	}
	if got := strings.Split(answer.Get("Set-Cookie"), "; "); !strings.HasPrefix(got[0], "__Host-amlproxy=") ||
		!cmp.Equal(got[1:], []string{"Path=/", "Max-Age=3599", "HttpOnly", "Secure", "SameSite=Lax"}) {
		t.Errorf("cookie %q", got)
	}
}

func TestSessionCookieOverHTTP(t *testing.T) {
	s := newSessions(t, func(c *authn.SessionsConfig) { c.Secure = false })
	answer, r := started(t, s, alice())
	if got := setCookies(answer)[0]; got.Name != "amlproxy" || got.Secure || !got.HttpOnly || got.Domain != "" {
		t.Errorf("cookie %v", got)
	}
	if _, err := s.Authenticate(http.Header{}, r); err != nil {
		t.Error(err)
	}
}

func TestSessionLifetimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(t)
		_, r := started(t, s, alice())

		// Young: nothing is set. Older than Refresh: renewed.
		time.Sleep(15 * time.Minute)
		h := http.Header{}
		first, err := s.Authenticate(h, r)
		if err != nil || len(h) > 0 {
			t.Fatalf("%v, set %v", err, h)
		}
		time.Sleep(time.Second)
		if _, err = s.Authenticate(h, r); err != nil || len(setCookies(h)) != 1 {
			t.Fatalf("%v, set %v", err, h)
		}
		if _, err := s.Authenticate(nil, r); err != nil { // no answer to set a cookie on
			t.Error(err)
		}
		old, renewed := r, carry(h, request())
		time.Sleep(45*time.Minute - time.Second)
		_, err = s.Authenticate(http.Header{}, old)
		if e := wantError(t, err, authn.ErrInvalid); e.Bearer || e.Malformed {
			t.Errorf("%+v", e)
		}
		id, err := s.Authenticate(http.Header{}, renewed)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(first, id, cmpopts.IgnoreUnexported(authn.Identity{}), cmpopts.IgnoreFields(authn.Identity{}, "Idle")); d != "" {
			t.Errorf("renewal changed the identity: %s", d)
		}

		// In use all day, it still ends at Max.
		end := id.Expires
		for time.Now().Before(end) {
			h := http.Header{}
			if _, err := s.Authenticate(h, renewed); err != nil {
				t.Fatalf("%v before its end: %v", time.Until(end), err)
			}
			if len(h) > 0 {
				renewed = carry(h, request())
			}
			time.Sleep(10 * time.Minute)
		}
		wantError(t, second(s.Authenticate(http.Header{}, renewed)), authn.ErrInvalid)
	})
}

// TestSessionInUseIsNotIdle although Refresh is longer than Idle.
func TestSessionInUseIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(t, func(c *authn.SessionsConfig) { c.Idle, c.Refresh = 10*time.Minute, 15*time.Minute })
		_, r := started(t, s, alice())
		for range 20 {
			time.Sleep(4 * time.Minute)
			h := http.Header{}
			if _, err := s.Authenticate(h, r); err != nil {
				t.Fatal(err)
			}
			if len(h) > 0 {
				r = carry(h, request())
			}
		}
	})
}

func TestShorterLifetimesApplyToOldSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newSecret()
		with := func(idle, limit time.Duration) *authn.Sessions {
			return newSessions(t, func(c *authn.SessionsConfig) { c.Secrets, c.Idle, c.Max = []secret.Value{key}, idle, limit })
		}
		_, r := started(t, with(10*time.Hour, 24*time.Hour), alice())
		time.Sleep(2 * time.Hour)
		wantError(t, second(with(time.Hour, 24*time.Hour).Authenticate(http.Header{}, r)), authn.ErrInvalid)
		wantError(t, second(with(10*time.Hour, time.Hour).Authenticate(http.Header{}, r)), authn.ErrInvalid)
		if _, err := with(10*time.Hour, 24*time.Hour).Authenticate(http.Header{}, r); err != nil {
			t.Error(err)
		}
	})
}

func TestSecretRotation(t *testing.T) {
	older, newer := newSecret(), newSecret()
	with := func(list ...secret.Value) *authn.Sessions {
		return newSessions(t, func(c *authn.SessionsConfig) { c.Secrets = list })
	}
	_, r := started(t, with(older), alice())
	if _, err := with(newer, older).Authenticate(http.Header{}, r); err != nil {
		t.Errorf("rotation signed somebody out: %v", err)
	}
	_, fresh := started(t, with(newer, older), alice())
	if _, err := with(newer).Authenticate(http.Header{}, fresh); err != nil {
		t.Errorf("not sealed with the newest secret: %v", err)
	}
	// The session of another deployment, or of a secret since dropped.
	h := http.Header{}
	wantError(t, second(with(newer).Authenticate(h, r)), authn.ErrInvalid)
	if len(h) > 0 {
		t.Errorf("a replica that does not know a secret yet took the cookie away: %v", h)
	}
}

// TestEveryAlteredByteIsRefused, and all in the same words (CVE-2026-47775).
func TestEveryAlteredByteIsRefused(t *testing.T) {
	s := newSessions(t)
	answer, _ := started(t, s, alice())
	value := setCookies(answer)[0].Value
	sealed := must(base64.RawURLEncoding.DecodeString(value[9:]))(t)
	said := map[string]bool{}
	try := func(value string) {
		t.Helper()
		id, err := s.Authenticate(http.Header{}, request("Cookie", "__Host-amlproxy="+value))
		if err == nil {
			t.Errorf("accepted %q as %+v", value, id)
			return
		}
		said[err.Error()] = true
	}
	for i := range sealed {
		for _, bit := range []byte{1, 0x80} {
			sealed[i] ^= bit
			try(value[:9] + base64.RawURLEncoding.EncodeToString(sealed))
			sealed[i] ^= bit
		}
		try(value[:9] + base64.RawURLEncoding.EncodeToString(sealed[:i]))
	}
	for _, v := range []string{"", "1", value[9:], value + "A", value[:len(value)-1], "1" + value, "0" + value[1:], "5" + value[1:], "99999999" + value[1:]} {
		try(v)
	}
	if len(said) != 1 {
		t.Errorf("told apart: %v", said)
	}
}

func TestTwoSealsOfOneSessionDiffer(t *testing.T) {
	s := newSessions(t)
	seen := map[string]bool{}
	for range 100 {
		answer, r := started(t, s, alice())
		id, _ := s.Authenticate(http.Header{}, r)
		value := setCookies(answer)[0].Value
		nonce := string(must(base64.RawURLEncoding.DecodeString(value[9:]))(t)[9:21])
		if seen[value] || seen[nonce] || seen[id.Session] {
			t.Fatal("seen before")
		}
		seen[value], seen[nonce], seen[id.Session] = true, true, true
	}
}

// TestStateIsNoSession: keys are bound to a purpose (CVE-2026-19349, CVE-2026-114612).
func TestStateIsNoSession(t *testing.T) {
	s := newSite(t, siteOptions{})
	w := httptest.NewRecorder()
	if err := s.login.Start(w, httptest.NewRequest(http.MethodGet, "/oauth2/start", nil)); err != nil {
		t.Fatal(err)
	}
	state := setCookies(w.Header())[0]
	for _, value := range []string{state.Value, "1AAAAAAAA" + state.Value} {
		wantError(t, second(s.sessions.Authenticate(http.Header{}, request("Cookie", "__Host-amlproxy="+value))), authn.ErrInvalid)
	}
	answer, _ := started(t, s.sessions, alice())
	session := setCookies(answer)[0].Value
	asked := must(url.Parse(w.Header().Get("Location")))(t).Query().Get("state")
	for _, value := range []string{session, session[9:]} {
		r := httptest.NewRequest(http.MethodGet, "/oauth2/callback?code=c&state="+asked, nil)
		r.AddCookie(&http.Cookie{Name: state.Name, Value: value})
		wantError(t, s.login.Callback(httptest.NewRecorder(), r), authn.ErrForbidden)
	}
}

// TestStateOfAnotherFlowIsRefused: a sealed state counts under its own name only.
func TestStateOfAnotherFlowIsRefused(t *testing.T) {
	s := newSite(t, siteOptions{})
	attacker, victim := s.browser(t), s.browser(t)
	planted, own := s.callback(t, attacker, "alice"), s.callback(t, victim, "bob")
	r := httptest.NewRequest(http.MethodGet, planted.String(), nil)
	name := ""
	for _, c := range attacker.Jar.Cookies(planted) {
		name = c.Name
	}
	for _, c := range victim.Jar.Cookies(own) {
		r.AddCookie(&http.Cookie{Name: name, Value: c.Value}) // tossed under the attacker's name
	}
	wantError(t, s.login.Callback(httptest.NewRecorder(), r), authn.ErrForbidden)
}

// TestPlantedSessionIsNotKept: session fixation.
func TestPlantedSessionIsNotKept(t *testing.T) {
	s := newSessions(t)
	_, planted := started(t, s, &authn.Identity{Issuer: "i", Subject: "attacker"})
	before, _ := s.Authenticate(http.Header{}, planted)
	answer := http.Header{}
	if err := s.Start(answer, planted, alice(), authn.Tokens{}); err != nil {
		t.Fatal(err)
	}
	after, err := s.Authenticate(http.Header{}, carry(answer, request()))
	if err != nil || after.Session == before.Session || after.Subject != "user-alice" {
		t.Errorf("%+v %v", after, err)
	}
}

func TestNewSessionsRefuses(t *testing.T) {
	for name, alter := range map[string]func(*authn.SessionsConfig){
		"no secret":         func(c *authn.SessionsConfig) { c.Secrets = nil },
		"empty secret":      func(c *authn.SessionsConfig) { c.Secrets = []secret.Value{{}} },
		"second one empty":  func(c *authn.SessionsConfig) { c.Secrets = append(c.Secrets, secret.Value{}) },
		"31 bytes":          func(c *authn.SessionsConfig) { c.Secrets = []secret.Value{secret.New(newSecret().Reveal()[1:])} },
		"a placeholder":     func(c *authn.SessionsConfig) { c.Secrets = []secret.Value{secret.New(repeated("0", 32))} },
		"no idle lifetime":  func(c *authn.SessionsConfig) { c.Idle = 0 },
		"no lifetime":       func(c *authn.SessionsConfig) { c.Max = 0 },
		"negative lifetime": func(c *authn.SessionsConfig) { c.Max = -1 },
		"negative refresh":  func(c *authn.SessionsConfig) { c.Refresh = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := authn.SessionsConfig{Secrets: []secret.Value{newSecret()}, Idle: time.Hour, Max: time.Hour, Refresh: time.Minute}
			alter(&cfg)
			s, err := authn.NewSessions(cfg)
			if err == nil || s != nil {
				t.Error("accepted")
			}
		})
	}
}
