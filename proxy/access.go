package proxy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"amlproxy/authn"
)

// A rule is one kind of value of an identity, and the values of it that meet the rule.
type rule struct {
	kind   string // for messages: "groups", "claims.department"
	of     func(*authn.Identity) []string
	values map[string]bool
}

func (r rule) met(id *authn.Identity) bool {
	return slices.ContainsFunc(r.of(id), func(v string) bool { return r.values[v] })
}

// unknown reports whether it cannot be told if id meets the rule: nobody said what
// it asks for. That counts against the caller where meeting it would (C7).
func (r rule) unknown(id *authn.Identity) bool {
	switch r.kind {
	case "groups":
		return id.GroupsOmitted || id.Incomplete
	case "emails", "domains":
		return id.Email == ""
	}
	return id.Incomplete && strings.HasPrefix(r.kind, "claims.")
}

// access is an Access made ready. A nil one lets in anyone signed in.
type access struct{ any, all, none []rule }

// allows reports whether id may call. It never lets in nobody: a nil identity is
// refused here once more, whatever became of the steps before. Groups that the
// provider left out count against the caller: he may be in those of none.
func (a *access) allows(id *authn.Identity) bool {
	met := func(r rule) bool { return r.met(id) }
	maybe := func(r rule) bool { return r.met(id) || r.unknown(id) }
	missed := func(r rule) bool { return !r.met(id) }
	switch {
	case id == nil:
		return false
	case a == nil:
		return true
	case len(a.any)+len(a.all)+len(a.none) == 0:
		return false
	case slices.ContainsFunc(a.none, maybe):
		return false
	case slices.ContainsFunc(a.all, missed):
		return false
	}
	return len(a.any) == 0 || slices.ContainsFunc(a.any, met)
}

func newAccess(a *Access) (*access, error) {
	if a == nil {
		return nil, nil
	}
	var made access
	var errs []error
	for _, part := range []struct {
		name  string
		rules Rules
		to    *[]rule
	}{{"any", a.Any, &made.any}, {"all", a.All, &made.all}, {"none", a.None, &made.none}} {
		rules, err := newRules(part.rules, part.name == "none")
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", part.name, err))
		}
		*part.to = rules
	}
	if len(made.any)+len(made.all)+len(made.none) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no rule at all; leave access out to let in anyone signed in"))
	}
	return &made, errors.Join(errs...)
}

// newRules makes rules ready. One that denies is met more easily than one that lets
// in: an address need not be verified, and its case does not matter.
func newRules(r Rules, denies bool) ([]rule, error) {
	emails, fold, domains := verifiedEmail, foldDomain, verifiedDomain
	if denies {
		emails, fold, domains = claimedEmail, strings.ToLower, claimedDomains
	}
	all := []struct {
		kind   string
		values []string
		of     func(*authn.Identity) []string
		fold   func(string) string
	}{
		{"groups", r.Groups, func(id *authn.Identity) []string { return id.Groups }, nil},
		{"roles", r.Roles, func(id *authn.Identity) []string { return id.Roles }, nil},
		{"scopes", r.Scopes, func(id *authn.Identity) []string { return id.Scopes }, nil},
		{"emails", r.Emails, emails, fold},
		{"domains", r.Domains, domains, strings.ToLower},
		{"subjects", r.Subjects, func(id *authn.Identity) []string { return []string{id.Subject} }, nil},
		{"clients", r.Clients, func(id *authn.Identity) []string { return []string{id.Client} }, nil},
	}
	var made []rule
	var errs []error
	add := func(kind string, values []string, of func(*authn.Identity) []string, fold func(string) string) {
		if values == nil {
			return
		}
		one, err := newRule(kind, values, fold)
		one.of = of
		made, errs = append(made, one), append(errs, err)
	}
	for _, k := range all {
		add(k.kind, k.values, k.of, k.fold)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Claims)) {
		values := r.Claims[name]
		if values == nil {
			values = []string{}
		}
		add("claims."+name, values, func(id *authn.Identity) []string { return id.Claims[name] }, nil)
	}
	return made, errors.Join(errs...)
}

// newRule refuses an empty list, and an empty value: it would be met by whatever
// the provider said nothing about.
func newRule(kind string, values []string, fold func(string) string) (rule, error) {
	made := rule{kind: kind, values: make(map[string]bool, len(values))}
	if len(values) == 0 {
		return made, fmt.Errorf("%s: an empty list", kind)
	}
	for _, v := range values {
		if v == "" {
			return made, fmt.Errorf("%s: an empty value", kind)
		}
		if fold != nil {
			v = fold(v)
		}
		made.values[v] = true
	}
	return made, nil
}

// verifiedEmail returns the address of id if the provider vouches for it; any
// other is what the caller claims about himself (nOAuth). One without exactly one
// "@" is nobody's: a@evil.example@corp.example is of neither domain (CVE-2026-40574).
func verifiedEmail(id *authn.Identity) []string {
	local, domain, _ := strings.Cut(id.Email, "@")
	if !id.EmailVerified || local == "" || domain == "" || strings.Contains(domain, "@") {
		return nil
	}
	return []string{foldDomain(id.Email)}
}

func verifiedDomain(id *authn.Identity) []string {
	email := verifiedEmail(id)
	if email == nil {
		return nil
	}
	_, domain, _ := strings.Cut(email[0], "@")
	return []string{domain}
}

// claimedEmail returns the address of id whoever vouches for it, in lower case.
func claimedEmail(id *authn.Identity) []string { return []string{strings.ToLower(id.Email)} }

// claimedDomains returns whatever part of the address somebody might take for its domain.
func claimedDomains(id *authn.Identity) []string {
	return strings.Split(strings.ToLower(id.Email), "@")[1:]
}

// foldDomain lowers the domain alone: RFC 5321 section 2.4 leaves the local part
// to the host, and one that does distinguish case has two people there.
func foldDomain(email string) string {
	at := strings.LastIndexByte(email, '@') + 1
	return email[:at] + strings.ToLower(email[at:])
}
