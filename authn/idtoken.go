package authn

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"amlproxy/internal/secret"
)

const (
	// maxIDToken is more than a bearer token may have, since it comes from the
	// provider itself and may list hundreds of groups.
	maxIDToken = 64 << 10
	// maxIDTokenAge is how long ago an ID token may have been made that the
	// provider hands over now: by then one of the clocks is wrong.
	maxIDTokenAge = 10 * time.Minute
)

// expected is what an ID token has to say besides what all of them do.
type expected struct {
	nonce  string    // of this login; empty at a renewal, which has none
	asked  asked     // how the person is to have signed in
	was    *Identity // at a renewal, who it was until now
	bearer string    // the access token that came along, for at_hash
}

// checkIDToken returns the ID token of token. What is wrong with one is for the
// log; the caller can only start again.
func (l *Login) checkIDToken(ctx context.Context, token *oauth2.Token, want expected) (*jwt, error) {
	want.bearer = token.AccessToken
	t, err := l.verifyIDToken(ctx, idTokenOf(token).Reveal(), want)
	if errors.Is(err, ErrInvalid) {
		return nil, caused(forbidden("the identity provider's ID token was refused"), errors.New(err.Error()))
	}
	return t, err
}

func idTokenOf(token *oauth2.Token) secret.Value {
	raw, _ := token.Extra("id_token").(string)
	return secret.New(raw)
}

// verifyIDToken is OpenID Connect Core 1.0 section 3.1.3.7, with nothing left
// out although the token comes straight from the token endpoint; at a renewal it
// is section 12.2.
func (l *Login) verifyIDToken(ctx context.Context, raw string, want expected) (*jwt, error) {
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
	if err := checkTimes(t, time.Now()); err != nil {
		return nil, err
	}
	if err := want.check(t); err != nil {
		return nil, err
	}
	if err := t.checkSubject(); err != nil {
		return nil, err
	}
	if !l.provider.admits(c.text("tid")) {
		return nil, forbidden("the tenant %q is not let in", clip(c.text("tid"), 100))
	}
	return t, nil
}

// checkTimes checks exp, nbf and iat, which has to be there and to be about now.
func checkTimes(t *jwt, now time.Time) error {
	if _, err := t.inTime(now); err != nil {
		return err
	}
	issued, err := t.claims.time("iat")
	switch {
	case err != nil || issued.IsZero():
		return caused(invalid("iat is missing"), err)
	case now.Add(leeway).Before(issued):
		return invalid("iat is %s in the future: compare the clocks", issued.Sub(now).Round(time.Second))
	case now.Sub(issued) >= maxIDTokenAge:
		return invalid("iat is %s ago: compare the clocks", now.Sub(issued).Round(time.Second))
	}
	return nil
}

// check compares what only this login, or this session, can know.
func (want expected) check(t *jwt) error {
	c := t.claims
	if want.was == nil && subtle.ConstantTimeCompare([]byte(c.text("nonce")), []byte(want.nonce)) != 1 {
		return invalid("nonce is not that of this login")
	}
	if want.was != nil && (c.text("sub") != want.was.Subject || c.text("iss") != want.was.Issuer) {
		return invalid("it is about somebody else than the session")
	}
	if c.has("at_hash") && !t.hashes(want.bearer, c.text("at_hash")) {
		return invalid("at_hash is not that of the access token")
	}
	return want.asked.check(c, time.Now())
}

// check holds the provider to what it was asked for: the address that asked it
// went through the browser, where whoever sits there could shorten it.
func (a asked) check(c claims, now time.Time) error {
	if a.maxAge != "" {
		at, err := c.time("auth_time")
		if err != nil || at.IsZero() {
			return caused(invalid("auth_time is missing, and max_age was asked for"), err)
		}
		if now.Sub(at) > a.within()+leeway || now.Add(leeway).Before(at) {
			return invalid("auth_time is %s, and max_age %s s was asked for", at.UTC().Format(time.RFC3339), a.maxAge)
		}
	}
	if a.acr != "" && !slices.Contains(strings.Fields(a.acr), c.text("acr")) {
		return invalid("acr is %q, and %q was asked for", clip(c.text("acr"), 100), a.acr)
	}
	return nil
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
