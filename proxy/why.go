package proxy

import (
	"errors"
	"slices"
	"strings"

	"amlproxy/authn"
)

// why says to the operator, in a Record, why allows refused id: which rule decided,
// and what stood in the way of those that could not be met at all. The caller is
// told none of it: it is about how the proxy is set up, and about rules that are
// nobody's business. It names no value of a rule and none of the identity.
func (a *access) why(id *authn.Identity) error {
	var said []string
	switch {
	case id == nil:
		return errors.New("nobody is signed in")
	case a == nil:
		return nil
	case len(a.any)+len(a.all)+len(a.none) == 0:
		return errors.New("the rule lets nobody in")
	}
	for _, r := range a.none {
		switch {
		case r.met(id):
			said = append(said, "none."+r.kind+" is met")
		case r.unknown(id):
			said = append(said, "none."+r.kind+" cannot be told")
		}
	}
	for _, r := range a.all {
		if !r.met(id) {
			said = append(said, "all."+r.kind+" is not met")
		}
	}
	if len(a.any) > 0 && !slices.ContainsFunc(a.any, func(r rule) bool { return r.met(id) }) {
		said = append(said, "none of "+kinds(a.any)+" is met")
	}
	return errors.New(strings.Join(append(said, a.obstacles(id)...), "; "))
}

func kinds(rules []rule) string {
	all := make([]string, len(rules))
	for i, r := range rules {
		all[i] = r.kind
	}
	return strings.Join(all, ", ")
}

// obstacles are what kept rules from being met whatever their values are.
func (a *access) obstacles(id *authn.Identity) []string {
	asked := func(names ...string) bool {
		return slices.ContainsFunc(slices.Concat(a.any, a.all, a.none), func(r rule) bool { return slices.Contains(names, r.kind) })
	}
	var all []string
	if asked("emails", "domains") {
		switch {
		case id.Email == "":
			all = append(all, "the provider names no email")
		case !id.EmailVerified:
			all = append(all, "the provider does not say that it verified the email (email_verified, or Entra's optional claim xms_edov), so it counts for no rule")
		case verifiedEmail(id) == nil:
			all = append(all, "the email is not one address")
		}
	}
	if asked("groups") && id.GroupsOmitted {
		all = append(all, "the provider left groups out, since there are too many for a token: have it send those assigned to the application alone (Entra: groupMembershipClaims ApplicationGroup), or use app roles")
	}
	if id.Incomplete {
		all = append(all, "the session is older than the rules, so that what only they name is missing in it: signing in again brings it")
	}
	if asked("scopes") && id.Method == authn.BySession {
		all = append(all, "a session has no scopes")
	}
	return all
}
