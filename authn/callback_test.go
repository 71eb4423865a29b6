package authn_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
)

// TestLoginCSRF: an attacker sends their own callback address to a victim, whose
// browser holds no state cookie for it, or another flow's.
func TestLoginCSRF(t *testing.T) {
	s := newSite(t, siteOptions{})
	attacker, victim := s.browser(t), s.browser(t)
	s.callback(t, victim, "bob") // leaves a state cookie of the victim's own
	planted := s.callback(t, attacker, "alice")
	answer := must(victim.Get(planted.String()))(t)
	if id, code := readIdentity(t, answer); code != http.StatusForbidden {
		t.Fatalf("answer %d, identity %v", code, id)
	}
	wantError(t, s.lastFailure(t), authn.ErrForbidden)
	if len(answer.Header["Set-Cookie"]) > 0 {
		t.Errorf("set %q", answer.Header["Set-Cookie"])
	}
	if s.provider.Calls(authntest.TokenEndpoint) > 0 {
		t.Error("a code was redeemed")
	}
}

// TestCallbackTwiceSignsInOnce: a double click, a reload or the back button finds
// the session that is there, and only for as long as it is.
func TestCallbackTwiceSignsInOnce(t *testing.T) {
	s := newSite(t, siteOptions{})
	browser := s.browser(t)
	back := s.callback(t, browser, "alice")
	var sessions []string
	for range 2 {
		answer := must(browser.Get(back.String()))(t)
		id, code := readIdentity(t, answer)
		if id == nil || answer.Request.URL.Path != "/deep" {
			t.Fatalf("answer %d at %s", code, answer.Request.URL)
		}
		sessions = append(sessions, id.Session)
	}
	if sessions[0] != sessions[1] || s.provider.Calls(authntest.TokenEndpoint) != 1 {
		t.Errorf("sessions %v, %d codes redeemed", sessions, s.provider.Calls(authntest.TokenEndpoint))
	}
	stranger := s.browser(t)
	if _, code := readIdentity(t, must(stranger.Get(back.String()))(t)); code != http.StatusForbidden {
		t.Errorf("another browser got %d", code)
	}
	_ = must(browser.Get(s.url + "/oauth2/sign_out"))(t).Body.Close()
	if _, code := readIdentity(t, must(browser.Get(back.String()))(t)); code != http.StatusForbidden {
		t.Errorf("after the sign-out: %d", code)
	}
}

// TestResponseIsRefused alters what the provider sends back through the browser.
func TestResponseIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		alter  func(q url.Values)
		status int
	}{
		{"mix-up: iss of another provider", func(q url.Values) { q.Set("iss", "https://evil.example") }, 403},
		{"iss empty", func(q url.Values) { q.Set("iss", "") }, 403},
		{"iss missing though promised", func(q url.Values) { q.Del("iss") }, 403},
		{"state missing", func(q url.Values) { q.Del("state") }, 400},
		{"state empty", func(q url.Values) { q.Set("state", "") }, 400},
		{"state as an array", func(q url.Values) { q["state[]"] = q["state"]; q.Del("state") }, 400},
		{"state twice", func(q url.Values) { q.Add("state", q.Get("state")) }, 400},
		{"state of nobody", func(q url.Values) { q.Set("state", "A") }, 403},
		{"code twice", func(q url.Values) { q.Add("code", "other") }, 400},
		{"code missing", func(q url.Values) { q.Del("code") }, 403},
		{"code of nobody", func(q url.Values) { q.Set("code", "made-up") }, 403},
		{"error twice", func(q url.Values) { q["error"] = []string{"a", "b"} }, 400},
		{"error besides a code", func(q url.Values) { q.Set("error", "access_denied") }, 403},
		{"the provider is overloaded", func(q url.Values) { q.Set("error", "temporarily_unavailable") }, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, siteOptions{})
			browser := s.browser(t)
			back := s.callback(t, browser, "alice")
			q := back.Query()
			c.alter(q)
			back.RawQuery = q.Encode()
			answer := must(browser.Get(back.String()))(t)
			if _, code := readIdentity(t, answer); code != c.status {
				t.Errorf("answer %d, want %d: %v", code, c.status, s.lastFailure(t))
			}
			if _, code := s.whoAmI(t, browser); code != http.StatusUnauthorized {
				t.Errorf("there is a session: %d", code)
			}
		})
	}
}

