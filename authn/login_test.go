package authn_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
	"amlproxy/internal/secret"
)

func TestLogin(t *testing.T) {
	for _, c := range []struct {
		name, client string
		options      siteOptions
	}{
		{"https", "web", siteOptions{}},
		{"http", "web", siteOptions{plain: true}},
		{"RS256", "web", siteOptions{provider: func(o *authntest.Options) { o.Algorithm = "RS256" }}},
		{"public client", "public", siteOptions{login: func(c *authn.LoginConfig) { c.ClientID, c.ClientSecret = "public", secret.Value{} }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, c.options)
			browser := s.browser(t)
			answer := s.signIn(t, browser, "alice", "/models/diabetes?x=1")
			if got := answer.Request.URL.String(); got != s.url+"/models/diabetes?x=1" {
				t.Fatalf("ended at %s", got)
			}
			id, _ := readIdentity(t, answer)
			if id == nil {
				t.Fatal(s.lastFailure(t))
			}
			if id.Session == "" || id.Expires.IsZero() {
				t.Errorf("session %q expires %v", id.Session, id.Expires)
			}
			want := &authn.Identity{
				Issuer: s.provider.Issuer(), Subject: "user-alice", Client: c.client, Name: "Alice Liddell", Username: "alice",
				Email: "alice@example.com", EmailVerified: true,
				Groups: []string{"ml-users", "ml-admins"}, Roles: []string{"Reader"},
				Method: authn.BySession, Session: id.Session, Time: id.Time, Expires: id.Expires,
			}
			if d := cmp.Diff(want, id); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLoginByFormPost(t *testing.T) {
	s := newSite(t, siteOptions{login: func(c *authn.LoginConfig) { c.FormPost = true }})
	w := httptest.NewRecorder()
	if err := s.login.Start(w, httptest.NewRequest(http.MethodGet, s.url+"/oauth2/start?rd=/deep", nil)); err != nil {
		t.Fatal(err)
	}
	to := must(url.Parse(w.Header().Get("Location")))(t)
	if got := to.Query().Get("response_mode"); got != "form_post" {
		t.Errorf("response_mode is %q", got)
	}
	for _, c := range w.Result().Cookies() {
		if c.SameSite != http.SameSiteNoneMode || !c.Secure {
			t.Errorf("a browser would not send %v with a POST from elsewhere", c)
		}
	}
	// The provider's page posts by script; here the test is the script.
	query := newSite(t, siteOptions{})
	browser := query.browser(t)
	back := query.callback(t, browser, "alice")
	answer := must(browser.PostForm(query.url+"/oauth2/callback", back.Query()))(t)
	id, code := readIdentity(t, answer)
	if id == nil || id.Subject != "user-alice" || answer.Request.URL.Path != "/deep" {
		t.Fatalf("answer %d at %s", code, answer.Request.URL)
	}
}

func TestAuthorizationRequest(t *testing.T) {
	s := newSite(t, siteOptions{})
	seen := map[string]bool{}
	for range 3 {
		w := httptest.NewRecorder()
		if err := s.login.Start(w, httptest.NewRequest(http.MethodGet, s.url+"/oauth2/start", nil)); err != nil {
			t.Fatal(err)
		}
		q := must(url.Parse(w.Header().Get("Location")))(t).Query()
		if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || q.Get("redirect_uri") != s.url+"/oauth2/callback" ||
			q.Get("response_type") != "code" || q.Get("client_id") != "web" || len(q.Get("state")) < 32 || len(q.Get("nonce")) < 22 {
			t.Errorf("asked for %v", q)
		}
		if w.Code != http.StatusSeeOther || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("answer %d %v", w.Code, w.Header())
		}
		for _, name := range []string{"state", "nonce", "code_challenge"} {
			if seen[q.Get(name)] {
				t.Errorf("%s used twice", name)
			}
			seen[q.Get(name)] = true
			if strings.Contains(strings.Join(w.Header()["Set-Cookie"], ""), q.Get(name)) {
				t.Errorf("%s is readable in the cookie", name)
			}
		}
	}
}

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

func TestCallbackTwiceSignsInOnce(t *testing.T) {
	s := newSite(t, siteOptions{})
	browser := s.browser(t)
	back := s.callback(t, browser, "alice")
	for i, want := range []int{http.StatusOK, http.StatusForbidden} {
		answer := must(browser.Get(back.String()))(t)
		if _, code := readIdentity(t, answer); code != want {
			t.Errorf("callback %d answered %d, want %d", i+1, code, want)
		}
	}
	if id, _ := s.whoAmI(t, browser); id == nil {
		t.Error("the second callback ended the session of the first")
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

// TestProviderDownKeepsCookies: the login goes on where it was when the provider is back.
func TestProviderDownKeepsCookies(t *testing.T) {
	for _, e := range []authntest.Endpoint{authntest.TokenEndpoint, authntest.Keys /* asked before the code is spent */} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, siteOptions{})
			browser := s.browser(t)
			back := s.callback(t, browser, "alice")
			undo := s.provider.Misbehave(authntest.Refuse(e))
			answer := must(browser.Get(back.String()))(t)
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusServiceUnavailable || len(answer.Header["Set-Cookie"]) > 0 {
				t.Errorf("answer %d, cookies %q", answer.StatusCode, answer.Header["Set-Cookie"])
			}
			wantError(t, s.lastFailure(t), authn.ErrUnavailable)
			undo()
			eventually(t, "the same callback works", func() bool {
				id, _ := readIdentity(t, must(browser.Get(back.String()))(t))
				return id != nil
			})
		})
	}
}

