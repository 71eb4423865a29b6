package authntest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"
)

// OpenID Connect RP-Initiated Logout 1.0 section 2.
func TestSignOut(t *testing.T) {
	p := newParty(t)
	base := strings.TrimSuffix(p.oauth2.RedirectURL, "/callback")
	for _, c := range []struct {
		name  string
		query url.Values
		hint  bool
		ends  string // where the browser ends; a path is one of the provider
		code  int
	}{
		{"hint and address", url.Values{"post_logout_redirect_uri": {base + "/bye"}, "state": {"a b"}}, true, base + "/bye?state=a+b", 200},
		{"client and address", url.Values{"post_logout_redirect_uri": {base + "/bye"}, "client_id": {"web"}}, false, base + "/bye", 200},
		{"nothing", nil, false, "/signed-out", 200},
		{"hint alone", nil, true, "/signed-out", 200},
		{"address without a client", url.Values{"post_logout_redirect_uri": {base + "/bye"}}, false, "/signed-out", 200},
		{"foreign address", url.Values{"post_logout_redirect_uri": {"https://evil.example"}, "client_id": {"web"}}, false, "/end_session", 400},
		{"another's address", url.Values{"post_logout_redirect_uri": {base + "/bye"}, "client_id": {"other"}}, false, "/end_session", 400},
		{"another's hint", url.Values{"post_logout_redirect_uri": {base + "/bye"}, "client_id": {"other"}}, true, "/end_session", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			tokens, err := p.oauth2.Exchange(p.context(t), p.signIn(t).Get("code"))
			if err != nil {
				t.Fatal(err)
			}
			query := url.Values{}
			for name, values := range c.query {
				query[name] = values
			}
			if c.hint {
				query.Set("id_token_hint", tokens.Extra("id_token").(string))
			}
			r, err := p.browser.Get(p.provider.Issuer() + "/end_session?" + query.Encode())
			if err != nil {
				t.Fatal(err)
			}
			body(t, r)
			u := r.Request.URL
			if got := u.String(); r.StatusCode != c.code || got != c.ends && u.Path != c.ends {
				t.Errorf("ended at %s with %s, want %s with %d", got, r.Status, c.ends, c.code)
			}
			if response := p.signIn(t, oauth2.SetAuthURLParam("prompt", "none")); response.Get("error") != "login_required" {
				t.Errorf("there is a session still: %v", response)
			}
		})
	}
}

// The hint names the session; the browser that sends it need not hold the cookie.
func TestSignOutByHintEndsTheSessionOfAnotherBrowser(t *testing.T) {
	p := newParty(t)
	tokens, err := p.oauth2.Exchange(p.context(t), p.signIn(t).Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := newBrowser(t).Get(p.provider.Issuer() + "/end_session?id_token_hint=" + tokens.Extra("id_token").(string))
	if err != nil {
		t.Fatal(err)
	}
	if text := body(t, r); r.StatusCode != http.StatusOK || !strings.Contains(text, "no longer signed in") {
		t.Errorf("%s: %s", r.Status, text)
	}
	wantSafePage(t, r)
	if response := p.signIn(t, oauth2.SetAuthURLParam("prompt", "none")); response.Get("error") != "login_required" {
		t.Errorf("there is a session still: %v", response)
	}
}