func TestMalformedCallbacks(t *testing.T) {
	s := newSite(t, siteOptions{})
	post := func(contentType, body string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/oauth2/callback?state=query&code=query", strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		return r
	}
	for name, r := range map[string]*http.Request{
		"no query":                httptest.NewRequest(http.MethodGet, "/oauth2/callback", nil),
		"bad escape":              httptest.NewRequest(http.MethodGet, "/oauth2/callback?state=%zz", nil),
		"semicolon":               httptest.NewRequest(http.MethodGet, "/oauth2/callback?state=a;code=b", nil),
		"post without a type":     post("", "state=a"),
		"post of JSON":            post("application/json", `{"state":"a"}`),
		"post, parameters in URL": post("application/x-www-form-urlencoded", ""),
		"post of 1 MiB":           post("application/x-www-form-urlencoded", "state="+repeated("a", 1<<20)),
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if e := wantError(t, s.login.Callback(w, r), authn.ErrInvalid); !e.Malformed || e.Bearer {
				t.Errorf("%+v", e)
			}
			if w.Body.Len() > 0 || len(w.Header()) > 0 {
				t.Errorf("wrote %v", w.Header())
			}
		})
	}
}

// TestProviderTextIsLabelledAndClipped: who makes up an answer chooses its text.
func TestProviderTextIsLabelledAndClipped(t *testing.T) {
	s := newSite(t, siteOptions{})
	browser := s.browser(t)
	back := s.callback(t, browser, "alice")
	q := back.Query()
	q.Set("error", "access_denied\r\nSet-Cookie: a=b")
	q.Set("error_description", "call 555\u2028"+repeated("x", 5000))
	back.RawQuery = q.Encode()
	_ = must(browser.Get(back.String()))(t).Body.Close()
	e := wantError(t, s.lastFailure(t), authn.ErrForbidden)
	if !strings.HasPrefix(e.Detail, "the identity provider answered: access_denied") || len(e.Detail) > 350 ||
		strings.ContainsFunc(e.Detail, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("detail %q", e.Detail)
	}
}

func TestIDTokenIsRefused(t *testing.T) {
	for name, alter := range map[string]func(*authntest.Token){
		"issuer of another provider":     func(t *authntest.Token) { t.Claims["iss"] = "https://evil.example" },
		"audience of another client":     func(t *authntest.Token) { t.Claims["aud"] = "other" },
		"audience null":                  func(t *authntest.Token) { t.Claims["aud"] = []any{nil} },
		"audience missing":               func(t *authntest.Token) { delete(t.Claims, "aud") },
		"authorized party another":       func(t *authntest.Token) { t.Claims["azp"] = "other" },
		"several audiences and no party": func(t *authntest.Token) { t.Claims["aud"] = []string{"web", "x"}; delete(t.Claims, "azp") },
		"expired":                        func(t *authntest.Token) { t.Claims["exp"] = 1000000000 },
		"no expiry":                      func(t *authntest.Token) { delete(t.Claims, "exp") },
		"expiry beyond all time":         func(t *authntest.Token) { t.Claims["exp"] = 1e300 },
		"expiry as text":                 func(t *authntest.Token) { t.Claims["exp"] = "4000000000" },
		"no iat":                         func(t *authntest.Token) { delete(t.Claims, "iat") },
		"issued in the future":           func(t *authntest.Token) { t.Claims["iat"] = 4000000000 },
		"nonce of another login":         func(t *authntest.Token) { t.Claims["nonce"] = "other" },
		"no nonce":                       func(t *authntest.Token) { delete(t.Claims, "nonce") },
		"at_hash of another token":       func(t *authntest.Token) { t.Claims["at_hash"] = "AAAAAAAAAAAAAAAAAAAAAA" },
		"at_hash not a string":           func(t *authntest.Token) { t.Claims["at_hash"] = 7 },
		"no subject":                     func(t *authntest.Token) { delete(t.Claims, "sub") },
		"empty subject":                  func(t *authntest.Token) { t.Claims["sub"] = "" },
		"alg none":                       func(t *authntest.Token) { t.Header["alg"] = "none" },
		"alg nOnE":                       func(t *authntest.Token) { t.Header["alg"] = "nOnE" },
		"logout token":                   func(t *authntest.Token) { t.Header["typ"] = "logout+jwt" },
		"HMAC with the client secret": func(t *authntest.Token) {
			t.Header["alg"], t.Key = "HS256", []byte(repeated("web-secret", 4))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, siteOptions{})
			s.provider.Misbehave(authntest.AlterIDToken(alter))
			browser := s.browser(t)
			answer := s.signIn(t, browser, "alice", "/")
			if answer.StatusCode != http.StatusForbidden {
				t.Fatalf("answer %d at %s", answer.StatusCode, answer.Request.URL)
			}
			e := wantError(t, s.lastFailure(t), authn.ErrForbidden)
			if !strings.Contains(e.Detail, "ID token") {
				t.Errorf("detail %q", e.Detail)
			}
			if _, code := s.whoAmI(t, browser); code != http.StatusUnauthorized {
				t.Errorf("there is a session: %d", code)
			}
		})
	}
}

