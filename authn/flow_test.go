package authn_test

import (
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

	"amlproxy/authn"
	"amlproxy/authn/authntest"
)

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
