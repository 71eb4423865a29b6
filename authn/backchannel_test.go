package authn_test

import (
	"crypto/rand"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
)

// claims are those of a logout token as it should be.
func (w *world) logoutClaims(alter map[string]any) map[string]any {
	c := map[string]any{
		"iss": w.provider.Issuer(), "aud": "web", "iat": time.Now().Unix(), "exp": time.Now().Add(2 * time.Minute).Unix(),
		"jti": rand.Text(), "sub": "user-alice",
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	maps.Copy(c, alter)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// logout sends a logout token to a replica.
func (w *world) logout(t testing.TB, s *site, token string) (*httptest.ResponseRecorder, error) {
	t.Helper()
	return post(s, url.Values{"logout_token": {token}}.Encode(), "application/x-www-form-urlencoded")
}

func post(s *site, body, kind string) (*httptest.ResponseRecorder, error) {
	r := httptest.NewRequest(http.MethodPost, "/oauth2/backchannel_logout", strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	answer := httptest.NewRecorder()
	return answer, s.login.BackchannelLogout(answer, r)
}

func (w *world) sign(t testing.TB, c map[string]any, more ...authntest.SignOption) string {
	t.Helper()
	return must(w.provider.Sign(c, append([]authntest.SignOption{authntest.WithHeader("typ", "logout+jwt")}, more...)...))(t)
}

func loggedOut(t testing.TB, answer *httptest.ResponseRecorder, err error) {
	t.Helper()
	if err != nil || answer.Code != http.StatusOK || answer.Header().Get("Cache-Control") != "no-store" || answer.Body.Len() > 0 {
		t.Fatalf("%v, %d %q %q", err, answer.Code, answer.Header(), answer.Body)
	}
}

func notLoggedOut(t testing.TB, answer *httptest.ResponseRecorder, err error) {
	t.Helper()
	e := wantError(t, err, authn.ErrInvalid)
	if !e.Malformed || e.Detail == "" || answer.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%+v, %v", e, answer.Header())
	}
}

// sid returns the provider's name of the session that a sign-in begins.
func (w *world) sidOf(t testing.TB) string {
	t.Helper()
	sid := ""
	undo := w.provider.Misbehave(authntest.AlterIDToken(func(t *authntest.Token) { sid, _ = t.Claims["sid"].(string) }))
	defer undo()
	w.signIn(t)
	if sid == "" {
		t.Fatal("the ID token has no sid")
	}
	return sid
}

func TestBackchannelLogoutBySubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s := w.replicas[0]
		w.signIn(t)
		one := w.cookies(t)
		w.browser = w.newBrowser(t)
		w.signIn(t)
		two := w.cookies(t)
		answer, err := w.logout(t, s, w.sign(t, w.logoutClaims(nil)))
		loggedOut(t, answer, err)
		for _, r := range []*http.Request{one, two} {
			wantError(t, ask(s.sessions, r, 1)()[0].err, authn.ErrInvalid)
		}
		time.Sleep(time.Millisecond)
		w.signIn(t) // who signs in again is signed in
		served(t, ask(s.sessions, w.cookies(t), 1)(), false)
	})
}

func TestBackchannelLogoutBySession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s := w.replicas[0]
		sid := w.sidOf(t)
		one := w.cookies(t)
		w.browser = w.newBrowser(t)
		if other := w.sidOf(t); other == sid {
			t.Fatal("one session for two browsers")
		}
		two := w.cookies(t)
		answer, err := w.logout(t, s, w.sign(t, w.logoutClaims(map[string]any{"sid": sid, "sub": nil})))
		loggedOut(t, answer, err)
		wantError(t, ask(s.sessions, one, 1)()[0].err, authn.ErrInvalid)
		served(t, ask(s.sessions, two, 1)(), false)
	})
}

// TestBackchannelLogoutReachesAllReplicas with Redis: F12, within a second.
func TestBackchannelLogoutReachesAllReplicas(t *testing.T) {
	for name, alter := range map[string]func(sid string) map[string]any{
		"by sub":         func(string) map[string]any { return nil },
		"by sid":         func(sid string) map[string]any { return map[string]any{"sid": sid, "sub": nil} },
		"by sid and sub": func(sid string) map[string]any { return map[string]any{"sid": sid} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2, startRedis(t).shared(t))
			sid := w.sidOf(t)
			r := w.cookies(t)
			served(t, ask(w.replicas[1].sessions, r, 1)(), false)
			token := w.sign(t, w.logoutClaims(alter(sid)))
			answer, err := w.logout(t, w.replicas[0], token)
			loggedOut(t, answer, err)
			for _, s := range w.replicas {
				wantError(t, ask(s.sessions, r, 1)()[0].err, authn.ErrInvalid)
			}
			answer, err = w.logout(t, w.replicas[1], token) // a replay at the other one
			notLoggedOut(t, answer, err)
		})
	}
}

// TestLogoutThatDidNotWorkMayComeAgain: a token that ended nothing is not used up,
// or the session would outlive the provider's second try.
func TestLogoutThatDidNotWorkMayComeAgain(t *testing.T) {
	db := startRedis(t)
	w := newWorld(t, 1, db.shared(t))
	s := w.replicas[0]
	w.signIn(t)
	r := w.cookies(t)
	token := w.sign(t, w.logoutClaims(nil))
	db.do(t, "REPLICAOF", "127.0.0.1", "1") // it can be read, and not written
	answer, err := w.logout(t, s, token)
	notLoggedOut(t, answer, err)
	db.do(t, "REPLICAOF", "NO", "ONE")
	served(t, ask(s.sessions, r, 1)(), false)
	answer, err = w.logout(t, s, token)
	loggedOut(t, answer, err)
	wantError(t, ask(s.sessions, r, 1)()[0].err, authn.ErrInvalid)
	answer, err = w.logout(t, s, token)
	notLoggedOut(t, answer, err)
}