// TestDiscoveryDownAtStart: a provider that is down is found when it is back.
func TestDiscoveryDownAtStart(t *testing.T) {
	for name, fault := range map[string]authntest.Fault{
		"refused":      authntest.Refuse(authntest.Discovery),
		"500":          authntest.Status(authntest.Discovery, 500, ""),
		"other issuer": authntest.AlterJSON(authntest.Discovery, func(o map[string]any) { o["issuer"] = "https://evil.example" }),
		"2 MiB":        authntest.Body(authntest.Discovery, "application/json", []byte(repeated(" ", 2<<20))),
		"no endpoints": authntest.AlterJSON(authntest.Discovery, func(o map[string]any) { o["token_endpoint"] = "not an address" }),
		"redirect": authntest.Answer(authntest.Discovery, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, siteOptions{})
			undo := s.provider.Misbehave(fault)
			start := func() error {
				return s.login.Start(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/oauth2/start", nil))
			}
			for range 20 {
				e := wantError(t, start(), authn.ErrUnavailable)
				if len(e.Error()) > 700 {
					t.Errorf("an error of %d bytes", len(e.Error()))
				}
			}
			if n := s.provider.Calls(authntest.Discovery); n > 3 {
				t.Errorf("discovery asked %d times", n)
			}
			undo()
			eventually(t, "login works again", func() bool { return start() == nil })
		})
	}
}

// TestHungProviderHoldsNobodyElse: each caller waits on their own context, and a
// fetch that hangs does not keep those from working who need none.
func TestHungProviderHoldsNobodyElse(t *testing.T) {
	s := newSite(t, siteOptions{})
	signedIn := s.browser(t)
	s.signIn(t, signedIn, "alice", "/")

	other := newSite(t, siteOptions{})
	release := make(chan struct{})
	other.provider.Misbehave(authntest.Hold(authntest.Discovery, release))
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	start := func(ctx context.Context) error {
		return other.login.Start(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/oauth2/start", nil))
	}
	go func() { left <- start(ctx) }()
	eventually(t, "discovery is asked", func() bool { return other.provider.Calls(authntest.Discovery) == 1 })
	stays := make(chan error)
	go func() { stays <- start(t.Context()) }()
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left got %v", err)
	}
	close(release)
	if err := <-stays; err != nil {
		t.Errorf("who stayed shared the fate of who left: %v", err)
	}
	if n := other.provider.Calls(authntest.Discovery); n != 1 {
		t.Errorf("discovery asked %d times", n)
	}
}

