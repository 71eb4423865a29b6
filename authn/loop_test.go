package authn_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
	"amlproxy/internal/secret"
)

func text(t testing.TB, answer *http.Response) string {
	t.Helper()
	defer func() { _ = answer.Body.Close() }()
	return string(must(io.ReadAll(answer.Body))(t))
}

// forgetful is a browser that does not keep some cookies.
type forgetful struct {
	http.CookieJar
	drop func(*http.Cookie) bool
}

func (f forgetful) SetCookies(u *url.URL, all []*http.Cookie) {
	var kept []*http.Cookie
	for _, c := range all {
		if !f.drop(c) {
			kept = append(kept, c)
		}
	}
	f.CookieJar.SetCookies(u, kept)
}

// TestLoginLoopEnds: signing in works each time and the session is not there; the
// fourth time the browser is told what is wrong.
func TestLoginLoopEnds(t *testing.T) {
	s := newSite(t, siteOptions{})
	browser := s.browser(t)
	lost := true
	browser.Jar = forgetful{must(cookiejar.New(nil))(t), func(c *http.Cookie) bool { return lost && c.Name == "__Host-amlproxy" }}
	for i := range 3 {
		answer := s.signIn(t, browser, "alice", "/deep")
		if answer.StatusCode != http.StatusUnauthorized || answer.Request.URL.Path != "/deep" {
			t.Fatalf("round %d ended with %d at %s", i+1, answer.StatusCode, answer.Request.URL)
		}
	}
	answer := s.signIn(t, browser, "alice", "/deep")
	e := wantError(t, s.lastFailure(t), authn.ErrForbidden)
	if answer.StatusCode != http.StatusForbidden || !errors.Is(e, authn.ErrLoop) || !strings.Contains(e.Detail, "allow cookies for "+s.url) {
		t.Fatalf("answer %d: %v", answer.StatusCode, e)
	}
	lost = false
	if id, code := readIdentity(t, s.signIn(t, browser, "alice", "/deep")); id == nil {
		t.Errorf("trying again: %d", code)
	}
}

// TestLoginLoopOfReplicas: what one seals another cannot read.
func TestLoginLoopOfReplicas(t *testing.T) {
	s := newSite(t, siteOptions{})
	browser := s.browser(t)
	here := must(url.Parse(s.url))(t)
	for range 3 {
		s.signIn(t, browser, "alice", "/deep")
		for _, c := range browser.Jar.Cookies(here) {
			if c.Name == "__Host-amlproxy" {
				browser.Jar.SetCookies(here, []*http.Cookie{{Name: c.Name, Value: "1" + repeated("A", 300), Path: "/", Secure: true}})
			}
		}
	}
	s.signIn(t, browser, "alice", "/deep")
	if e := wantError(t, s.lastFailure(t), authn.ErrForbidden); !errors.Is(e, authn.ErrLoop) || !strings.Contains(e.Detail, "clocks") {
		t.Error(e)
	}
}

// TestLoginLoopOfAnotherOrigin: the session is there, and the page cannot use it.
func TestLoginLoopOfAnotherOrigin(t *testing.T) {
	s := newSite(t, siteOptions{})
	browser := s.browser(t)
	browser.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host == "app.example.com" {
			return http.ErrUseLastResponse
		}
		return nil
	}
	for range 3 {
		s.signIn(t, browser, "alice", "https://app.example.com/")
	}
	s.signIn(t, browser, "alice", "https://app.example.com/")
	if e := wantError(t, s.lastFailure(t), authn.ErrForbidden); !errors.Is(e, authn.ErrLoop) || !strings.Contains(e.Detail, "bearer token") {
		t.Error(e)
	}
	if answer := s.signIn(t, browser, "alice", "/deep"); answer.StatusCode != http.StatusOK {
		t.Errorf("its own pages: %d", answer.StatusCode)
	}
}

// TestManyLoginsAreNoLoop: tabs at once and one after the other, with the session there.
func TestManyLoginsAreNoLoop(t *testing.T) {
	s := newSite(t, siteOptions{})
	browser := s.browser(t)
	s.signIn(t, browser, "alice", "/deep")
	var tabs sync.WaitGroup
	for range 20 {
		tabs.Go(func() {
			if answer := s.signIn(t, browser, "alice", "/deep"); answer.StatusCode != http.StatusOK {
				t.Errorf("answer %d", answer.StatusCode)
			}
		})
	}
	tabs.Wait()
	for range 5 {
		if answer := s.signIn(t, browser, "alice", "/deep"); answer.StatusCode != http.StatusOK {
			t.Errorf("answer %d", answer.StatusCode)
		}
		_ = must(browser.Get(s.url + "/oauth2/sign_out"))(t).Body.Close()
	}
}

