package authn_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
)

// A posted is the provider's answer as a browser brings it, cookies included, so
// that it can be brought again and at once.
type posted struct {
	method, address, body string
	cookies               []*http.Cookie
}

// answered lets alice sign in up to the point where her browser brings the answer.
func answered(t *testing.T, s *site, formPost bool) posted {
	t.Helper()
	browser := s.browser(t)
	here := must(url.Parse(s.url))(t)
	if !formPost {
		back := s.callback(t, browser, "alice")
		return posted{http.MethodGet, back.String(), "", browser.Jar.Cookies(here)}
	}
	var form url.Values
	s.provider.Misbehave(authntest.AlterResponse(func(q url.Values) { form = q }).Times(1))
	_ = s.signIn(t, browser, "alice", "/deep").Body.Close() // ends on the provider's page with the form
	return posted{http.MethodPost, s.url + "/oauth2/callback", form.Encode(), browser.Jar.Cookies(here)}
}

// bring sends it once. The site is called as a handler: a client would not send
// two requests of one browser at once over HTTP/1.1.
func (p posted) bring(ctx context.Context, s *site, cookies []*http.Cookie) *http.Response {
	r := httptest.NewRequestWithContext(ctx, p.method, p.address, strings.NewReader(p.body))
	if p.method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func sessionOf(answer *http.Response) string {
	for _, c := range answer.Cookies() {
		if c.Name == "__Host-amlproxy" {
			return c.Value
		}
	}
	return ""
}

// TestCallbackBroughtTwiceAtOnce: a double click, or a reload, while the code is
// being redeemed. It is redeemed once, and every copy is answered alike; another
// browser gets nothing of it, before, while or after.
func TestCallbackBroughtTwiceAtOnce(t *testing.T) {
	for name, formPost := range map[string]bool{"query": false, "form_post": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, siteOptions{login: func(c *authn.LoginConfig) { c.FormPost = formPost }})
			copies := answered(t, s, formPost)
			other := answered(t, s, formPost).cookies // of a browser with a login of its own on its way
			strangers := func(when string) {
				for who, cookies := range map[string][]*http.Cookie{"without cookies": nil, "with its own": other} {
					answer := copies.bring(t.Context(), s, cookies)
					again := formPost && strings.HasPrefix(answer.Header.Get("Location"), s.url+"/oauth2/callback?state=")
					if sessionOf(answer) != "" || answer.StatusCode != http.StatusForbidden && !again {
						t.Errorf("a browser %s, %s: %s", who, when, answer.Status)
					}
				}
			}
			strangers("before")
			release, calls := make(chan struct{}), s.provider.Calls(authntest.TokenEndpoint)
			undo := s.provider.Misbehave(authntest.Hold(authntest.TokenEndpoint, release))
			answers := make(chan *http.Response, 5)
			for range cap(answers) {
				go func() { answers <- copies.bring(context.WithoutCancel(t.Context()), s, copies.cookies) }()
			}
			eventually(t, "the code is redeemed", func() bool { return s.provider.Calls(authntest.TokenEndpoint) > calls })
			strangers("while")
			close(release)
			undo()
			var session string
			same := func(answer *http.Response) {
				t.Helper()
				if session == "" {
					session = sessionOf(answer)
				}
				if answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != "/deep" || sessionOf(answer) != session || session == "" {
					body, _ := io.ReadAll(answer.Body)
					t.Errorf("%s to %q: %s", answer.Status, answer.Header.Get("Location"), body)
				}
			}
			for range cap(answers) {
				same(<-answers)
			}
			same(copies.bring(t.Context(), s, copies.cookies)) // it was on its way for longer
			strangers("after")
			if got := s.provider.Calls(authntest.TokenEndpoint) - calls; got != 1 {
				t.Errorf("%d token calls", got)
			}
			if _, err := s.sessions.Authenticate(nil, request("Cookie", "__Host-amlproxy="+session)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBrowserThatLeavesLosesNoCode: the code is redeemed all the same, and who
// comes again with the answer is signed in (CVE-2026-48090: a token callback after
// its request was gone).
func TestBrowserThatLeavesLosesNoCode(t *testing.T) {
	s := newSite(t, siteOptions{})
	answer := answered(t, s, false)
	release, calls := make(chan struct{}), s.provider.Calls(authntest.TokenEndpoint)
	undo := s.provider.Misbehave(authntest.Hold(authntest.TokenEndpoint, release))
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan *http.Response, 1)
	go func() { gone <- answer.bring(ctx, s, answer.cookies) }()
	eventually(t, "the code is redeemed", func() bool { return s.provider.Calls(authntest.TokenEndpoint) > calls })
	leave()
	if got := <-gone; got.StatusCode != http.StatusServiceUnavailable || len(got.Cookies()) > 0 {
		t.Errorf("who left: %s", got.Status)
	}
	close(release)
	undo()
	if got := answer.bring(t.Context(), s, answer.cookies); got.StatusCode != http.StatusSeeOther || sessionOf(got) == "" {
		t.Errorf("who came again: %s", got.Status)
	}
	if got := s.provider.Calls(authntest.TokenEndpoint) - calls; got != 1 {
		t.Errorf("%d token calls", got)
	}
}

// TestCodeOutlivesWhatFailsBehindIt: userinfo, or the store of sessions. The code is
// worth nothing any more, and what it brought is kept for who tries again.
func TestCodeOutlivesWhatFailsBehindIt(t *testing.T) {
	db := startRedis(t)
	var undo []func()
	for name, c := range map[string]struct {
		sessions   func(*authn.SessionsConfig)
		begin, end func(s *site)
	}{
		"userinfo": {
			nil,
			func(s *site) {
				lacking := authntest.AlterIDToken(func(t *authntest.Token) { delete(t.Claims, "email") })
				undo = append(undo, s.provider.Misbehave(lacking), s.provider.Misbehave(authntest.Status(authntest.UserInfo, 500, "")))
			},
			func(*site) {
				for _, u := range undo {
					u()
				}
			},
		},
		"store": {db.shared(t), func(*site) { db.kill() }, func(*site) { db.start(t) }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, siteOptions{sessions: c.sessions})
			answer := answered(t, s, false)
			calls := s.provider.Calls(authntest.TokenEndpoint)
			c.begin(s)
			for range 2 {
				if got := answer.bring(t.Context(), s, answer.cookies); got.StatusCode != http.StatusServiceUnavailable || len(got.Cookies()) > 0 {
					t.Fatalf("in trouble: %s", got.Status)
				}
			}
			c.end(s)
			eventually(t, "signed in", func() bool {
				got := answer.bring(t.Context(), s, answer.cookies)
				if got.StatusCode != http.StatusSeeOther && got.StatusCode != http.StatusServiceUnavailable {
					t.Fatalf("afterwards: %s", got.Status)
				}
				return sessionOf(got) != ""
			})
			if got := s.provider.Calls(authntest.TokenEndpoint) - calls; got != 1 {
				t.Errorf("%d token calls", got)
			}
		})
	}
}

