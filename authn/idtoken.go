package authn

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"time"

	"golang.org/x/oauth2"
)

// maxIDToken is more than a bearer token may have, since it comes from the
// provider itself and may list hundreds of groups.
const maxIDToken = 64 << 10

// checkIDToken returns who the ID token of token is about, and its claims. What
// is wrong with one is for the log; the caller can only start again.
func (l *Login) checkIDToken(ctx context.Context, token *oauth2.Token, nonce string) (*Identity, claims, error) {
	raw, _ := token.Extra("id_token").(string)
	t, err := l.verifyIDToken(ctx, raw, token.AccessToken, nonce)
	switch {
	case errors.Is(err, ErrInvalid):
		return nil, nil, caused(forbidden("the identity provider's ID token was refused"), errors.New(err.Error()))
	case err != nil:
		return nil, nil, err
	}
	return l.provider.identify(t.claims, l.claims()), t.claims, nil
}

// verifyIDToken is OpenID Connect Core 1.0 section 3.1.3.7, with nothing left
// out although the token comes straight from the token endpoint.
func (l *Login) verifyIDToken(ctx context.Context, raw, accessToken, nonce string) (*jwt, error) {
	t, err := parseJWT(raw, maxIDToken)
	if err != nil {
		return nil, err
	}
	if t.typ != "" && t.typ != "jwt" {
		return nil, invalid("type %q is not an ID token", clip(t.typ, 50)) // a logout token, say
	}
	if _, err := l.provider.verify(ctx, t); err != nil {
		return nil, err
	}
	c := t.claims
	if !l.provider.names(c.text("iss"), c.text("tid")) {
		return nil, invalid("issuer is %q", clip(c.text("iss"), 200))
	}
	if err := isFor(t, []string{l.client.id}); err != nil {
		return nil, err
	}
	if err := l.checkParty(c); err != nil {
		return nil, err
	}
	if _, err := t.inTime(time.Now()); err != nil {
		return nil, err
	}
	if issued, err := c.time("iat"); err != nil || issued.IsZero() || time.Now().Add(leeway).Before(issued) {
		return nil, caused(invalid("iat is missing or in the future"), err)
	}
	if subtle.ConstantTimeCompare([]byte(c.text("nonce")), []byte(nonce)) != 1 {
		return nil, invalid("nonce is not that of this login")
	}
	if c.has("at_hash") && !t.hashes(accessToken, c.text("at_hash")) {
		return nil, invalid("at_hash is not that of the access token")
	}
	if err := t.checkSubject(); err != nil {
		return nil, err
	}
	if !l.provider.admits(c.text("tid")) {
		return nil, forbidden("the tenant %q is not let in", clip(c.text("tid"), 100))
	}
	return t, nil
}

// checkParty checks azp: required when the token is for others too, and always ours.
func (l *Login) checkParty(c claims) error {
	azp := c.text("azp")
	if c.has("azp") && azp != l.client.id {
		return invalid("authorized party is %q", clip(azp, 100))
	}
	aud, _ := c.audience()
	others := slices.ContainsFunc(aud, func(a string) bool { return a != l.client.id })
	if others && azp == "" {
		return invalid("several audiences and no authorized party")
	}
	return nil
}
