package config

import (
	"strings"
	"time"
)

// whoMayCall judges the route's openness. Public is only what says so and
// nothing against it; everything else needs someone who can vouch for callers.
func (c *checker) whoMayCall(r *rawRoute, out *Route) {
	out.Public = r.Public.good() && r.Public.v
	at := r.Public.at
	if a := r.Access; a != nil {
		if a.Public.good() && a.Public.v {
			out.Public, at = true, a.Public.at
		}
		out.Access = c.access(a)
	}
	switch {
	case out.Public && r.Access != nil && !(out.Access == nil && r.Access.Public.set()):
		c.add(at, "makes the route public, but it has access rules: keep one of the two")
	case out.Public && r.IdentityHeaders.set():
		c.add(r.IdentityHeaders.at, "are for nobody: a public route does not know its callers")
	case !out.Public && !r.Public.bad && !c.has("OIDC_ISSUER") && !c.numbered(issuersFamily):
		c.add(r.at, "is not public, so callers must sign in: set "+Prefix+"OIDC_ISSUER or "+issuersFamily+"0_URL, or say public: true")
	}
}

// access turns the rules into plain lists; nil when there are none.
func (c *checker) access(a *rawAccess) *Access {
	out := Access{Any: c.rules(&a.rawRules)}
	some := a.some()
	if a.All != nil {
		out.All = c.rules(&a.All.rawRules)
		some = true
	}
	if a.None != nil {
		out.None = c.rules(&a.None.rawRules)
		some = true
	}
	if !some {
		if a.Public.good() && !a.Public.v {
			c.add(a.at, "has no rule: leave access out to let in anyone signed in")
		}
		return nil
	}
	return &out
}

// some reports whether any rule was written, readable or not.
func (r *rawRules) some() bool {
	for _, l := range r.lists() {
		if l.set() {
			return true
		}
	}
	return r.Claims.set()
}

func (r *rawRules) lists() []leaf[[]item] {
	return []leaf[[]item]{r.Groups, r.Roles, r.Scopes, r.Emails, r.Domains, r.Subjects, r.Clients}
}

func (c *checker) rules(r *rawRules) Rules {
	out := Rules{
		Groups:   c.ruleValues(r.Groups, nil),
		Roles:    c.ruleValues(r.Roles, nil),
		Scopes:   c.ruleValues(r.Scopes, scopeToken),
		Emails:   lower(c.ruleValues(r.Emails, email)),
		Domains:  lower(c.ruleValues(r.Domains, domain)),
		Subjects: c.ruleValues(r.Subjects, nil),
		Clients:  c.ruleValues(r.Clients, nil),
	}
	for name, list := range r.Claims.v {
		if out.Claims == nil {
			out.Claims = map[string][]string{}
		}
		if strings.TrimSpace(name) != name || name == "" || noControl(name) != nil {
			c.add(r.Claims.at, "has a claim whose name is empty or has blanks around it")
		}
		out.Claims[name] = c.ruleValues(leaf[[]item]{v: list}, nil)
	}
	return out
}

// ruleValues lists the values of one rule. check returns what is wrong, or "".
func (c *checker) ruleValues(l leaf[[]item], check func(string) string) []string {
	var out []string
	for _, i := range l.v {
		if i.v == "*" {
			c.add(i.at, "is not a wildcard here: to let in anyone signed in, leave access out")
		} else if check != nil {
			if what := check(i.v); what != "" {
				c.add(i.at, what)
			}
		}
		out = append(out, i.v)
	}
	return out
}

// lower brings domains, and those of addresses, into lower case: case means
// nothing in them. The part before the @ is left as it is.
func lower(list []string) []string {
	for i, v := range list {
		at := strings.LastIndexByte(v, '@') + 1
		list[i] = v[:at] + strings.ToLower(v[at:])
	}
	return list
}

// email wants exactly one @: of a@evil.example@corp.example, programs disagree
// which part is the domain (CVE-2026-40574).
func email(s string) string {
	local, host, _ := strings.Cut(s, "@")
	if local == "" || strings.Count(s, "@") != 1 || domain(host) != "" || strings.ContainsAny(s, " \t\"(),:;<>[]\\") {
		return "is not an e-mail address: it has exactly one @, with something on both sides"
	}
	return ""
}

func domain(s string) string {
	switch {
	case strings.Contains(s, "@"):
		return "has an @: write the domain alone, example.com"
	case !plainHost(s) || strings.HasSuffix(s, ".") || strings.Contains(s, "_"):
		return "is not a domain: write it like example.com, without wildcard or dot around it"
	}
	return ""
}

// scopeToken follows RFC 6749 section 3.3.
func scopeToken(s string) string {
	for i := range len(s) {
		if b := s[i]; b <= ' ' || b > '~' || b == '"' || b == '\\' {
			return "is not a scope: it is one word of printable characters (RFC 6749 section 3.3)"
		}
	}
	return ""
}

func (c *checker) rateLimit(r *rawRateLimit) *RateLimit {
	if r == nil {
		return nil
	}
	if !r.Requests.set() || !r.Per.set() {
		c.add(r.at, "needs both requests and per: 60 per 1m, say")
	}
	out := &RateLimit{
		Requests: atLeastOne(c, r.Requests, 1),
		Per:      atLeastOne[time.Duration](c, r.Per, time.Minute),
		By:       "user",
	}
	out.Burst = atLeastOne(c, r.Burst, out.Requests)
	if r.By.set() {
		if by := c.oneOf(leaf[[]item]{v: []item{{r.By.v, r.By.at}}, bad: r.By.bad}, "user", "client", "address", "route"); len(by) == 1 {
			out.By = by[0]
		}
	}
	return out
}
