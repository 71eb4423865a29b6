package authn

// An Issuer is an OpenID provider that is trusted to say who a caller is.
type Issuer struct {
	// URL is the issuer identifier, exactly as the provider spells it. Discovery
	// starts from it. For Entra either URL of a tenant's v2.0 endpoint, or the
	// multi-tenant ones (…/common/v2.0, …/organizations/v2.0), which need Tenants.
	URL string
	// Audiences are the values of aud accepted in bearer tokens.
	Audiences []string
	// Tenants, when not empty, lists the values of tid that are let in.
	Tenants []string
	// GroupsClaim and RolesClaim name the claims to take; "groups" and "roles" if empty.
	GroupsClaim, RolesClaim string
}
