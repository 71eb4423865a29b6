package authntest

import (
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// registration is a Client as op wants to see it.
type registration struct {
	Client
	audiences []string
	login     func(requestID string) string
	idLife    time.Duration
}

func (c *registration) GetID() string                       { return c.ID }
func (c *registration) RedirectURIs() []string              { return c.Client.RedirectURIs }
func (c *registration) PostLogoutRedirectURIs() []string    { return c.PostLogoutURIs }
func (c *registration) LoginURL(requestID string) string    { return c.login(requestID) }
func (c *registration) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
func (c *registration) IDTokenLifetime() time.Duration      { return c.idLife }
func (c *registration) ClockSkew() time.Duration            { return 0 }

// ApplicationType is always web: op then compares redirect URIs byte for byte,
// and allows no other port on loopback.
func (c *registration) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }

// DevMode would loosen what op thinks of redirect URIs.
func (c *registration) DevMode() bool { return false }

// IDTokenUserinfoClaimsAssertion has the ID token hold the claims of its scopes,
// so that a relying party need not ask userinfo.
func (c *registration) IDTokenUserinfoClaimsAssertion() bool { return true }

// AuthMethod is none for a public client, for which op then insists on PKCE. Any
// other may send its secret by basic or post.
func (c *registration) AuthMethod() oidc.AuthMethod {
	if c.Key != nil {
		return oidc.AuthMethodPrivateKeyJWT
	}
	if c.Secret == "" {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}

func (c *registration) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}

func (c *registration) GrantTypes() []oidc.GrantType {
	grants := []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken}
	if c.ServiceAccount {
		grants = append(grants, oidc.GrantTypeClientCredentials)
	}
	return grants
}

func (c *registration) IsScopeAllowed(scope string) bool {
	return slices.Contains(c.Scopes, scope)
}

//nolint:staticcheck // op.Client spells it so
func (c *registration) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

func (c *registration) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

// same compares two secrets without telling how far they agree. Nothing equals
// an empty secret.
func same(want, got string) bool {
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(got))
	return want != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
