package authntest

import (
	"net/http"

	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// metadata is the discovery document: op's, and RFC 9207 section 3.
type metadata struct {
	*oidc.DiscoveryConfiguration
	ResponseIss bool `json:"authorization_response_iss_parameter_supported"`
}

// discovery answers with the provider's metadata (OpenID Connect Discovery 1.0
// section 4). It says only what is true: op's own document would offer the
// implicit flow and a device flow too, which no client here may use.
func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	assertions := []string{"RS256"} // of clients that have a key
	writeJSON(w, http.StatusOK, metadata{&oidc.DiscoveryConfiguration{
		Issuer:                p.issuer,
		AuthorizationEndpoint: p.url("/authorize"),
		TokenEndpoint:         p.url("/oauth/token"),
		IntrospectionEndpoint: p.url("/oauth/introspect"),
		UserinfoEndpoint:      p.url("/userinfo"),
		RevocationEndpoint:    p.url("/revoke"),
		EndSessionEndpoint:    p.url("/end_session"),
		JwksURI:               p.url("/keys"),

		ScopesSupported:        []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail, oidc.ScopeOfflineAccess},
		ResponseTypesSupported: []string{"code"},
		ResponseModesSupported: []string{"query", "fragment", "form_post"},
		GrantTypesSupported:    []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken, oidc.GrantTypeClientCredentials},
		SubjectTypesSupported:  []string{"public"},
		ClaimsSupported: []string{
			"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "amr", "azp", "sid", "at_hash", "c_hash",
			"name", "preferred_username", "email", "email_verified", "groups", "roles",
		},
		CodeChallengeMethodsSupported:    []oidc.CodeChallengeMethod{oidc.CodeChallengeMethodS256},
		IDTokenSigningAlgValuesSupported: []string{string(p.keys.alg)},

		TokenEndpointAuthMethodsSupported:                  []oidc.AuthMethod{oidc.AuthMethodNone, oidc.AuthMethodBasic, oidc.AuthMethodPost, oidc.AuthMethodPrivateKeyJWT},
		TokenEndpointAuthSigningAlgValuesSupported:         assertions,
		RevocationEndpointAuthMethodsSupported:             []oidc.AuthMethod{oidc.AuthMethodNone, oidc.AuthMethodBasic, oidc.AuthMethodPost, oidc.AuthMethodPrivateKeyJWT},
		RevocationEndpointAuthSigningAlgValuesSupported:    assertions,
		IntrospectionEndpointAuthMethodsSupported:          []oidc.AuthMethod{oidc.AuthMethodBasic, oidc.AuthMethodPrivateKeyJWT},
		IntrospectionEndpointAuthSigningAlgValuesSupported: assertions,
	}, true})
}
