package authntest

import (
	"net/http"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// metadata is the discovery document: op's, and RFC 9207 section 3.
type metadata struct {
	*oidc.DiscoveryConfiguration
	ResponseIss bool `json:"authorization_response_iss_parameter_supported"`
}

// discovery answers with the provider's metadata (OpenID Connect Discovery 1.0
// section 4). It says only what is true: op's own document offers the implicit
// flow and a device flow too, which no client here may use.
func (p *Provider) discovery(w http.ResponseWriter, r *http.Request) {
	d := op.CreateDiscoveryConfig(r.Context(), p.op, p.op.Storage())
	d.DeviceAuthorizationEndpoint = ""
	d.ResponseTypesSupported = []string{"code"}
	d.ResponseModesSupported = []string{"query", "fragment", "form_post"}
	d.GrantTypesSupported = []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken, oidc.GrantTypeClientCredentials}
	d.ClaimsSupported = []string{
		"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "amr", "azp", "sid", "at_hash", "c_hash",
		"name", "preferred_username", "email", "email_verified", "groups", "roles",
	}
	writeJSON(w, http.StatusOK, metadata{d, true})
}
