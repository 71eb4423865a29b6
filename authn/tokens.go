package authn

import "amlproxy/internal/secret"

// Tokens are what a provider gave out at a login besides the identity, for the
// session to go on and to end with. The zero value is of a login without any.
type Tokens struct {
	Refresh secret.Value // renews the claims; empty if there is none
	ID      secret.Value // as it came, for id_token_hint; kept only where there is a store
	Session string       // sid, the provider's name of its own session (Back-Channel Logout 1.0)
}
