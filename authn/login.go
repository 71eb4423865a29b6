package authn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"amlproxy/internal/secret"
)

// LoginConfig is what NewLogin needs.
type LoginConfig struct {
	Issuer       Issuer // its Audiences are not used: an ID token is for ClientID
	ClientID     string
	ClientSecret secret.Value // without one, PKCE alone proves who redeems the code
	// SecretMethod is SecretBasic or SecretPost; if empty, what discovery asks for.
	SecretMethod string
	// ClientKey or ClientAssertion proves who the client is instead of a secret;
	// the assertion is asked for at each request for tokens.
	ClientKey       *ClientKey
	ClientAssertion func() (secret.Value, error)
	Scopes          []string // "openid" is added if it is missing
	PublicURL       *url.URL // where browsers reach the proxy: scheme and host, no path
	// ReturnOrigins are other origins (scheme://host[:port]) that rd may name.
	ReturnOrigins []string
	Sessions      *Sessions
	Client        *http.Client // as in BearerConfig
	// KeepGroups reports whether some rule names a group; the rest is left out
	// of the session. nil keeps all.
	KeepGroups func(group string) bool
	Claims     func() []string // as in BearerConfig
	// Vocabulary, if not nil, returns a short text that is another one when
	// KeepGroups or Claims keep something else than before.
	Vocabulary func() string
	// Parameters are sent with every login, and StartParameters may be set in the
	// query of /oauth2/start: of LoginParameters both. What max_age and acr_values
	// ask for, the ID token has to show.
	Parameters      map[string]string
	StartParameters []string
	// FormPost asks the provider to answer by a POST (OAuth 2.0 Form Post
	// Response Mode); https only, since its state cookie must be SameSite=None.
	FormPost bool
}

// How a client's secret is sent (OpenID Connect Core 1.0 section 9).
const (
	SecretBasic = "client_secret_basic"
	SecretPost  = "client_secret_post"
)

// Login is the OpenID Connect code flow that ends in a session.
//
// Its methods either write the whole answer and return nil, or write no answer
// and return an *Error for the caller to answer with. Callback may have added to
// w.Header() the removal of a state cookie that is used up.
type Login struct {
	provider      *provider
	client        *client
	scopes        []string
	origin        string
	returnOrigins []string
	sessions      *Sessions
	flows         flows
	redemptions   *redemptions
	revoking      chan struct{} // holds one for each that is under way
	keepGroups    func(string) bool
	claims        func() []string
	vocabulary    func() string
	parameters    parameters
	formPost      bool
}

// NewLogin returns a Login. It does not touch the network: the provider may be down.
func NewLogin(cfg LoginConfig) (*Login, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	calls := outgoing(cfg.Client)
	provider, err := newProvider(cfg.Issuer, calls)
	if err != nil {
		return nil, err
	}
	sealer, err := newSealer(cfg.Sessions.secrets, "state")
	if err != nil {
		return nil, err
	}
	l := &Login{
		provider:      provider,
		origin:        cfg.PublicURL.Scheme + "://" + cfg.PublicURL.Host,
		scopes:        slices.Clone(cfg.Scopes),
		returnOrigins: slices.Clone(cfg.ReturnOrigins),
		sessions:      cfg.Sessions,
		flows:         flows{cookies: cfg.Sessions.cookies, sealer: sealer, site: http.SameSiteLaxMode},
		redemptions:   newRedemptions(),
		revoking:      make(chan struct{}, maxRevocations),
		keepGroups:    cfg.KeepGroups,
		claims:        orNone(cfg.Claims),
		vocabulary:    orSilent(cfg.Vocabulary),
		parameters:    cfg.parameters(),
		formPost:      cfg.FormPost,
	}
	if cfg.FormPost {
		l.flows.site = http.SameSiteNoneMode
	}
	l.client = &client{
		id: cfg.ClientID, redirect: l.origin + "/oauth2/callback", provider: provider, http: calls,
	}
	prove := cfg.proof()
	l.client.prove.Store(&prove)
	if !slices.Contains(l.scopes, oidc.ScopeOpenID) {
		l.scopes = append([]string{oidc.ScopeOpenID}, l.scopes...)
	}
	cfg.Sessions.sealers = append(cfg.Sessions.sealers, sealer)
	cfg.Sessions.source, cfg.Sessions.admits, cfg.Sessions.vocabulary = l.renew, l.admits, l.vocabulary
	return l, nil
}

// SetClient has the client prove who it is as cfg says from now on:
// by ClientSecret, ClientKey or ClientAssertion. Who it is and where stays as it
// was, and nothing else of cfg is looked at. An error leaves everything as it was.
func (l *Login) SetClient(cfg LoginConfig) error {
	if err := cfg.checkProof(); err != nil {
		return err
	}
	prove := cfg.proof()
	l.client.prove.Store(&prove)
	return nil
}

