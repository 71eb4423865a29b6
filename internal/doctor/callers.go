package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"amlproxy/authn"
	"amlproxy/internal/app"
	"amlproxy/internal/config"
)

// A callers is everything that says who is calling, and what has been found out
// about it so far.
type callers struct {
	settings  *config.Settings
	options   Options
	transport *http.Transport
	login     *authn.Login // nil: nobody signs in
	store     *authn.Redis // nil: sessions are in their cookies

	checks []Check

	mu     sync.Mutex
	clocks []reading
}

// An issuer is one of those in the settings.
type issuer struct {
	name       string // of its checks: "login", "bearer 0"
	at         *url.URL
	written    string // the address as it stands in the settings
	setting    string // where
	algorithms []string
	audiences  []string
	dated      func(http.Header) // is given the header of an answer

	byHand bool // its endpoints are in the settings, and nothing is discovered

	mu   sync.Mutex
	said metadata // once its discovery was read
}

// Callers returns the checks of who is calling: what sessions are made of, and each
// issuer's discovery and keys; and, of the one that people sign in at, whether it
// knows the proxy. end is to be called after Run. The error is of settings that
// nothing can be built from. Nobody is signed in, and no token is asked for that
// could be given.
func Callers(s *config.Settings, o Options) (checks []Check, end func(), err error) {
	if o.Lookup == nil {
		o.Lookup = net.DefaultResolver.LookupHost
	}
	transport, other, err := app.Transports(s)
	if err != nil {
		return nil, nil, err
	}
	other.CloseIdleConnections()
	if o.Tune != nil {
		o.Tune(transport)
	}
	c := &callers{settings: s, options: o, transport: transport}
	if c.login, c.store, err = app.Login(s, transport); err != nil {
		return nil, nil, err
	}
	c.all()
	if o.Limit != 0 {
		for i := range c.checks {
			c.checks[i].Limit = o.Limit
		}
	}
	return c.checks, c.end, nil
}

func (c *callers) end() {
	c.transport.CloseIdleConnections()
	if c.store != nil {
		_ = c.store.Close()
	}
}

func (c *callers) add(check Check) { c.checks = append(c.checks, check) }

func (c *callers) all() {
	var asked []string
	if c.settings.Login() {
		c.add(Check{Name: "login: cookie", Ask: c.cookie})
		i := c.issuer("login", "OIDC_ISSUER", c.settings.OIDCIssuer, c.settings.OIDCAudiences, c.settings.OIDCAlgorithms)
		c.add(Check{Name: "login: flow", Needs: []string{"login: discovery"}, Ask: i.flow})
		c.add(Check{Name: "login: scopes", Needs: []string{"login: discovery"}, Ask: func(context.Context) Finding { return c.scopes(i) }})
		c.add(Check{Name: "login: redirect URI", Needs: []string{"login: discovery"}, Ask: func(ctx context.Context) Finding { return c.redirectURI(ctx, i) }})
		c.add(Check{Name: "login: client", Needs: []string{"login: discovery"}, Ask: c.client})
		c.add(Check{Name: "login: sessions", Ask: c.sessions})
		c.add(Check{Name: "login: audience", Ask: func(context.Context) Finding { return audience(i) }})
		asked = append(asked, "login: keys")
	}
	for n, b := range c.settings.BearerIssuers {
		name := fmt.Sprint("bearer ", n)
		i := c.issuer(name, fmt.Sprintf("BEARER_ISSUERS_%d_URL", n), b.URL, b.Audiences, b.Algorithms)
		c.add(Check{Name: name + ": audience", Ask: func(context.Context) Finding { return audience(i) }})
		asked = append(asked, name+": keys")
	}
	if len(asked) > 0 {
		c.add(Check{Name: "callers: clock", After: asked, Ask: c.clock})
	}
}

// issuer adds what is asked about every issuer.
func (c *callers) issuer(name, setting, written string, audiences, algorithms []string) *issuer {
	i := &issuer{name: name, setting: config.Prefix + setting, written: written, audiences: audiences, algorithms: algorithms}
	i.dated = func(header http.Header) {
		if by, ok := ahead(header); ok {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.clocks = append(c.clocks, reading{i.at.Hostname(), by})
		}
	}
	i.at, _ = url.Parse(written) // valid, or there would be no settings
	if s := c.settings; name == "login" && s.OIDCAuthorizationURL != "" {
		i.byHand, i.setting = true, config.Prefix+"OIDC_TOKEN_URL"
		i.at, _ = url.Parse(s.OIDCTokenURL)
		i.said = metadata{Issuer: written, Authorization: s.OIDCAuthorizationURL, Token: s.OIDCTokenURL, Keys: s.OIDCKeysURL}
	}
	w := way{c.transport, c.options.Lookup, i.setting}
	c.add(Check{Name: name + ": dns", Ask: func(ctx context.Context) Finding { return w.resolves(ctx, i.at) }})
	c.add(Check{Name: name + ": connection", Needs: []string{name + ": dns"}, Ask: func(ctx context.Context) Finding {
		_, f := w.connects(ctx, i.at)
		return f
	}})
	c.add(Check{Name: name + ": discovery", Needs: []string{name + ": connection"}, Ask: func(ctx context.Context) Finding { return i.discover(ctx, w) }})
	c.add(Check{Name: name + ": keys", Needs: []string{name + ": discovery"}, Ask: func(ctx context.Context) Finding { return i.keys(ctx, w) }})
	return i
}

