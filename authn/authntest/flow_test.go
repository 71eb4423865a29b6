package authntest_test

import (
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
			if got := response.Get("iss"); got != p.provider.Issuer() {
				t.Errorf("iss is %q, want %q", got, p.provider.Issuer())
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
			var claims struct {
				Name   string   `json:"name"`
				Email  string   `json:"email"`
				Groups []string `json:"groups"`
				Roles  []string `json:"roles"`
				Azp    string   `json:"azp"`
				Sid    string   `json:"sid"`
			}
			if err := id.Claims(&claims); err != nil {
				t.Fatal(err)
			}
			if claims.Name != "Alice Liddell" || claims.Email != "alice@example.com" || claims.Azp != "web" || claims.Sid == "" ||
				!cmp.Equal(claims.Groups, []string{"ml-users", "ml-admins"}) || !cmp.Equal(claims.Roles, []string{"Reader"}) {
				t.Errorf("claims %+v", claims)
			}
		})
	}
}