func TestUserinfoFillsGaps(t *testing.T) {
	lacking := func(names ...string) authntest.Fault {
		return authntest.AlterIDToken(func(t *authntest.Token) {
			for _, name := range names {
				delete(t.Claims, name)
			}
		})
	}
	s := newSite(t, siteOptions{login: func(c *authn.LoginConfig) {
		c.KeepGroups = func(g string) bool { return g == "ml-admins" }
	}})
	undo := s.provider.Misbehave(lacking("email", "email_verified", "groups", "name"))
	id, _ := readIdentity(t, s.signIn(t, s.browser(t), "alice", "/"))
	undo()
	if id == nil {
		t.Fatal(s.lastFailure(t))
	}
	if id.Email != "alice@example.com" || !id.EmailVerified || id.Name != "Alice Liddell" || !slices.Equal(id.Groups, []string{"ml-admins"}) {
		t.Errorf("%+v", id)
	}
	calls := s.provider.Calls(authntest.UserInfo)
	s.signIn(t, s.browser(t), "alice", "/")
	if got := s.provider.Calls(authntest.UserInfo); got != calls {
		t.Error("userinfo asked although nothing was missing")
	}

	for _, c := range []struct {
		name  string
		fault authntest.Fault
		want  int
	}{
		{"sub of somebody else", authntest.AlterJSON(authntest.UserInfo, func(o map[string]any) { o["sub"] = "user-bob" }), 403},
		{"no sub", authntest.AlterJSON(authntest.UserInfo, func(o map[string]any) { delete(o, "sub") }), 403},
		{"an array", authntest.Body(authntest.UserInfo, "application/json", []byte(`[{"sub":"user-alice"}]`)), 403},
		{"sub twice", authntest.Body(authntest.UserInfo, "application/json", []byte(`{"sub":"x","sub":"user-alice"}`)), 403},
		{"Sub", authntest.Body(authntest.UserInfo, "application/json", []byte(`{"Sub":"x","sub":"user-alice"}`)), 403},
		{"deep", authntest.Body(authntest.UserInfo, "application/json", []byte(`{"sub":"user-alice","a":`+repeated("[", 9000)+repeated("]", 9000)+`}`)), 403},
		{"down", authntest.Refuse(authntest.UserInfo), 503},
		{"500", authntest.Status(authntest.UserInfo, 500, ""), 503},
		{"2 MiB", authntest.Body(authntest.UserInfo, "application/json", []byte(`{"sub":"user-alice","a":"`+repeated("a", 2<<20)+`"}`)), 503},
		{"not for this client", authntest.Status(authntest.UserInfo, 403, ""), 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer s.provider.Misbehave(lacking("groups"))()
			defer s.provider.Misbehave(c.fault)()
			if got := s.signIn(t, s.browser(t), "alice", "/").StatusCode; got != c.want {
				t.Errorf("answer %d, want %d: %v", got, c.want, s.lastFailure(t))
			}
		})
	}
}

// TestUserinfoDoesNotVouchForTheIDTokensEmail: the address of one source and the
// email_verified of another do not make a verified address.
func TestUserinfoDoesNotVouchForTheIDTokensEmail(t *testing.T) {
	s := newSite(t, siteOptions{})
	s.provider.Misbehave(authntest.AlterIDToken(func(t *authntest.Token) {
		t.Claims["email"] = "ceo@example.com"
		delete(t.Claims, "email_verified")
		delete(t.Claims, "groups")
	}))
	id, _ := readIdentity(t, s.signIn(t, s.browser(t), "alice", "/"))
	if id == nil || id.Email != "ceo@example.com" || id.EmailVerified {
		t.Errorf("%+v", id)
	}
}

// TestErrorsHoldNoSecrets: they go to logs and pages.
func TestErrorsHoldNoSecrets(t *testing.T) {
	s := newSite(t, siteOptions{})
	s.provider.Misbehave(authntest.Answer(authntest.TokenEndpoint, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		_, secret, _ := r.BasicAuth()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"error":"invalid_request","echo":%q}`, secret+r.Form.Encode())
	}))
	browser := s.browser(t)
	back := s.callback(t, browser, "alice")
	_ = must(browser.Get(back.String()))(t).Body.Close()
	said := s.lastFailure(t).Error()
	token := sign(t, s.provider, with(accessClaims(s.provider), "aud", "other"))
	_, err := authenticate(s.bearer, token)
	said += err.Error()
	for name, value := range map[string]string{
		"client secret": "web-secret", "code": back.Query().Get("code"), "state": back.Query().Get("state"), "token": token[:40], "signature": token[len(token)-40:],
	} {
		if strings.Contains(said, value) {
			t.Errorf("%s in %s", name, said)
		}
	}
}
