package authntest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// userClaims returns what a token with these scopes says about a user. Groups,
// roles and the user's further claims need no scope, as at Entra.
func userClaims(u *User, scopes []string) map[string]any {
	c := map[string]any{}
	maps.Copy(c, u.Claims)
	if slices.Contains(scopes, oidc.ScopeProfile) {
		set(c, "name", u.FullName)
		set(c, "preferred_username", u.Name)
	}
	if slices.Contains(scopes, oidc.ScopeEmail) && u.Email != "" {
		c["email"], c["email_verified"] = u.Email, u.EmailVerified
	}
	setList(c, "groups", u.Groups)
	setList(c, "roles", u.Roles)
	return c
}

func set(claims map[string]any, name, value string) {
	if value != "" {
		claims[name] = value
	}
}

func setList(claims map[string]any, name string, values []string) {
	if len(values) > 0 {
		claims[name] = slices.Clone(values)
	}
}

// SetUserinfoFromScopes does nothing, as op asks: SetUserinfoFromRequest does.
func (s *opStorage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromRequest gives an ID token its claims about the user.
func (s *opStorage) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, r op.IDTokenRequest, scopes []string) error {
	u, ok := s.store.user(r.GetSubject())
	if !ok {
		return errNotFound
	}
	info.Subject, info.Claims = u.subject(), userClaims(u, scopes)
	if h, ok := r.(holder); ok {
		info.Claims["sid"] = h.granted().session
	}
	return nil
}

// SetUserinfoFromToken answers userinfo.
func (s *opStorage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, tokenID, subject, _ string) error {
	t, ok := s.store.token(tokenID, time.Now())
	if !ok || t.grant.subject != subject {
		return &oidc.Error{ErrorType: "invalid_token", Description: "the token is expired or revoked"}
	}
	u, ok := s.store.user(subject)
	if !ok || !slices.Contains(t.scopes, oidc.ScopeOpenID) {
		return &oidc.Error{ErrorType: "insufficient_scope", Description: "the token is not one of a signed-in user"}
	}
	info.Subject, info.Claims = u.subject(), userClaims(u, t.scopes)
	return nil
}

// SetIntrospectionFromToken answers introspection (RFC 7662).
func (s *opStorage) SetIntrospectionFromToken(_ context.Context, r *oidc.IntrospectionResponse, tokenID, subject, _ string) error {
	t, ok := s.store.token(tokenID, time.Now())
	if !ok || t.grant.subject != subject {
		return errNotFound
	}
	r.Scope, r.ClientID, r.Subject, r.JWTID = t.scopes, t.grant.client, subject, tokenID
	r.Audience, r.TokenType = t.grant.audience, oidc.BearerToken
	r.Expiration, r.IssuedAt = oidc.FromTime(t.expires), oidc.FromTime(t.issued)
	return nil
}

// GetPrivateClaimsFromScopes is not called: GetPrivateClaimsFromRequest is.
func (s *opStorage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, errUnsupported
}

// GetPrivateClaimsFromRequest returns what an access token holds besides the
// registered claims: RFC 9068 section 2.2, and azp, which Entra's version 2 tokens have.
func (s *opStorage) GetPrivateClaimsFromRequest(_ context.Context, r op.TokenRequest, _ []string) (map[string]any, error) {
	h, ok := r.(holder)
	if !ok {
		return nil, errUnsupported
	}
	g, scopes := h.granted(), r.GetScopes()
	claims, err := s.holderClaims(g, scopes)
	if err != nil {
		return nil, err
	}
	claims["azp"] = g.client
	set(claims, "scope", strings.Join(scopes, " "))
	return claims, nil
}

func (s *opStorage) holderClaims(g *grant, scopes []string) (map[string]any, error) {
	if g.service {
		return s.serviceClaims(g.client)
	}
	u, ok := s.store.user(g.subject)
	if !ok {
		return nil, errNotFound
	}
	claims := userClaims(u, scopes)
	claims["auth_time"] = g.authTime.Unix()
	return claims, nil
}

func (s *opStorage) serviceClaims(id string) (map[string]any, error) {
	c, err := s.store.client(id)
	if err != nil {
		return nil, err
	}
	claims := map[string]any{}
	maps.Copy(claims, c.Claims)
	setList(claims, "groups", c.Groups)
	setList(claims, "roles", c.Roles)
	return claims, nil
}