// admits reports whether a session that was begun some time ago could be begun now:
// settings change, and deployments that share a secret need not share a provider.
func (l *Login) admits(id *Identity) bool {
	return l.provider.names(id.Issuer, id.Tenant) && l.provider.admits(id.Tenant)
}

func orSilent(vocabulary func() string) func() string {
	if vocabulary == nil {
		return func() string { return "" }
	}
	return vocabulary
}

func (cfg *LoginConfig) check() error {
	if cfg.ClientID == "" {
		return errors.New("login needs a client ID")
	}
	if err := cfg.checkProof(); err != nil {
		return err
	}
	if err := cfg.parameters().check(); err != nil {
		return err
	}
	if cfg.Sessions == nil {
		return errors.New("login needs sessions")
	}
	u := cfg.PublicURL
	if u == nil || checkOrigin(u.Scheme+"://"+u.Host) != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return errors.New("login needs the public URL of the proxy: scheme and host, nothing else")
	}
	if secure := u.Scheme == "https"; secure != cfg.Sessions.cookies.secure {
		return fmt.Errorf("the public URL is %s, but the session cookie is made for the other scheme", u.Scheme)
	}
	if cfg.FormPost && u.Scheme != "https" {
		return errors.New("form_post needs a public URL with https: its cookie must be Secure")
	}
	for _, origin := range cfg.ReturnOrigins {
		if err := checkOrigin(origin); err != nil {
			return fmt.Errorf("return origin: %w", err)
		}
	}
	return nil
}

func (cfg *LoginConfig) checkProof() error {
	given := 0
	for _, is := range []bool{!cfg.ClientSecret.IsZero(), cfg.ClientKey != nil, cfg.ClientAssertion != nil} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return errors.New("a client proves who it is in one way: a secret, a key or an assertion")
	case !slices.Contains([]string{"", SecretBasic, SecretPost}, cfg.SecretMethod):
		return fmt.Errorf("%q is no way to send a client's secret", cfg.SecretMethod)
	case cfg.ClientKey != nil:
		return cfg.ClientKey.check()
	}
	return nil
}

func (cfg *LoginConfig) parameters() parameters {
	return parameters{fixed: maps.Clone(cfg.Parameters), start: slices.Clone(cfg.StartParameters)}
}

func (cfg *LoginConfig) proof() proof {
	switch {
	case cfg.ClientKey != nil:
		key := *cfg.ClientKey
		return byKey(cfg.ClientID, &key, cfg.Issuer)
	case cfg.ClientAssertion != nil:
		return byAssertion(cfg.ClientID, cfg.ClientAssertion)
	case !cfg.ClientSecret.IsZero():
		return bySecret(cfg.ClientID, cfg.ClientSecret, cfg.SecretMethod)
	}
	return byNothing(cfg.ClientID)
}

// Start answers GET /oauth2/start?rd= with a redirect to the provider. An rd
// that ReturnPath refuses counts as "/". Of the query also StartParameters are
// read. Signing in that goes round in circles is ErrForbidden, with ErrLoop.
func (l *Login) Start(w http.ResponseWriter, r *http.Request) error {
	err := l.start(w, r)
	if err == nil {
		l.sessions.tell(LoginStarted, OK)
	}
	return l.told(err)
}

func (l *Login) start(w http.ResponseWriter, r *http.Request) error {
	m, err := l.metadata(r.Context())
	if err != nil {
		return err
	}
	query := r.URL.Query()
	extra, err := l.parameters.of(query)
	if err != nil {
		return err
	}
	back, _ := l.ReturnPath(query.Get("rd"))
	bounces, err := l.bounces(w.Header(), r, back)
	if err != nil {
		return err
	}
	fl := newFlow(back)
	fl.bounces = bounces + 1
	list, asked := options(extra)
	fl.asked = asked
	list = append(list, oauth2.S256ChallengeOption(fl.verifier), oidc.Nonce(fl.nonce))
	if l.formPost {
		list = append(list, oauth2.SetAuthURLParam("response_mode", "form_post"))
	}
	l.flows.keep(w.Header(), r, fl)
	request := oauth2.Config{ClientID: l.client.id, RedirectURL: l.client.redirect, Scopes: l.scopes, Endpoint: m.endpoint}
	redirect(w, request.AuthCodeURL(fl.state, list...))
	return nil
}

// metadata returns what discovery said, with all that a login needs in it.
func (l *Login) metadata(ctx context.Context) (*metadata, error) {
	held, err := l.provider.metadata.get(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	if e := held.value.endpoint; e.AuthURL == "" || e.TokenURL == "" {
		return nil, unavailable(fmt.Errorf("discovering %s: no authorization or no token endpoint", l.provider.URL))
	}
	return held.value, nil
}

// redirect sends the browser on with a GET. The address is set as it is:
// http.Redirect would clean it, into something that ReturnPath did not judge.
// The answer is not to be kept, and the address it came from (with a code in it,
// maybe) is not to be told to anyone.
func redirect(w http.ResponseWriter, address string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Location", address)
	w.WriteHeader(http.StatusSeeOther)
}
