package authntest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"amlproxy/authn/authntest"
)

func TestLoginPage(t *testing.T) {
	p := newParty(t, func(o *authntest.Options) {
		o.Title, o.Notes = "Sign in to <Models>", []string{"alice / wonderland"}
	})
	r, err := p.browser.Get(p.oauth2.AuthCodeURL("s", oauth2.SetAuthURLParam("login_hint", `al"ice`)))
	if err != nil {
		t.Fatal(err)
	}
	text := body(t, r)
	for _, want := range []string{
		`<label for="username">`, `<label for="password">`, `name="username" value="al&#34;ice"`, `type="password"`,
		"Sign in to &lt;Models&gt;", "alice / wonderland", `name="viewport"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(text, "<script") {
		t.Error("the page needs JavaScript")
	}
	wantSafePage(t, r)
}

func wantSafePage(t *testing.T, r *http.Response) {
	t.Helper()
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Referrer-Policy": "same-origin", "Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	policy := r.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "style-src 'sha256-"} {
		if !strings.Contains(policy, want) {
			t.Errorf("Content-Security-Policy %q lacks %s", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("Content-Security-Policy is %q", policy)
	}
}

func TestWrongPasswordShowsTheFormAgain(t *testing.T) {
	p := newParty(t)
	for _, c := range []struct{ name, username, password string }{
		{"wrong password", "alice", "Wonderland"},
		{"empty password", "alice", ""},
		{"unknown name", "mallory", "wonderland"},
		{"unknown name, no password", "mallory", ""},
		{"another's password", "alice", "apple"},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := authntest.SignIn(t.Context(), p.browser, p.oauth2.AuthCodeURL("s"), c.username, c.password)
			if err != nil {
				t.Fatal(err)
			}
			text := body(t, r)
			if r.StatusCode != http.StatusForbidden || !strings.Contains(text, `role="alert"`) || len(p.callbacks) != 0 {
				t.Errorf("%s: %s", r.Status, text)
			}
			if c.password != "" && strings.Contains(text, c.password) {
				t.Error("the page shows the password")
			}
			wantSafePage(t, r)
			// The same form, filled in properly, works.
			again, err := p.browser.PostForm(r.Request.URL.String(), url.Values{"username": {"alice"}, "password": {"wonderland"}})
			if err != nil {
				t.Fatal(err)
			}
			body(t, again)
			if response := <-p.callbacks; !response.Has("code") {
				t.Errorf("response is %v", response)
			}
			p.browser = newBrowser(t)
		})
	}
}

// A page of an attacker that signs the victim in as the attacker.
func TestLoginFormOfAnotherSiteIsRefused(t *testing.T) {
	p := newParty(t)
	form, err := p.browser.Get(p.oauth2.AuthCodeURL("s"))
	if err != nil {
		t.Fatal(err)
	}
	body(t, form)
	for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, form.Request.URL.String(), strings.NewReader("username=eve&password=apple"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set(name, value)
		answer, err := p.browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body(t, answer)
		if answer.StatusCode != http.StatusForbidden || len(answer.Cookies()) != 0 || len(p.callbacks) != 0 {
			t.Errorf("%s: %s, %v", name, answer.Status, answer.Cookies())
		}
	}
}

func TestSecondLoginDoesNotAskAgain(t *testing.T) {
	p := newParty(t)
	p.signIn(t)
	for _, c := range []struct {
		name    string
		options []oauth2.AuthCodeOption
		asks    bool
	}{
		{"plain", nil, false},
		{"prompt none", []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("prompt", "none")}, false},
		{"max_age an hour", []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("max_age", "3600")}, false},
		{"prompt login", []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("prompt", "login")}, true},
		{"prompt select_account", []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("prompt", "select_account")}, true},
		{"max_age nothing", []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("max_age", "0")}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := p.browser.Get(p.oauth2.AuthCodeURL("s", c.options...))
			if err != nil {
				t.Fatal(err)
			}
			asked := strings.Contains(body(t, r), `name="password"`)
			if asked != c.asks {
				t.Errorf("asked for the password: %v, want %v", asked, c.asks)
			}
			if !asked && !(<-p.callbacks).Has("code") {
				t.Error("no code")
			}
		})
	}
}

func TestPromptNoneWithoutASession(t *testing.T) {
	p := newParty(t)
	response := p.signIn(t, oauth2.SetAuthURLParam("prompt", "none"))
	if response.Get("error") != "login_required" || response.Get("state") != "the-state" {
		t.Errorf("response is %v", response)
	}
}

// The client says whom it expects (id_token_hint), and somebody else is signed in.
func TestSessionOfAnotherUserDoesNotPass(t *testing.T) {
	p := newParty(t)
	tokens, err := p.oauth2.Exchange(p.context(t), p.signIn(t).Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	hint := oauth2.SetAuthURLParam("id_token_hint", tokens.Extra("id_token").(string))
	none := oauth2.SetAuthURLParam("prompt", "none")
	if response := p.signIn(t, hint, none); !response.Has("code") {
		t.Errorf("her own session: %v", response)
	}
	p.browser = newBrowser(t)
	r, err := authntest.SignIn(t.Context(), p.browser, p.oauth2.AuthCodeURL("s"), "eve", "apple")
	if err != nil {
		t.Fatal(err)
	}
	body(t, r)
	<-p.callbacks
	if response := p.signIn(t, hint, none); response.Get("error") != "login_required" {
		t.Errorf("another's session: %v", response)
	}
}

// A cookie planted before the login must not be a session after it.
func TestSessionFixation(t *testing.T) {
	p := newParty(t)
	p.signIn(t)
	at, err := url.Parse(p.provider.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	before := p.browser.Jar.Cookies(at)
	p.signIn(t, oauth2.SetAuthURLParam("prompt", "login"))
	after := p.browser.Jar.Cookies(at)
	if len(before) != 1 || len(after) != 1 || before[0].Value == after[0].Value {
		t.Fatalf("cookies before %v, after %v", before, after)
	}
	attacker := newBrowser(t)
	attacker.Jar.SetCookies(at, before)
	p.browser = attacker
	if response := p.signIn(t, oauth2.SetAuthURLParam("prompt", "none")); response.Get("error") != "login_required" {
		t.Errorf("the old cookie still works: %v", response)
	}
}

func TestExpiredLoginSaysSo(t *testing.T) {
	p := newParty(t)
	r, err := p.browser.Get(p.provider.Issuer() + "/login?request=gone")
	if err != nil {
		t.Fatal(err)
	}
	if text := body(t, r); r.StatusCode != http.StatusBadRequest || !strings.Contains(text, "start again") {
		t.Errorf("%s: %s", r.Status, text)
	}
	wantSafePage(t, r)
}

// OAuth 2.0 Form Post Response Mode: everything in the body, nothing in a URL.
func TestFormPost(t *testing.T) {
	p := newParty(t)
	r, err := authntest.SignIn(t.Context(), p.browser, p.oauth2.AuthCodeURL(`"><script>`, oauth2.SetAuthURLParam("response_mode", "form_post")), "alice", "wonderland")
	if err != nil {
		t.Fatal(err)
	}
	text := body(t, r)
	wantSafePage(t, r)
	if !strings.Contains(r.Header.Get("Content-Security-Policy"), "script-src 'sha256-") {
		t.Error("the page cannot send itself")
	}
	response := p.relayed(t, text)
	if response.Get("state") != `"><script>` || response.Get("iss") != p.provider.Issuer() {
		t.Errorf("response is %v", response)
	}
	if _, err := p.oauth2.Exchange(p.context(t), response.Get("code")); err != nil {
		t.Error(err)
	}
}