// clock compares ours with those of the providers, who write the times in tokens.
func (c *callers) clock(context.Context) Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	return compareClocks(c.clocks, "the providers'")
}

// cookie says what a session's cookie will be, from the scheme that callers use.
func (c *callers) cookie(context.Context) Finding {
	at := c.settings.PublicURL
	if at.Scheme == "https" {
		return Finding{Detail: "__Host-amlproxy, Secure: callers use " + at.String()}
	}
	f := Finding{Detail: "amlproxy, not Secure: callers use " + at.String()}
	switch {
	case c.settings.TLSCertFile != "":
		f.State, f.Hints = Fail, []string{"TLS is served (AMLPROXY_TLS_CERT_FILE), so no browser comes back to that address: make AMLPROXY_PUBLIC_URL https"}
	case at.Hostname() != "localhost" && !loopback(at.Hostname()):
		f.State = Warn
		f.Detail += ": who listens on the way can take sessions over"
		f.Hints = []string{"serve TLS (AMLPROXY_TLS_CERT_FILE), or have it ended in front, and make AMLPROXY_PUBLIC_URL https"}
	}
	return f
}

// sessions says where they live. Without a store each replica renews by itself,
// which a provider that detects reuse of refresh tokens takes for theft.
func (c *callers) sessions(ctx context.Context) Finding {
	if c.store == nil {
		f := Finding{Detail: "in their cookies: a copy of one works until it is idle, whoever signs out"}
		if slices.Contains(c.settings.OIDCScopes, "offline_access") {
			f.Detail += "; each replica refreshes for itself"
			f.Hints = []string{"with several replicas, set AMLPROXY_REDIS_URL, so that one alone refreshes and signing out reaches all"}
		}
		return f
	}
	if err := c.store.Ping(ctx); err != nil {
		return Finding{Fail, "Redis does not answer: " + cause(ctx, err), []string{"nobody who signed in is served until it does: see AMLPROXY_REDIS_URL"}}
	}
	return Finding{Detail: "in Redis, which answers"}
}

// audience says what a token has to be for.
func audience(i *issuer) Finding {
	f := Finding{Detail: "bearer tokens have to be for " + strings.Join(i.audiences, " or ")}
	if len(i.audiences) == 0 {
		return Finding{Fail, "no audience: every token of the issuer would be accepted", []string{"name the proxy's own in " + i.sibling("AUDIENCES")}}
	}
	if i.entra() && !slices.ContainsFunc(i.audiences, func(a string) bool { return strings.HasPrefix(a, "api://") }) {
		f.Hints = []string{"v1 access tokens name the application ID URI: if the application's requestedAccessTokenVersion is not 2, add api://" + i.audiences[0] + " to " + i.sibling("AUDIENCES")}
	}
	return f
}

// sibling returns the name of another setting of the same issuer.
func (i *issuer) sibling(key string) string {
	if i.name == "login" {
		return config.Prefix + "OIDC_" + key
	}
	return strings.TrimSuffix(i.setting, "URL") + key
}

func (i *issuer) entra() bool {
	return slices.Contains([]string{"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"}, i.at.Hostname())
}

// flow compares what the provider says it does with what a login needs.
func (i *issuer) flow(context.Context) Finding {
	said := i.metadata()
	var without []string
	for _, need := range []struct {
		what, value string
		offered     []string
	}{
		{"response_types_supported", "code", said.ResponseTypes},
		{"code_challenge_methods_supported", "S256", said.Challenges},
		{"grant_types_supported", "authorization_code", said.Grants},
	} {
		if need.offered == nil {
			continue // Entra does PKCE and says nothing of it
		}
		if !slices.Contains(need.offered, need.value) {
			without = append(without, fmt.Sprintf("%s is %s, without %s", need.what, cmp.Or(strings.Join(need.offered, " "), "empty"), need.value))
		}
	}
	if len(without) > 0 {
		return Finding{Fail, strings.Join(without, "; "), []string{"switch on the authorization code flow with PKCE (S256) at the provider; there is no other here"}}
	}
	return Finding{Detail: "the code flow with PKCE"}
}
