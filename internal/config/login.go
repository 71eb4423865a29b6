package config

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"amlproxy/internal/secret"
)

// login judges how people sign in. An issuer makes it a login, and then nothing
// that it stands on may be missing.
func (c *checker) login() {
	c.cookieSecrets()
	c.sessionTimes()
	c.origins("RETURN_ORIGINS", c.s.ReturnOrigins)
	if !c.has("OIDC_ISSUER") {
		c.withoutIssuer()
		return
	}
	for _, name := range []string{"OIDC_CLIENT_ID", "PUBLIC_URL", "COOKIE_SECRET"} {
		if !c.has(name) {
			c.mistake(name, "is missing: "+Prefix+"OIDC_ISSUER needs it for the login")
		}
	}
	c.issuer(Prefix+"OIDC_ISSUER", Prefix+"OIDC_TENANTS", c.s.OIDCIssuer, c.s.OIDCTenants)
	c.algorithms(Prefix+"OIDC_ALGORITHMS", c.s.OIDCAlgorithms)
	c.audiences(Prefix+"OIDC_AUDIENCES", c.s.OIDCAudiences)
	if _, ok := c.value("OIDC_SCOPES"); ok && !slices.Contains(c.s.OIDCScopes, "openid") && c.s.OIDCScopes != nil {
		c.mistake("OIDC_SCOPES", "lacks openid, without which it is no OpenID login")
	}
	for _, s := range c.s.OIDCScopes {
		if what := scopeToken(s); what != "" {
			c.mistake("OIDC_SCOPES", what)
		}
	}
	c.client()
	if c.s.OIDCAudiences == nil && c.s.OIDCClientID != "" {
		c.s.OIDCAudiences = []string{c.s.OIDCClientID}
	}
}

// withoutIssuer reports settings of a login that will not be: someone believes
// they protect something.
func (c *checker) withoutIssuer() {
	for _, row := range c.table {
		if name := strings.TrimPrefix(row.name, Prefix); strings.HasPrefix(name, "OIDC_") && c.has(name) {
			c.mistake(name, "has no effect without "+Prefix+"OIDC_ISSUER: set that, or remove this")
		}
	}
}

// issuers judges the further issuers of bearer tokens.
func (c *checker) issuers() {
	seen := map[string]string{}
	if c.s.OIDCIssuer != "" {
		seen[c.s.OIDCIssuer] = Prefix + "OIDC_ISSUER"
	}
	for i, b := range c.s.BearerIssuers {
		prefix := issuersFamily + strconv.Itoa(i) + "_"
		if !c.seen[prefix+"URL"] {
			c.add(prefix+"URL", "is missing: an issuer needs it")
		}
		if !c.seen[prefix+"AUDIENCES"] {
			c.add(prefix+"AUDIENCES", "is missing: without it, tokens for other services would be accepted here")
		}
		if first, twice := seen[b.URL]; twice && b.URL != "" {
			c.add(prefix+"URL", "is the issuer of "+first+" as well: name each once")
		}
		seen[b.URL] = prefix + "URL"
		c.issuer(prefix+"URL", prefix+"TENANTS", b.URL, b.Tenants)
		c.algorithms(prefix+"ALGORITHMS", b.Algorithms)
		c.audiences(prefix+"AUDIENCES", b.Audiences)
	}
}

// algorithms takes asymmetric ones alone: what verifies an HMAC can also make one.
func (c *checker) algorithms(where string, list []string) {
	known := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	for _, a := range list {
		if !slices.Contains(known, a) {
			c.add(where, "has something else than "+strings.Join(known, ", ")+", which are all there are")
			return
		}
	}
}

// audiences refuses Azure's own: whoever holds a token for one of them, for
// whatever purpose it was made, could call every model here with it.
func (c *checker) audiences(where string, list []string) {
	for _, a := range list {
		host, _, _ := strings.Cut(strings.TrimPrefix(a, "https://"), "/")
		switch host {
		case "ml.azure.com", "management.azure.com", "management.core.windows.net", "graph.microsoft.com", "00000003-0000-0000-c000-000000000000":
			c.add(where, "names a service of Azure itself, so every token for that would be good here: register an application for this proxy, and name that")
			return
		}
	}
}

// issuer judges an issuer's URL (OpenID Connect Discovery 1.0 section 4.1: no
// query, no fragment). It is kept as written, because tokens must repeat it
// exactly. Entra's common issuers vouch for everyone in every tenant.
func (c *checker) issuer(where, tenantsWhere, value string, tenants []string) {
	if value == "" {
		return
	}
	u := c.web(where, value)
	if u == nil {
		return
	}
	if u.RawQuery != "" || u.ForceQuery {
		c.add(where, "has a query: an issuer has none")
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	entra := strings.HasPrefix(u.Hostname(), "login.microsoftonline.") || u.Hostname() == "login.partner.microsoftonline.cn" || u.Hostname() == "login.chinacloudapi.cn"
	if entra && slices.Contains([]string{"common", "organizations", "consumers"}, first) && !c.seen[tenantsWhere] && tenants == nil {
		c.add(tenantsWhere, "is missing: that issuer vouches for every tenant there is, so name those that are let in")
	}
}

// sessionTimes are judged together: a session that is renewed later than it ends
// would never be.
func (c *checker) sessionTimes() {
	s := c.s
	if s.SessionIdle > s.SessionMax && s.SessionMax > 0 {
		c.mistake("SESSION_IDLE", "is longer than "+Prefix+"SESSION_MAX ("+s.SessionMax.String()+")")
	}
	if s.SessionRefresh >= s.SessionIdle && s.SessionIdle > 0 {
		c.mistake("SESSION_REFRESH", "is not shorter than "+Prefix+"SESSION_IDLE ("+s.SessionIdle.String()+")")
	}
}

// cookieSecrets decodes the secrets, in place, to the 32 bytes each that they are.
func (c *checker) cookieSecrets() {
	where := c.place("COOKIE_SECRET")
	for i, s := range c.s.CookieSecrets {
		key, ok := decode32(s.Reveal())
		switch {
		case !ok:
			c.add(where, "is not base64 of exactly 32 bytes: make one with openssl rand -base64 32")
		case !random(key):
			c.add(where, "is not random, so anyone could guess it and sign in as anybody: make one with openssl rand -base64 32")
		case slices.ContainsFunc(c.s.CookieSecrets[:i], secret.New(string(key)).Equal):
			c.add(where, "has the same secret twice")
		case text(key):
			c.warn(where, "decodes to text, which is easier to guess than 32 random bytes: make one with openssl rand -base64 32")
		}
		c.s.CookieSecrets[i] = secret.New(string(key))
	}
}

// place names a secret by the setting it came from, which may be …_FILE.
func (c *checker) place(name string) string {
	if c.fromFile[Prefix+name] {
		return Prefix + name + "_FILE"
	}
	return Prefix + name
}

// decode32 takes both alphabets of RFC 4648, with padding and without.
func decode32(s string) ([]byte, bool) {
	s = strings.TrimRight(s, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := encoding.Strict().DecodeString(s); err == nil && len(b) == 32 {
			return b, true
		}
	}
	return nil, false
}

// random refuses what no generator ever made: few different bytes (all zero, a
// pattern repeated), or bytes in a row. 32 random bytes have fewer than 16
// different ones less than once in 10^14.
func random(b []byte) bool {
	different := map[byte]bool{}
	inRow := true
	for i := range b {
		different[b[i]] = true
		inRow = inRow && (i == 0 || b[i]-b[i-1] == b[1]-b[0])
	}
	return len(different) >= 8 && !inRow
}

func text(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c < ' ' || c > '~' })
}