// TestStateCookiesAreCleanedUp: after a login none is left but the one that is
// over in half a minute.
func TestStateCookiesAreCleanedUp(t *testing.T) {
	s := newSite(t, siteOptions{})
	browser := s.browser(t)
	var tabs []*url.URL
	for range 20 {
		tabs = append(tabs, s.callback(t, browser, "alice"))
	}
	here := must(url.Parse(s.url))(t)
	count := 0
	for _, c := range browser.Jar.Cookies(here) {
		if strings.HasPrefix(c.Name, "__Host-amlproxy-state-") {
			count++
		}
	}
	if count != 20 {
		t.Errorf("%d state cookies of 20 tabs", count)
	}
	for _, tab := range tabs {
		_ = must(browser.Get(tab.String()))(t).Body.Close()
	}
	for _, c := range browser.Jar.Cookies(here) {
		if strings.HasPrefix(c.Name, "__Host-") && c.Name != "__Host-amlproxy" && c.Name != "__Host-amlproxy-last" {
			t.Errorf("%s is left", c.Name)
		}
	}
}

// TestPostedAnswerAgain: a browser that loads the answer of a form_post twice sends
// no cookie that is Lax with the POST, and all of them with a GET.
func TestPostedAnswerAgain(t *testing.T) {
	s := newSite(t, siteOptions{login: func(c *authn.LoginConfig) { c.FormPost = true }})
	browser := s.browser(t)
	var posted url.Values
	s.provider.Misbehave(authntest.AlterResponse(func(q url.Values) { posted = q }))
	_ = s.enter(t, browser).Body.Close()
	bare := s.browser(t)
	bare.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer := must(bare.PostForm(s.url+"/oauth2/callback", posted))(t)
	_ = answer.Body.Close()
	to := answer.Header.Get("Location")
	if answer.StatusCode != http.StatusSeeOther || to != s.url+"/oauth2/callback?state="+posted.Get("state") {
		t.Fatalf("answer %d to %s", answer.StatusCode, to)
	}
	if id, code := readIdentity(t, must(browser.Get(to))(t)); id == nil {
		t.Errorf("with the cookies: %d", code)
	}
	if _, code := readIdentity(t, must(s.browser(t).Get(to))(t)); code != http.StatusForbidden {
		t.Errorf("without: %d", code)
	}
}

// TestStateCookiesLeaveRoom: twenty logins fit into a header that servers take,
// whatever they are to return to, and the last one always works.
func TestStateCookiesLeaveRoom(t *testing.T) {
	for name, c := range map[string]struct {
		path     string
		least    int
		together int
	}{
		"usual": {"/models/diabetes/swagger.json?tab=1", 20, 5 << 10},
		"long":  {"/" + repeated("a", 1900), 3, 16 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, siteOptions{})
			browser := s.browser(t)
			var back *url.URL
			for range 20 {
				back = s.follow(t, browser, s.url+"/oauth2/start?rd="+url.QueryEscape(c.path), "alice")
			}
			count, size := 0, 0
			for _, cookie := range browser.Jar.Cookies(must(url.Parse(s.url))(t)) {
				if strings.HasPrefix(cookie.Name, "__Host-") {
					count, size = count+1, size+len(cookie.Name)+len(cookie.Value)+3
				}
			}
			if count < c.least || size > c.together {
				t.Errorf("%d cookies of %d bytes", count, size)
			}
			if id, code := readIdentity(t, must(browser.Get(back.String()))(t)); id == nil {
				t.Errorf("the last one: %d", code)
			}
		})
	}
}

// TestSignInPageClearsABrokenSession, and leaves one that is whole.
func TestSignInPageClearsABrokenSession(t *testing.T) {
	s := newSite(t, siteOptions{})
	browser := s.browser(t)
	s.signIn(t, browser, "alice", "/")
	here := must(url.Parse(s.url))(t)
	_ = must(browser.Get(s.url + "/oauth2/sign_in"))(t).Body.Close()
	if id, _ := s.whoAmI(t, browser); id == nil {
		t.Fatal("a session that is whole was ended")
	}
	browser.Jar.SetCookies(here, []*http.Cookie{{Name: "__Host-amlproxy", Value: "junk", Path: "/", Secure: true}})
	_ = must(browser.Get(s.url + "/oauth2/sign_in"))(t).Body.Close()
	for _, c := range browser.Jar.Cookies(here) {
		if c.Name == "__Host-amlproxy" {
			t.Errorf("%s=%s is left", c.Name, c.Value)
		}
	}
}