// TestReplayedLogoutTokenIsRefused: it would sign out whoever signed in since.
func TestReplayedLogoutTokenIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s := w.replicas[0]
		token := w.sign(t, w.logoutClaims(map[string]any{"exp": time.Now().Add(24 * time.Hour).Unix()}))
		answer, err := w.logout(t, s, token)
		loggedOut(t, answer, err)
		time.Sleep(time.Millisecond)
		w.signIn(t)
		for range 30 {
			answer, err = w.logout(t, s, token)
			notLoggedOut(t, answer, err)
			time.Sleep(time.Minute)
		}
		served(t, ask(s.sessions, w.cookies(t), 1)(), true)
	})
}

// TestLogoutTokensThatAreNone: Back-Channel Logout 1.0 section 2.6.
func TestLogoutTokensThatAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s := w.replicas[0]
		w.signIn(t)
		r := w.cookies(t)
		now := time.Now()
		for name, alter := range map[string]map[string]any{
			"another issuer":      {"iss": "https://evil.example"},
			"no issuer":           {"iss": nil},
			"another client":      {"aud": "other"},
			"no audience":         {"aud": nil},
			"null among audience": {"aud": []any{nil, "web"}},
			"no iat":              {"iat": nil},
			"iat in the future":   {"iat": now.Add(10 * time.Minute).Unix(), "exp": now.Add(time.Hour).Unix()},
			"an old iat":          {"iat": now.Add(-time.Hour).Unix()},
			"no exp":              {"exp": nil},
			"expired":             {"iat": now.Add(-5 * time.Minute).Unix(), "exp": now.Add(-3 * time.Minute).Unix()},
			"no jti":              {"jti": nil},
			"a number as jti":     {"jti": 1},
			"no events":           {"events": nil},
			"other events":        {"events": map[string]any{"http://schemas.openid.net/secevent/risc": map[string]any{}}},
			"event no object":     {"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": true}},
			"events a list":       {"events": []any{"http://schemas.openid.net/event/backchannel-logout"}},
			"a nonce":             {"nonce": "n"},
			"an empty nonce":      {"nonce": ""},
			"nobody":              {"sub": nil},
			"sub no name":         {"sub": 1, "sid": "x"},
			"sid no name":         {"sid": []any{"x"}},
			"an imitation":        {"ISS": w.provider.Issuer()},
		} {
			answer, err := w.logout(t, s, w.sign(t, w.logoutClaims(alter)))
			if err == nil {
				t.Errorf("%s: %d", name, answer.Code)
				continue
			}
			notLoggedOut(t, answer, err)
		}
		good := w.logoutClaims(nil)
		forged := must(authntest.New(authntest.Options{Issuer: "http://127.0.0.1:1"}))(t)
		for name, token := range map[string]string{
			"an access token":   w.sign(t, good, authntest.WithHeader("typ", "at+jwt")),
			"no signature":      w.sign(t, good, authntest.Unsigned()),
			"a client's secret": w.sign(t, good, authntest.WithKey("HS256", []byte("web-secret-web-secret-web-secret"))),
			"another key":       must(forged.Sign(good, authntest.WithHeader("typ", "logout+jwt")))(t),
			"empty":             "", "no token": "x", "a JWE": "a.b.c.d.e",
		} {
			answer, err := w.logout(t, s, token)
			if err == nil {
				t.Errorf("%s: %d", name, answer.Code)
				continue
			}
			notLoggedOut(t, answer, err)
		}
		form, token := "application/x-www-form-urlencoded", w.sign(t, good)
		for name, body := range map[string][2]string{
			"nothing":        {"", form},
			"JSON":           {`{"logout_token":"` + token + `"}`, "application/json"},
			"no type":        {"logout_token=" + token, ""},
			"twice":          {"logout_token=" + token + "&logout_token=" + token, form},
			"malformed":      {"logout_token=%zz", form},
			"another name":   {"token=" + token, form},
			"a large one":    {"logout_token=" + strings.Repeat("a", 1<<20), form},
			"as a parameter": {"x=" + token, form},
		} {
			answer, err := post(s, body[0], body[1])
			if err == nil {
				t.Errorf("%s: %d", name, answer.Code)
				continue
			}
			notLoggedOut(t, answer, err)
		}
		served(t, ask(s.sessions, r, 1)(), false)
		for _, typ := range []any{"logout+jwt", "application/logout+jwt", "JWT", nil} { // section 2.4
			answer, err := w.logout(t, s, w.sign(t, w.logoutClaims(map[string]any{"jti": typ, "sub": "user-bob"}), authntest.WithHeader("typ", typ)))
			if typ == nil {
				answer, err = w.logout(t, s, w.sign(t, w.logoutClaims(map[string]any{"sub": "user-bob"}), authntest.WithHeader("typ", nil)))
			}
			loggedOut(t, answer, err)
		}
		served(t, ask(s.sessions, r, 1)(), false)
	})
}
