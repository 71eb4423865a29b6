package authn

import (
	"errors"
	"net/http"
	"time"

	"amlproxy/internal/secret"
)

// SessionsConfig is what NewSessions needs.
type SessionsConfig struct {
	// Secrets are 32 raw bytes each, newest first: the first seals, all open.
	Secrets []secret.Value
	// Secure says that callers use https: the cookie is called __Host-amlproxy
	// and is Secure; else it is called amlproxy and is not.
	Secure bool
	// Idle ends a session that is not used, Max ends every session.
	Idle, Max time.Duration
	// Refresh is how old the time of last use may grow before the cookie is
	// renewed. It counts as half of Idle if it is more than that.
	Refresh time.Duration
}

// Sessions is the Authenticator of the session cookie.
type Sessions struct{}

// NewSessions returns Sessions sealed with the secrets of cfg.
func NewSessions(cfg SessionsConfig) (*Sessions, error) { return nil, errors.New("not yet") }

// Authenticate implements Authenticator. A cookie that is there and cannot be
// used (expired, altered, sealed with a secret since dropped) is ErrInvalid, and
// never Error.Bearer: a navigation is to be sent to the login, a program is to get a plain 401.
func (s *Sessions) Authenticate(answer http.Header, r *http.Request) (*Identity, error) {
	return nil, &Error{Kind: ErrNone}
}

// Start begins a session for id with a new identifier, whatever r carries, and
// adds its cookie to answer. Login calls it; tests of other packages may.
func (s *Sessions) Start(answer http.Header, r *http.Request, id *Identity) error {
	return errors.New("not yet")
}

// End removes the session cookie from the browser that sent r.
func (s *Sessions) End(answer http.Header, r *http.Request) {}
