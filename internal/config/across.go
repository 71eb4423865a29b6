package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// across warns of rules that callers of every issuer can meet, where there are
// several issuers: a group that is called ml-users at one is another one at the
// next, and an e-mail address is whatever each of them vouches for.
//
// What is a GUID, as Entra's groups and clients are, is nobody else's by accident,
// and a rule that names its issuers meant them: about those nothing is said.
func (c *checker) across() {
	issuers := len(c.s.BearerIssuers)
	if c.s.Login() {
		issuers++
	}
	if issuers < 2 {
		return
	}
	var names []string
	for i := range c.s.Routes {
		if a := c.s.Routes[i].Access; a != nil && a.metElsewhere() {
			names = append(names, c.s.Routes[i].Name)
		}
	}
	if len(names) > 0 {
		c.warn(issuersFamily+"n_URL", "the rules of "+strings.Join(names, ", ")+
			" are met by callers of whichever issuer says so: where that is not meant, add all: {claims: {iss: [\"https://…\"]}} with those that are")
	}
}

// metElsewhere reports whether a rule that lets somebody in names no issuer, and
// something that several could have.
func (a *Access) metElsewhere() bool {
	if len(a.All.Claims["iss"]) > 0 {
		return false
	}
	guid := regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	return slices.ContainsFunc(slices.Concat(a.Any.named(), a.All.named()), func(v string) bool { return !guid.MatchString(v) })
}

// named are the values of all rules but those on iss.
func (r *Rules) named() []string {
	values := slices.Concat(r.Groups, r.Roles, r.Scopes, r.Emails, r.Domains, r.Subjects, r.Clients)
	for _, claim := range slices.Sorted(maps.Keys(r.Claims)) {
		if claim != "iss" {
			values = append(values, r.Claims[claim]...)
		}
	}
	return values
}
