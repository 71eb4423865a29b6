package authntest_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"amlproxy/authn/authntest"
)

func TestCodeFlow(t *testing.T) {
	for _, algorithm := range []string{"ES256", "RS256"} {
		t.Run(algorithm, func(t *testing.T) {
			p := newParty(t, func(o *authntest.Options) { o.Algorithm = algorithm })
			verifier := oauth2.GenerateVerifier()
			response := p.signIn(t, oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", "n-1"))
			if got := response.Get("state"); got != "the-state" {
				t.Errorf("state is %q", got)
			}
			tokens, err := p.oauth2.Exchange(p.context(t), response.Get("code"), oauth2.VerifierOption(verifier))
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := tokens.Extra("id_token").(string)
			id, err := p.verifier.Verify(p.context(t), raw)
			if err != nil {
				t.Fatal(err)
			}
			if id.Nonce != "n-1" || id.Subject != "user-alice" || !cmp.Equal(id.Audience, []string{"web"}) {
				t.Errorf("nonce %q, sub %q, aud %q", id.Nonce, id.Subject, id.Audience)
			}
			if err := id.VerifyAccessToken(tokens.AccessToken); err != nil {
				t.Error(err)
			}
			want := map[string]any{
				"name": "Alice Liddell", "preferred_username": "alice", "email": "alice@example.com", "email_verified": true,
				"groups": []any{"ml-users", "ml-admins"}, "roles": []any{"Reader"}, "azp": "web",
			}
			var got map[string]any
			if err := id.Claims(&got); err != nil {
				t.Fatal(err)
			}
			wantClaims(t, got, want)
			if got["sid"] == nil {
				t.Error("the ID token has no sid")
			}
		})
	}
}

// wantClaims compares the claims that want names.
func wantClaims(t *testing.T, got, want map[string]any) {
	t.Helper()
	some := map[string]any{}
	for name := range want {
		if v, ok := got[name]; ok {
			some[name] = v
		}
	}
	if d := cmp.Diff(want, some); d != "" {
		t.Error("claims (-want +got)\n" + d)
	}
}

// RFC 9068 section 2.
func TestAccessTokensAreForTheAPI(t *testing.T) {
	p := newParty(t)
	tokens, err := p.oauth2.Exchange(p.context(t), p.signIn(t).Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	claims, err := authntest.Claims(tokens.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	wantClaims(t, claims, map[string]any{
		"iss": p.provider.Issuer(), "sub": "user-alice", "aud": []any{audience}, "client_id": "web", "azp": "web",
		"scope": "openid profile email", "groups": []any{"ml-users", "ml-admins"}, "roles": []any{"Reader"},
	})
	for _, name := range []string{"exp", "iat", "jti", "auth_time"} {
		if claims[name] == nil {
			t.Errorf("the token has no %s", name)
		}
	}
	if got := header(t, tokens.AccessToken)["typ"]; got != "at+jwt" {
		t.Errorf("typ is %q", got)
	}
}

// A user in no group has no groups claim, as at Entra.
func TestNobodyIsInAnEmptyGroup(t *testing.T) {
	p := newParty(t)
	token, err := p.provider.AccessToken("web", "eve")
	if err != nil {
		t.Fatal(err)
	}
	claims, err := authntest.Claims(token)
	if err != nil {
		t.Fatal(err)
	}
	if groups, ok := claims["groups"]; ok {
		t.Errorf("groups is %v", groups)
	}
}

func TestClientAuthentication(t *testing.T) {
	for _, c := range []struct {
		name, id, secret string
		style            oauth2.AuthStyle
		want             string // the OAuth error
	}{
		{"basic", "web", "s3cret", oauth2.AuthStyleInHeader, ""},
		{"post", "web", "s3cret", oauth2.AuthStyleInParams, ""},
		{"wrong secret, basic", "web", "S3cret", oauth2.AuthStyleInHeader, "invalid_client"},
		{"wrong secret, post", "web", "S3cret", oauth2.AuthStyleInParams, "invalid_client"},
		{"no secret", "web", "", oauth2.AuthStyleInParams, "invalid_client"},
		{"unknown", "nobody", "s3cret", oauth2.AuthStyleInHeader, "invalid_client"},
		{"another client", "other", "t0p", oauth2.AuthStyleInHeader, "invalid_grant"},
		{"a public client", "app", "", oauth2.AuthStyleInParams, "invalid_grant"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newParty(t)
			verifier := oauth2.GenerateVerifier()
			code := p.signIn(t, oauth2.S256ChallengeOption(verifier)).Get("code")
			p.oauth2.ClientID, p.oauth2.ClientSecret, p.oauth2.Endpoint.AuthStyle = c.id, c.secret, c.style
			_, err := p.oauth2.Exchange(p.context(t), code, oauth2.VerifierOption(verifier))
			wantOAuthError(t, err, c.want)
		})
	}
}

func wantOAuthError(t *testing.T, err error, code string) {
	t.Helper()
	var refused *oauth2.RetrieveError
	switch {
	case code == "" && err != nil:
		t.Fatal(err)
	case code != "" && (!errors.As(err, &refused) || refused.ErrorCode != code):
		t.Fatalf("error is %v, want %s", err, code)
	}
}

func TestPublicClientNeedsPKCE(t *testing.T) {
	for _, c := range []struct {
		name     string
		ask      []oauth2.AuthCodeOption
		exchange []oauth2.AuthCodeOption
		want     string
	}{
		{"with it", []oauth2.AuthCodeOption{oauth2.S256ChallengeOption("v1")}, []oauth2.AuthCodeOption{oauth2.VerifierOption("v1")}, ""},
		{"without it", nil, nil, "invalid_request"},
		{"wrong verifier", []oauth2.AuthCodeOption{oauth2.S256ChallengeOption("v1")}, []oauth2.AuthCodeOption{oauth2.VerifierOption("v2")}, "invalid_grant"},
		{"no verifier", []oauth2.AuthCodeOption{oauth2.S256ChallengeOption("v1")}, nil, "invalid_request"},
		{"verifier for nothing", nil, []oauth2.AuthCodeOption{oauth2.VerifierOption("v1")}, "invalid_request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newParty(t)
			p.oauth2.ClientID, p.oauth2.ClientSecret, p.oauth2.Endpoint.AuthStyle = "app", "", oauth2.AuthStyleInParams
			_, err := p.oauth2.Exchange(p.context(t), p.signIn(t, c.ask...).Get("code"), c.exchange...)
			wantOAuthError(t, err, c.want)
		})
	}
}

// RFC 6749 section 4.1.2: the tokens of the first use end too.
func TestReplayedCodeIsRefused(t *testing.T) {
	p := newParty(t)
	p.oauth2.Scopes = append(p.oauth2.Scopes, "offline_access")
	code := p.signIn(t).Get("code")
	tokens, err := p.oauth2.Exchange(p.context(t), code)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.oauth2.Exchange(p.context(t), code)
	wantOAuthError(t, err, "invalid_grant")
	_, err = p.refresh(t, tokens.RefreshToken)
	wantOAuthError(t, err, "invalid_grant")
	if status, _ := p.userinfo(t, tokens.AccessToken); status != http.StatusUnauthorized {
		t.Errorf("userinfo answers %d to a token of a stolen code", status)
	}
}

func TestCodeIsBoundToTheRedirectURI(t *testing.T) {
	p := newParty(t)
	code := p.signIn(t).Get("code")
	p.oauth2.RedirectURL += "/other"
	_, err := p.oauth2.Exchange(p.context(t), code)
	wantOAuthError(t, err, "invalid_grant")
}

// No redirect to an address that is not registered, byte for byte: the answer
// must be shown to the person instead.
func TestForeignRedirectURIIsNotFollowed(t *testing.T) {
	p := newParty(t)
	good := p.oauth2.RedirectURL
	for _, uri := range []string{
		"https://evil.example/callback", good + "/", good + "?a=b", good + "#x", strings.ToUpper(good),
		strings.Replace(good, "127.0.0.1:", "127.0.0.1:1", 1), "javascript:alert(1)",
	} {
		for _, more := range []string{"", "&redirect_uri=" + url.QueryEscape(good)} {
			p.oauth2.RedirectURL = uri
			wantRefusedInPlace(t, p, p.oauth2.AuthCodeURL("s")+more)
		}
		p.oauth2.RedirectURL = good
		wantRefusedInPlace(t, p, p.oauth2.AuthCodeURL("s")+"&redirect_uri="+url.QueryEscape(uri)+"&response_type=nonsense")
	}
}

// Nor to a registered one that a browser would run instead: the page of form_post
// would hold it.
func TestRedirectURIThatABrowserRunsIsNotFollowed(t *testing.T) {
	run := []string{"javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "vbscript:x", "//evil.example/callback"}
	p := newParty(t, func(o *authntest.Options) { o.Clients[0].RedirectURIs = run })
	for _, uri := range run {
		p.oauth2.RedirectURL = uri
		for _, prompt := range []string{"login", "none login"} { // the second is an error, which is posted too
			wantRefusedInPlace(t, p, p.oauth2.AuthCodeURL("s", oauth2.SetAuthURLParam("response_mode", "form_post"), oauth2.SetAuthURLParam("prompt", prompt)))
		}
	}
}

func wantRefusedInPlace(t *testing.T, p *party, address string) {
	t.Helper()
	browser := *p.browser
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r, err := browser.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	body(t, r)
	if r.StatusCode != http.StatusBadRequest || r.Header.Get("Location") != "" {
		t.Errorf("%s: %s, Location %q", address, r.Status, r.Header.Get("Location"))
	}
}

// RFC 9207 section 2: errors too.
func TestEveryAuthorizationResponseNamesItsIssuer(t *testing.T) {
	for _, mode := range []string{"query", "form_post"} {
		for name, options := range map[string][]oauth2.AuthCodeOption{
			"success":        nil,
			"login required": {oauth2.SetAuthURLParam("prompt", "none")},
			"two prompts":    {oauth2.SetAuthURLParam("prompt", "none login")},
			"no scope":       {oauth2.SetAuthURLParam("scope", "")},
		} {
			t.Run(mode+" "+name, func(t *testing.T) {
				p := newParty(t)
				options = append(options, oauth2.SetAuthURLParam("response_mode", mode))
				response := p.signIn(t, options...)
				if got := response.Get("iss"); got != p.provider.Issuer() || response.Get("state") != "the-state" {
					t.Errorf("response is %v", response)
				}
				if response.Has("error") == response.Has("code") {
					t.Errorf("response is %v", response)
				}
			})
		}
	}
}