// TestLoginParameters: what goes to the provider, what is refused, and what the
// ID token has to show for it.
func TestLoginParameters(t *testing.T) {
	s := newSite(t, siteOptions{login: func(c *authn.LoginConfig) {
		c.Parameters = map[string]string{"domain_hint": "example.com"}
		c.StartParameters = []string{"prompt", "login_hint", "acr_values", "max_age"}
	}})
	browser := s.browser(t)
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for query, want := range map[string]int{
		"prompt=login": 303, "prompt=login+consent": 303, "max_age=0": 303, "login_hint=a%40b": 303, "acr_values=a+b": 303, "utm=1": 303,
		"prompt=none+login": 400, "prompt=now": 400, "prompt=": 400, "max_age=-1": 400, "max_age=01": 400, "max_age=1e9": 400,
		"login_hint=a%0ab": 400, "acr_values=%C3%A9": 400, "prompt=login&prompt=none": 400, "domain_hint=evil.example": 400,
	} {
		answer := must(browser.Get(s.url + "/oauth2/start?" + query))(t)
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %d, want %d", query, answer.StatusCode, want)
		}
		if want != 303 {
			continue
		}
		sent := must(url.Parse(answer.Header.Get("Location")))(t).Query()
		if sent.Get("domain_hint") != "example.com" || sent.Has("utm") {
			t.Errorf("%s: sent %v", query, sent)
		}
		for name, values := range must(url.ParseQuery(query))(t) {
			if name != "utm" && sent.Get(name) != values[0] {
				t.Errorf("%s: sent %v", query, sent)
			}
		}
	}
}

// TestLoginIsHeldToMaxAgeAndACR: whoever takes them out of the address on its way
// through the browser is not signed in by what is left.
func TestLoginIsHeldToMaxAgeAndACR(t *testing.T) {
	for name, c := range map[string]struct {
		fixed map[string]string
		alter func(map[string]any)
		want  int
	}{
		"fresh":        {map[string]string{"max_age": "60"}, func(map[string]any) {}, 200},
		"stale":        {map[string]string{"max_age": "60"}, func(c map[string]any) { c["auth_time"] = 1000000000 }, 403},
		"no auth_time": {map[string]string{"max_age": "60"}, func(c map[string]any) { delete(c, "auth_time") }, 403},
		"in future":    {map[string]string{"max_age": "60"}, func(c map[string]any) { c["auth_time"] = 4000000000 }, 403},
		"acr":          {map[string]string{"acr_values": "mfa phr"}, func(c map[string]any) { c["acr"] = "phr" }, 200},
		"other acr":    {map[string]string{"acr_values": "mfa phr"}, func(c map[string]any) { c["acr"] = "pwd" }, 403},
		"no acr":       {map[string]string{"acr_values": "mfa"}, func(c map[string]any) { delete(c, "acr") }, 403},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, siteOptions{login: func(l *authn.LoginConfig) { l.Parameters = c.fixed }})
			s.provider.Misbehave(authntest.AlterIDToken(func(t *authntest.Token) { c.alter(t.Claims) }))
			if got := s.signIn(t, s.browser(t), "alice", "/").StatusCode; got != c.want {
				t.Errorf("answer %d, want %d", got, c.want)
			}
		})
	}
}

// TestSecretMethods: how the secret travels.
func TestSecretMethods(t *testing.T) {
	for method, basic := range map[string]bool{authn.SecretBasic: true, authn.SecretPost: false} {
		s := newSite(t, siteOptions{
			provider: func(o *authntest.Options) { o.Clients[0].Secret = "a+b/c%20:ä" },
			login: func(c *authn.LoginConfig) {
				c.SecretMethod, c.ClientSecret = method, secret.New("a+b/c%20:ä")
			},
		})
		sent := tokenRequests(s)
		if id, _ := readIdentity(t, s.signIn(t, s.browser(t), "alice", "/")); id == nil {
			t.Fatal(s.lastFailure(t))
		}
		if r := (*sent)[0]; (r.header.Get("Authorization") != "") != basic || r.form.Has("client_secret") == basic {
			t.Errorf("%s: sent %v", method, r)
		}
	}
}