// panicking is a transport with a mistake in it, at one path.
type panicking struct {
	http.RoundTripper
	at *atomic.Value // "" for none
}

func (p panicking) RoundTrip(r *http.Request) (*http.Response, error) {
	if at, _ := p.at.Load().(string); at != "" && strings.Contains(r.URL.Path, at) {
		panic("a mistake at " + at)
	}
	return p.RoundTripper.RoundTrip(r)
}

// TestPanicWhileAskingTheProvider: F47. It is on no request's goroutine, so it would
// end the process; it is "cannot be found out now" for those who wait.
func TestPanicWhileAskingTheProvider(t *testing.T) {
	for _, at := range []string{"/.well-known/", "/keys", "/token"} {
		t.Run(at, func(t *testing.T) {
			var now atomic.Value
			s := newSite(t, siteOptions{login: func(c *authn.LoginConfig) {
				c.Client = &http.Client{Transport: panicking{http.DefaultTransport, &now}}
			}})
			if at != "/token" {
				now.Store(at)
				w := httptest.NewRecorder()
				err := s.login.Start(w, httptest.NewRequest(http.MethodGet, "/oauth2/start", nil))
				if at == "/.well-known/" {
					wantError(t, err, authn.ErrUnavailable)
					return
				}
			}
			answer := answered(t, s, false)
			now.Store(at)
			if got := answer.bring(t.Context(), s, answer.cookies); got.StatusCode != http.StatusServiceUnavailable {
				t.Fatal(got.Status)
			}
			wantError(t, s.lastFailure(t), authn.ErrUnavailable)
			now.Store("")
			eventually(t, "signed in", func() bool { return sessionOf(answer.bring(t.Context(), s, answer.cookies)) != "" })
		})
	}
}

// TestPanicWhileRenewingEndsNoSession: F47, F11.
func TestPanicWhileRenewingEndsNoSession(t *testing.T) {
	var now atomic.Value
	s := newSite(t, siteOptions{
		sessions: soon,
		login: func(c *authn.LoginConfig) {
			c.Scopes = append(c.Scopes, "offline_access")
			c.Client = &http.Client{Transport: panicking{http.DefaultTransport, &now}}
		},
	})
	browser := s.browser(t)
	s.signIn(t, browser, "alice", "/")
	begun := time.Now()
	eventually(t, "the claims are old", func() bool { return time.Since(begun) > 1100*time.Millisecond })
	now.Store("/token")
	if id, code := s.whoAmI(t, browser); id == nil {
		t.Errorf("%d: %v", code, s.lastFailure(t))
	}
}

// TestSignInsThatNobodyWaitsForAreBounded: whoever begins logins, brings made-up
// codes and hangs up leaves some behind at a provider that hangs, and no more.
func TestSignInsThatNobodyWaitsForAreBounded(t *testing.T) {
	w := newWorld(t, 1)
	s := w.replicas[0]
	w.signIn(t) // discovery and keys are there
	release, calls := make(chan struct{}), w.provider.Calls(authntest.TokenEndpoint)
	w.provider.Misbehave(authntest.Hold(authntest.TokenEndpoint, release))
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	bring := func() error {
		answer := httptest.NewRecorder()
		if err := s.login.Start(answer, httptest.NewRequest(http.MethodGet, "/oauth2/start", nil)); err != nil {
			t.Fatal(err)
		}
		state := must(url.Parse(answer.Header().Get("Location")))(t).Query().Get("state")
		q := url.Values{"state": {state}, "code": {"made-up"}, "iss": {w.provider.Issuer()}}
		r := httptest.NewRequestWithContext(gone, http.MethodGet, "/oauth2/callback?"+q.Encode(), nil)
		return s.login.Callback(httptest.NewRecorder(), carry(answer.Header(), r))
	}
	for range 600 {
		wantError(t, bring(), authn.ErrUnavailable)
	}
	eventually(t, "they ask", func() bool { return w.provider.Calls(authntest.TokenEndpoint)-calls == 500 })
	close(release)
	eventually(t, "they end", func() bool {
		err := bring()
		return w.provider.Calls(authntest.TokenEndpoint)-calls > 500 && errors.Is(err, authn.ErrUnavailable)
	})
}
