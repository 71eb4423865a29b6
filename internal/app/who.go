package app

import (
	"net/http"
	"slices"
	"sync/atomic"

	"amlproxy/authn"
	"amlproxy/internal/config"
)

// callers is what answers who is calling, and signs people in.
type callers struct {
	authenticator authn.Authenticator
	login         *authn.Login // nil when no login is configured
	issuers       []string
}

// newCallers wires package authn from the settings. names is what the rules in
// force name: it changes with them. With neither a login nor
// issuers of bearer tokens, only public routes exist and nobody is asked.
func newCallers(s *config.Settings, client *http.Client, names *atomic.Pointer[named]) (callers, error) {
	var c callers
	claims := func() []string { return names.Load().claims }
	bearer := authn.BearerConfig{ClientID: s.OIDCClientID, Client: client, Claims: claims}
	var all []authn.Authenticator
	if s.Login() {
		issuer := authn.Issuer{
			URL: s.OIDCIssuer, Audiences: s.OIDCAudiences, Tenants: s.OIDCTenants, Algorithms: s.OIDCAlgorithms,
			GroupsClaim: s.OIDCGroupsClaim, RolesClaim: s.OIDCRolesClaim,
		}
		bearer.Issuers = append(bearer.Issuers, issuer)
		sessions, err := authn.NewSessions(authn.SessionsConfig{
			Secrets: s.CookieSecrets, Secure: s.PublicURL.Scheme == "https",
			Idle: s.SessionIdle, Max: s.SessionMax, Refresh: s.SessionRefresh,
		})
		if err != nil {
			return callers{}, err
		}
		c.login, err = authn.NewLogin(authn.LoginConfig{
			Issuer: issuer, ClientID: s.OIDCClientID, ClientSecret: s.OIDCClientSecret, Scopes: s.OIDCScopes,
			PublicURL: s.PublicURL.URL, ReturnOrigins: s.ReturnOrigins, Sessions: sessions, Client: client,
			KeepGroups: func(group string) bool { return names.Load().groups[group] }, Claims: claims,
		})
		if err != nil {
			return callers{}, err
		}
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

// named is what the rules of all routes name: a session keeps no more than that.
type named struct {
	groups map[string]bool
	claims []string
}

func namedIn(routes []config.Route) named {
	n := named{groups: map[string]bool{}}
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
	return n
}
