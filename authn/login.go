package authn

import (
	"errors"
	"net/http"
	"net/url"

	"amlproxy/internal/secret"
)

// LoginConfig is what NewLogin needs.
type LoginConfig struct {
	Issuer       Issuer
	ClientID     string
	ClientSecret secret.Value // without one, PKCE alone proves who redeems the code
	Scopes       []string
	PublicURL    *url.URL // where browsers reach the proxy; no path
	// ReturnOrigins are other origins (scheme://host[:port]) that rd may name.
	ReturnOrigins []string
	Sessions      *Sessions
	Client        *http.Client // as in BearerConfig
	// KeepGroups reports whether some rule names a group; the rest is left out
	// of the session. nil keeps all.
	KeepGroups func(group string) bool
	Claims     []string // as in BearerConfig
	// FormPost asks the provider to answer by a POST (OAuth 2.0 Form Post
	// Response Mode); https only, since its state cookie must be SameSite=None.
	FormPost bool
}

// Login is the OpenID Connect code flow that ends in a session.
type Login struct{}

// NewLogin returns a Login. It does not touch the network: the provider may be down.
func NewLogin(cfg LoginConfig) (*Login, error) { return nil, errors.New("not yet") }

// Start answers GET /oauth2/start?rd= with a redirect to the provider.
func (l *Login) Start(w http.ResponseWriter, r *http.Request) error {
	return &Error{Kind: ErrUnavailable}
}

// Callback answers /oauth2/callback, by GET (query) and POST (form_post).
func (l *Login) Callback(w http.ResponseWriter, r *http.Request) error {
	return &Error{Kind: ErrUnavailable}
}

// SignOut answers /oauth2/sign_out?rd=: here, then at the provider.
func (l *Login) SignOut(w http.ResponseWriter, r *http.Request) error {
	return &Error{Kind: ErrUnavailable}
}

// ReturnPath is the one judge of where a browser may be sent back to. It
// returns rd and true if rd is a path of this proxy or on one of ReturnOrigins,
// else "/" and false.
func (l *Login) ReturnPath(rd string) (string, bool) { return "/", false }