// TestTabsRestoredAtOnce: each flow has its own cookie, all of them end in a session.
func TestTabsRestoredAtOnce(t *testing.T) {
	s := newSite(t, siteOptions{})
	browser := s.browser(t)
	var tabs []*url.URL
	for range 20 {
		tabs = append(tabs, s.callback(t, browser, "alice"))
	}
	for i, tab := range tabs {
		answer := must(browser.Get(tab.String()))(t)
		if id, code := readIdentity(t, answer); id == nil {
			t.Errorf("tab %d: answer %d: %v", i, code, s.lastFailure(t))
		}
	}
}

// TestStateExpires: what was asked for ten minutes ago is not answered.
func TestStateExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idp := newIssuer(t, "https://idp.example")
		l := must(authn.NewLogin(authn.LoginConfig{
			Issuer: authn.Issuer{URL: idp.url}, ClientID: "web", PublicURL: must(url.Parse(home))(t),
			Sessions: newSessions(t), Client: &http.Client{Transport: inMemory{idp}},
		}))(t)
		w := httptest.NewRecorder()
		if err := l.Start(w, httptest.NewRequest(http.MethodGet, "/oauth2/start", nil)); err != nil {
			t.Fatal(err)
		}
		state := must(url.Parse(w.Header().Get("Location")))(t).Query().Get("state")
		callback := func() string {
			r := httptest.NewRequest(http.MethodGet, "/oauth2/callback?error=access_denied&state="+state, nil)
			return wantError(t, l.Callback(httptest.NewRecorder(), carry(w.Header(), r)), authn.ErrForbidden).Detail
		}
		time.Sleep(10*time.Minute - time.Second)
		if got := callback(); !strings.Contains(got, "access_denied") {
			t.Errorf("early: %s", got)
		}
		time.Sleep(time.Second)
		if got := callback(); !strings.Contains(got, "10 minutes") {
			t.Errorf("late: %s", got)
		}
	})
}

func TestStateCookiesAreCapped(t *testing.T) {
	s := newSite(t, siteOptions{})
	browser := s.browser(t)
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for range 50 {
		_ = must(browser.Get(s.url + "/oauth2/start"))(t).Body.Close()
	}
	here := must(url.Parse(s.url))(t)
	if n := len(browser.Jar.Cookies(here)); n != 20 {
		t.Errorf("%d state cookies", n)
	}
	browser.Jar.SetCookies(here, []*http.Cookie{{Name: "__Host-amlproxy-state-0000000000000000", Value: "junk"}})
	_ = must(browser.Get(s.url + "/oauth2/start"))(t).Body.Close()
	for _, c := range browser.Jar.Cookies(here) {
		if c.Value == "junk" {
			t.Error("a state cookie that cannot be read was kept")
		}
	}
}

// TestConcurrentLoginsDoNotMix: state, nonce and verifier of one login must never
// be those of another (CVE-2026-33544).
func TestConcurrentLoginsDoNotMix(t *testing.T) {
	var users []authntest.User
	for i := range 30 {
		users = append(users, authntest.User{Name: fmt.Sprint("user", i), Password: "pw", Groups: []string{fmt.Sprint("group", i)}})
	}
	s := newSite(t, siteOptions{provider: func(o *authntest.Options) { o.Users = users }})
	var all sync.WaitGroup
	for i, u := range users {
		all.Go(func() {
			id, code := readIdentity(t, s.signIn(t, s.browser(t), u.Name, "/"))
			if id == nil {
				t.Errorf("answer %d", code)
			} else if id.Username != u.Name || !slices.Equal(id.Groups, []string{fmt.Sprint("group", i)}) {
				t.Errorf("%s is %s of %v", u.Name, id.Username, id.Groups)
			}
		})
	}
	all.Wait()
}

