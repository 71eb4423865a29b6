package app

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"

	"amlproxy/authn"
	"amlproxy/internal/config"
	"amlproxy/internal/secret"
)

// callers is what answers who is calling, and signs people in.
type callers struct {
	authenticator authn.Authenticator
	login         *authn.Login    // nil when no login is configured
	sessions      *authn.Sessions // nil when no login is configured
	store         *authn.Redis    // nil: replicas share nothing
	issuers       []string
	proof         authn.LoginConfig // how the login's client proves itself, among others
}

// takeOver takes what can be replaced while people are signed in: the secrets that
// sessions are sealed with, and how the login's client proves itself.
func (c callers) takeOver(fresh *config.Settings) error {
	if c.login == nil {
		return nil
	}
	proof := c.proof
	var err error
	if proof.ClientKey, proof.ClientAssertion, err = proofOfClient(fresh); err != nil {
		return err
	}
	proof.ClientSecret = fresh.OIDCClientSecret
	if err := c.login.SetClient(proof); err != nil {
		return err
	}
	return c.sessions.SetSecrets(fresh.CookieSecrets)
}

// newCallers wires package authn from the settings. names is what the rules in
// force name: it changes with them. With neither a login nor
// issuers of bearer tokens, only public routes exist and nobody is asked.
func newCallers(s *config.Settings, client *http.Client, pool *x509.CertPool, names *atomic.Pointer[named], observe func(authn.Event)) (callers, error) {
	var c callers
	claims := func() []string { return names.Load().claims }
	vocabulary := func() string { return names.Load().fingerprint }
	bearer := authn.BearerConfig{ClientID: s.OIDCClientID, Client: client, Claims: claims, Vocabulary: vocabulary, Observe: observe}
	var all []authn.Authenticator
	var err error
	if c.store, err = newStore(s, pool); err != nil {
		return callers{}, err
	}
	if s.Login() {
		issuer := authn.Issuer{
			URL: s.OIDCIssuer, Audiences: s.OIDCAudiences, Tenants: s.OIDCTenants, Algorithms: s.OIDCAlgorithms,
			GroupsClaim: s.OIDCGroupsClaim, RolesClaim: s.OIDCRolesClaim,
		}
		issuer.Endpoints = endpointsOf(s)
		bearer.Issuers = append(bearer.Issuers, issuer)
		sessions, err := authn.NewSessions(authn.SessionsConfig{
			Secrets: s.CookieSecrets, Secure: s.PublicURL.Scheme == "https",
			Idle: s.SessionIdle, Max: s.SessionMax, Refresh: s.SessionRefresh, Redis: c.store, Observe: observe,
		})
		if err != nil {
			return callers{}, err
		}
		login := authn.LoginConfig{
			Issuer: issuer, ClientID: s.OIDCClientID, ClientSecret: s.OIDCClientSecret, Scopes: s.OIDCScopes,
			PublicURL: s.PublicURL.URL, ReturnOrigins: s.ReturnOrigins, Sessions: sessions, Client: client,
			KeepGroups: func(group string) bool { return names.Load().groups[group] }, Claims: claims, Vocabulary: vocabulary,
			SecretMethod: s.OIDCClientAuth, FormPost: s.OIDCResponseMode == "form_post",
			Parameters: s.LoginParameters(), StartParameters: s.StartParameters(),
		}
		if login.ClientKey, login.ClientAssertion, err = proofOfClient(s); err != nil {
			return callers{}, err
		}
		c.proof = login
		c.login, err = authn.NewLogin(login)
		if err != nil {
			return callers{}, err
		}
		c.sessions = sessions
		all = append(all, sessions)
	}
	for _, b := range s.BearerIssuers {
		bearer.Issuers = append(bearer.Issuers, authn.Issuer{
			URL: b.URL, Audiences: b.Audiences, Tenants: b.Tenants, Algorithms: b.Algorithms,
			GroupsClaim: b.GroupsClaim, RolesClaim: b.RolesClaim,
		})
	}
	if len(bearer.Issuers) == 0 {
		return c, nil
	}
	bearer.Login = c.login
	tokens, err := authn.NewBearer(bearer)
	if err != nil {
		return callers{}, err
	}
	for _, issuer := range bearer.Issuers {
		c.issuers = append(c.issuers, issuer.URL)
	}
	c.authenticator = authn.FirstOf(slices.Insert(all, 0, authn.Authenticator(tokens))...)
	return c, nil
}

// proofOfClient returns how the login's client proves itself, unless it is by a secret.
func proofOfClient(s *config.Settings) (*authn.ClientKey, func() (secret.Value, error), error) {
	if file := s.OIDCAssertionFile; file != "" {
		return nil, func() (secret.Value, error) { return config.ReadAssertion(file) }, nil
	}
	if s.OIDCClientKeyFile == "" {
		return nil, nil, nil
	}
	key, cert, err := config.ReadClientKey(s.OIDCClientKeyFile, s.OIDCClientCertFile)
	if err != nil {
		return nil, nil, fmt.Errorf("the key of the login's client: %w", err)
	}
	return &authn.ClientKey{Key: key, Certificate: cert, ID: s.OIDCClientKeyID, Audience: s.OIDCAssertionAudience}, nil, nil
}

// endpointsOf returns the endpoints that were set by hand, nil for discovery.
func endpointsOf(s *config.Settings) *authn.Endpoints {
	if s.OIDCAuthorizationURL == "" {
		return nil
	}
	return &authn.Endpoints{
		Authorization: s.OIDCAuthorizationURL, Token: s.OIDCTokenURL, Keys: s.OIDCKeysURL,
		EndSession: s.OIDCEndSessionURL, UserInfo: s.OIDCUserinfoURL,
	}
}

// named is what the rules of all routes name, and SESSION_GROUPS: a session keeps no
// more than that.
type named struct {
	groups      map[string]bool
	claims      []string
	fingerprint string // another one for other names
}

func namedIn(s *config.Settings) named {
	n, routes := named{groups: map[string]bool{}}, s.Routes
	for _, group := range s.SessionGroups {
		n.groups[group] = true
	}
	for i := range routes {
		access := routes[i].Access
		if access == nil {
			continue
		}
		for _, rules := range []config.Rules{access.Any, access.All, access.None} {
			for _, group := range rules.Groups {
				n.groups[group] = true
			}
			for claim := range rules.Claims {
				n.claims = append(n.claims, claim)
			}
		}
	}
	slices.Sort(n.claims)
	n.claims = slices.Compact(n.claims)
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", slices.Sorted(maps.Keys(n.groups)), n.claims))
	n.fingerprint = base64.RawURLEncoding.EncodeToString(sum[:9])
	return n
}
