package authn

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// An Issuer is an OpenID provider that is trusted to say who a caller is.
type Issuer struct {
	// URL is the issuer identifier, exactly as the provider spells it. Discovery
	// starts from it. For Entra it is a tenant's v2.0 issuer (which also stands
	// for its v1 form), or a multi-tenant one (…/common/v2.0,
	// …/organizations/v2.0, …/consumers/v2.0), which needs Tenants.
	URL string
	// Endpoints, when not nil, are used as they are, and nothing is discovered.
	Endpoints *Endpoints
	// Audiences are the values of aud accepted in bearer tokens.
	Audiences []string
	// Tenants, when not empty, lists the values of tid that are let in.
	Tenants []string
	// Algorithms are those that its tokens may be signed with; all of
	// [SigningAlgorithms] if there are none. An issuer that is known to use one
	// alone leaves no choice to who forges a token (RFC 8725 section 3.1).
	Algorithms []string
	// GroupsClaim and RolesClaim name the claims to take; "groups" and "roles" if empty.
	GroupsClaim, RolesClaim string
}

// Endpoints are the addresses of a provider, for one that has no discovery
// document or whose document is not to be believed. Login needs the first three,
// Bearer needs Keys.
type Endpoints struct{ Authorization, Token, Keys, EndSession, UserInfo string }

// check reports what makes the issuer unusable.
func (i Issuer) check() error {
	u, err := url.Parse(i.URL)
	if err != nil || (!strings.HasPrefix(i.URL, "https://") && !strings.HasPrefix(i.URL, "http://")) || u.Host == "" || u.User != nil {
		return fmt.Errorf("issuer %q is not an https address", i.URL)
	}
	if strings.ContainsAny(i.URL, "?#") {
		return fmt.Errorf("issuer %q has a query or a fragment", i.URL)
	}
	if i.multiTenant() && len(i.Tenants) == 0 {
		return fmt.Errorf("issuer %q speaks for every tenant there is: list those to let in", i.URL)
	}
	if slices.Contains(i.Audiences, "") || slices.Contains(i.Tenants, "") {
		return errors.New("issuer " + i.URL + ": an empty audience or tenant")
	}
	for _, a := range i.Algorithms {
		if !slices.Contains(SigningAlgorithms(), a) {
			return fmt.Errorf("issuer %s: the algorithm %q is none of %s", i.URL, a, strings.Join(SigningAlgorithms(), ", "))
		}
	}
	return nil
}

func (i Issuer) scheme() string { return i.URL[:strings.IndexByte(i.URL, ':')] }

// entra splits the address of an Entra issuer into its host, the tenant, and
// the prefix that the v1 form of the same issuer has.
func (i Issuer) entra() (host, tenant, v1 string, ok bool) {
	rest, secure := strings.CutPrefix(i.URL, "https://")
	host, path, _ := strings.Cut(rest, "/")
	tenant, ok = strings.CutSuffix(path, "/v2.0")
	if !secure || !ok || tenant == "" || strings.Contains(tenant, "/") {
		return "", "", "", false
	}
	switch host {
	case "login.microsoftonline.com", "login.microsoftonline.us":
		return host, tenant, "https://sts.windows.net/", true
	case "login.partner.microsoftonline.cn":
		return host, tenant, "https://sts.chinacloudapi.cn/", true
	}
	return "", "", "", false
}

func (i Issuer) multiTenant() bool {
	_, tenant, _, ok := i.entra()
	return ok && slices.Contains([]string{"common", "organizations", "consumers"}, tenant)
}

// names reports whether a token with this iss and tid is one of this issuer's.
// The keys of Entra are common to all tenants, so the tenant inside iss has to
// be the one that tid claims and, unless the issuer is multi-tenant, ours.
func (i Issuer) names(iss, tid string) bool {
	if iss == "" {
		return false
	}
	host, tenant, v1, ok := i.entra()
	if !ok {
		return iss == i.URL
	}
	if i.multiTenant() {
		tenant = tid
	}
	return tenant != "" && !strings.ContainsAny(tenant, "/?#%") && (tid == "" || tid == tenant) &&
		(iss == "https://"+host+"/"+tenant+"/v2.0" || iss == v1+tenant+"/")
}

// namesAny reports whether iss is one of a multi-tenant issuer's, of whichever tenant.
func (i Issuer) namesAny(iss string) bool {
	u, err := url.Parse(iss)
	if err != nil {
		return false
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	return i.names(iss, tenant)
}

// binds reports whether a key whose entry in the key set names signer may sign a
// token of the tenant tid. The set of a multi-tenant Entra issuer holds keys of
// single tenants, that of all consumers for one, beside the common ones: without
// this, who may use one of those could sign for every tenant. Keys name v2
// issuers even where they sign v1 tokens.
func (i Issuer) binds(signer, tid string) bool {
	host, tenant, _, ok := i.entra()
	if !ok || signer == "" {
		return true
	}
	if i.multiTenant() {
		tenant = tid
	}
	return strings.ReplaceAll(signer, "{tenantid}", tenant) == "https://"+host+"/"+tenant+"/v2.0"
}

// accepts reports whether tokens may be signed with alg.
func (i Issuer) accepts(alg string) bool {
	return len(i.Algorithms) == 0 || slices.Contains(i.Algorithms, alg)
}

// admits reports whether tid is let in.
func (i Issuer) admits(tid string) bool {
	return len(i.Tenants) == 0 ||
		slices.ContainsFunc(i.Tenants, func(t string) bool { return strings.EqualFold(t, tid) })
}

func (i Issuer) groupsClaim() string { return orElse(i.GroupsClaim, "groups") }
func (i Issuer) rolesClaim() string  { return orElse(i.RolesClaim, "roles") }

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