func TestSignOut(t *testing.T) {
	s := newSite(t, siteOptions{})
	browser := s.browser(t)
	s.signIn(t, browser, "alice", "/")
	answer := must(browser.Get(s.url + "/oauth2/sign_out?rd=/models/iris"))(t)
	_ = answer.Body.Close()
	at := answer.Request.URL
	if at.Path != "/oauth2/sign_in" || at.Query().Get("state") != "/models/iris" {
		t.Errorf("ended at %s", at)
	}
	if _, code := s.whoAmI(t, browser); code != http.StatusUnauthorized {
		t.Errorf("still signed in: %d", code)
	}
	if s.provider.Calls(authntest.EndSession) != 1 {
		t.Error("still signed in at the provider")
	}
}

func TestSignOutWithoutTheProvider(t *testing.T) {
	for name, fault := range map[string]authntest.Fault{
		"down":        authntest.Refuse(authntest.Discovery),
		"no endpoint": authntest.AlterJSON(authntest.Discovery, func(o map[string]any) { delete(o, "end_session_endpoint") }),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, siteOptions{})
			s.provider.Misbehave(fault)
			for rd, want := range map[string]string{"/models/iris": "/models/iris", "": "/oauth2/sign_in", "https://evil.example": "/oauth2/sign_in"} {
				w := httptest.NewRecorder()
				if err := s.login.SignOut(w, httptest.NewRequest(http.MethodGet, "/oauth2/sign_out?rd="+url.QueryEscape(rd), nil)); err != nil {
					t.Fatal(err)
				}
				if got := w.Header().Get("Location"); got != want {
					t.Errorf("rd %q ended at %q", rd, got)
				}
				// CVE-2025-55162: without Secure a browser would keep the __Host- cookie.
				if got := w.Header().Get("Set-Cookie"); got != "__Host-amlproxy=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax" {
					t.Errorf("cookie %q", got)
				}
			}
		})
	}
}

func TestNewLoginRefuses(t *testing.T) {
	sessions := must(authn.NewSessions(authn.SessionsConfig{Secrets: []secret.Value{newSecret()}, Secure: true, Idle: 1, Max: 1}))(t)
	good := authn.LoginConfig{
		Issuer: authn.Issuer{URL: "https://idp.example"}, ClientID: "web", PublicURL: must(url.Parse("https://models.example.com"))(t), Sessions: sessions,
	}
	if _, err := authn.NewLogin(good); err != nil {
		t.Fatal(err)
	}
	public := func(s string) func(*authn.LoginConfig) {
		return func(c *authn.LoginConfig) { c.PublicURL, _ = url.Parse(s) }
	}
	for name, alter := range map[string]func(*authn.LoginConfig){
		"no issuer":            func(c *authn.LoginConfig) { c.Issuer.URL = "" },
		"no scheme":            func(c *authn.LoginConfig) { c.Issuer.URL = "idp.example" },
		"every tenant":         func(c *authn.LoginConfig) { c.Issuer.URL = "https://login.microsoftonline.com/common/v2.0" },
		"empty tenant":         func(c *authn.LoginConfig) { c.Issuer.Tenants = []string{""} },
		"no client":            func(c *authn.LoginConfig) { c.ClientID = "" },
		"no sessions":          func(c *authn.LoginConfig) { c.Sessions = nil },
		"no public URL":        func(c *authn.LoginConfig) { c.PublicURL = nil },
		"public URL has path":  public("https://models.example.com/proxy"),
		"public URL is http":   public("http://models.example.com"),
		"return origin: path":  func(c *authn.LoginConfig) { c.ReturnOrigins = []string{"https://app.example.com/"} },
		"return origin: wild":  func(c *authn.LoginConfig) { c.ReturnOrigins = []string{"https://*.example.com"} },
		"return origin: host":  func(c *authn.LoginConfig) { c.ReturnOrigins = []string{"app.example.com"} },
		"return origin: empty": func(c *authn.LoginConfig) { c.ReturnOrigins = []string{""} },
		"return origin: case":  func(c *authn.LoginConfig) { c.ReturnOrigins = []string{"https://App.example.com"} },
		"return origin: user":  func(c *authn.LoginConfig) { c.ReturnOrigins = []string{"https://u@app.example.com"} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			alter(&cfg)
			if l, err := authn.NewLogin(cfg); err == nil || l != nil {
				t.Error("accepted")
			}
		})
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
