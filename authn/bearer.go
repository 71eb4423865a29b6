package authn

import (
	"errors"
	"net/http"
)

// BearerConfig is what NewBearer needs.
type BearerConfig struct {
	// Issuers are those whose access tokens are accepted; at least one.
	Issuers []Issuer
	// ClientID is the client of the login, if there is one. ID tokens are made
	// out to it, so a token with this audience must show that it is an access token.
	ClientID string
	// Client makes every outgoing call; nil means a plain one. Its redirect
	// policy, cookie jar and timeout are not used.
	Client *http.Client
	// Claims names further claims to keep in Identity.Claims.
	Claims []string
}

// Bearer is the Authenticator of access tokens in the Authorization field.
type Bearer struct{}

// NewBearer returns a Bearer for the issuers of cfg.
func NewBearer(cfg BearerConfig) (*Bearer, error) { return nil, errors.New("not yet") }

// Authenticate implements Authenticator.
func (b *Bearer) Authenticate(_ http.Header, r *http.Request) (*Identity, error) {
	return nil, &Error{Kind: ErrNone}
}
