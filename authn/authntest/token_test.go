package authntest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"amlproxy/authn/authntest"
)

// What curl -u batch-job:hunter2 -d grant_type=client_credentials URL/oauth/token sends.
func TestServiceAccount(t *testing.T) {
	for _, c := range []struct {
		name, id, secret, scope string
		want, granted           string
	}{
		{"curl", "batch-job", "hunter2", "", "", "score describe"},
		{"one scope", "batch-job", "hunter2", "score", "", "score"},
		{"a scope it may not have", "batch-job", "hunter2", "admin", "invalid_scope", ""},
		{"wrong secret", "batch-job", "hunter3", "", "invalid_client", ""},
		{"no secret", "batch-job", "", "", "invalid_client", ""},
		{"unknown", "nobody", "", "", "invalid_client", ""},
		{"a public client", "app", "", "", "invalid_client", ""},
		{"not a service account", "web", "s3cret", "", "unauthorized_client", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newParty(t)
			source := clientcredentials.Config{ClientID: c.id, ClientSecret: c.secret, TokenURL: p.provider.Issuer() + "/oauth/token", AuthStyle: oauth2.AuthStyleInHeader}
			if c.scope != "" {
				source.Scopes = []string{c.scope}
			}
			token, err := source.Token(p.context(t))
			wantOAuthError(t, err, c.want)
			if c.want != "" {
				return
			}
			claims := p.verified(t, token.AccessToken, audience)
			wantClaims(t, claims, map[string]any{
				"sub": "batch-job", "client_id": "batch-job", "azp": "batch-job", "scope": c.granted, "groups": []any{"ml-users"},
			})
			if got := header(t, token.AccessToken)["typ"]; got != "at+jwt" {
				t.Errorf("typ is %q", got)
			}
			if token.RefreshToken != "" || token.Extra("id_token") != nil {
				t.Error("a program is not signed in")
			}
			if status, _ := p.userinfo(t, token.AccessToken); status != http.StatusForbidden {
				t.Errorf("userinfo answers %d to a program", status)
			}
		})
	}
}

// verified returns the claims of a token that the provider's keys vouch for.
func (p *party) verified(t *testing.T, token, audience string) map[string]any {
	t.Helper()
	found, err := oidc.NewProvider(p.context(t), p.provider.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	verified, err := found.Verifier(&oidc.Config{ClientID: audience}).Verify(p.context(t), token)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := verified.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// RFC 6749 section 3.2: a secret in a URL ends up in logs.
func TestTokenRequestsAreNotSentByGET(t *testing.T) {
	p := newParty(t)
	r, err := p.browser.Get(p.provider.Issuer() + "/oauth/token?grant_type=client_credentials&client_id=batch-job&client_secret=hunter2")
	if err != nil {
		t.Fatal(err)
	}
	body(t, r)
	if r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("answer is %s", r.Status)
	}
}

func TestUserinfo(t *testing.T) {
	p := newParty(t)
	token, err := p.provider.AccessToken("web", "alice")
	if err != nil {
		t.Fatal(err)
	}
	status, info := p.userinfo(t, token)
	if status != http.StatusOK {
		t.Fatalf("status is %d", status)
	}
	wantClaims(t, info, map[string]any{"sub": "user-alice", "email": "alice@example.com", "name": "Alice Liddell", "groups": []any{"ml-users", "ml-admins"}})
	for _, bad := range []string{"", "x", token[:len(token)-4] + "AAAA"} {
		if status, _ := p.userinfo(t, bad); status != http.StatusUnauthorized {
			t.Errorf("userinfo answers %d to %q", status, bad)
		}
	}
	if err := p.provider.Revoke("alice"); err != nil {
		t.Fatal(err)
	}
	if status, _ := p.userinfo(t, token); status != http.StatusUnauthorized {
		t.Errorf("userinfo answers %d to a revoked token", status)
	}
}

func (p *party) offline(t *testing.T) *oauth2.Token {
	t.Helper()
	p.oauth2.Scopes = []string{"openid", "profile", "offline_access"}
	tokens, err := p.oauth2.Exchange(p.context(t), p.signIn(t, oauth2.SetAuthURLParam("nonce", "n")).Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	if tokens.RefreshToken == "" {
		t.Fatal("no refresh token")
	}
	return tokens
}

func TestRefresh(t *testing.T) {
	p := newParty(t)
	first := p.offline(t)
	if err := p.provider.SetUser(authntest.User{Name: "alice", Password: "wonderland", Groups: []string{"new"}}); err != nil {
		t.Fatal(err)
	}
	second, err := p.refresh(t, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if second.RefreshToken == "" || second.RefreshToken == first.RefreshToken {
		t.Error("the refresh token was not rotated")
	}
	id := p.verified(t, second.Extra("id_token").(string), "web")
	wantClaims(t, id, map[string]any{"sub": "user-alice", "groups": []any{"new"}})
	p.verified(t, second.AccessToken, audience)
}

func TestNoRefreshTokenUnlessAskedFor(t *testing.T) {
	p := newParty(t)
	tokens, err := p.oauth2.Exchange(p.context(t), p.signIn(t).Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	if tokens.RefreshToken != "" {
		t.Error("a refresh token that nobody asked for")
	}
}

// RFC 9700 section 4.14.2: whoever uses a refresh token second, both lose.
func TestReusedRefreshTokenEndsTheGrant(t *testing.T) {
	p := newParty(t)
	first := p.offline(t)
	second, err := p.refresh(t, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.refresh(t, first.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
	_, err = p.refresh(t, second.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
}

func TestParallelRefreshesGetOneAnswer(t *testing.T) {
	p := newParty(t)
	first := p.offline(t)
	var wg sync.WaitGroup
	results := make(chan error, 20)
	for range cap(results) {
		wg.Go(func() {
			_, err := p.refresh(t, first.RefreshToken)
			results <- err
		})
	}
	wg.Wait()
	close(results)
	good := 0
	for err := range results {
		if err == nil {
			good++
		}
	}
	if good != 1 {
		t.Errorf("%d refreshes succeeded, want 1", good)
	}
}

func TestRefreshTokenIsBoundToItsClient(t *testing.T) {
	p := newParty(t)
	first := p.offline(t)
	p.oauth2.ClientID, p.oauth2.ClientSecret = "other", "t0p"
	_, err := p.refresh(t, first.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
}

func TestRevokedUserCannotRefresh(t *testing.T) {
	p := newParty(t)
	first := p.offline(t)
	if err := p.provider.Revoke("alice"); err != nil {
		t.Fatal(err)
	}
	_, err := p.refresh(t, first.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
	if response := p.signIn(t, oauth2.SetAuthURLParam("prompt", "none")); response.Get("error") != "login_required" {
		t.Errorf("there is a session still: %v", response)
	}
}

// RFC 7009 and RFC 7662.
func TestRevocationAndIntrospection(t *testing.T) {
	p := newParty(t)
	tokens := p.offline(t)
	post := func(path, token string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.provider.Issuer()+path, strings.NewReader(url.Values{"token": {token}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("web", "s3cret")
		answer, err := p.browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, body(t, answer)
	}
	active := func() bool {
		_, text := post("/oauth/introspect", tokens.AccessToken)
		var answer struct{ Active bool }
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			t.Fatal(err)
		}
		return answer.Active
	}
	if !active() {
		t.Error("a fresh token is not active")
	}
	if status, text := post("/revoke", tokens.RefreshToken); status != http.StatusOK {
		t.Errorf("revocation answers %d: %s", status, text)
	}
	if active() {
		t.Error("the access token outlives its grant")
	}
	_, err := p.refresh(t, tokens.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
}
