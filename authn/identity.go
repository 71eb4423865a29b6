package authn

import (
	"maps"
	"slices"
)

// identify reads an Identity from claims that were verified. Values are kept as
// the provider wrote them, control characters and commas included: who puts one
// into a header or a page has to encode it or leave it out.
//
// Guests of an Entra tenant are its users: tid is the tenant's and oid the guest's
// there, the user name is made of a foreign address and #EXT#, the email is the
// foreign one, and idp says where he signed in. A rule on tenants does not tell
// them apart; one on the claim acct does (0 for members), which the application
// has to ask for.
//
// An email counts as verified only where the provider says so. Entra's email is
// what the user or a foreign administrator typed in, unless xms_edov stands
// beside it (the "nOAuth" takeover).
func (i Issuer) identify(c claims, further []string) *Identity {
	id := &Identity{
		Issuer:        c.text("iss"),
		Subject:       c.text("sub"),
		Tenant:        c.text("tid"),
		ObjectID:      c.text("oid"),
		Client:        firstText(c, "azp", "client_id", "appid"),
		Name:          c.text("name"),
		Username:      firstText(c, "preferred_username", "upn", "unique_name"),
		Email:         c.text("email"),
		EmailVerified: c.text("email") != "" && (c.isTrue("email_verified") || c.isTrue("xms_edov")),
		Groups:        c.texts(i.groupsClaim()),
		Roles:         c.texts(i.rolesClaim()),
		GroupsOmitted: c.omits(i.groupsClaim()),
		Scopes:        slices.Concat(c.words("scp"), c.words("scope")),
	}
	id.Time, _ = c.time("auth_time")
	for _, name := range further {
		if values := c.values(name); len(values) > 0 {
			id.addClaims(map[string][]string{name: values})
		}
	}
	return id
}

// addClaims adds the claims of more that id does not have.
func (id *Identity) addClaims(more map[string][]string) {
	for name, values := range more {
		if _, there := id.Claims[name]; there {
			continue
		}
		if id.Claims == nil {
			id.Claims = make(map[string][]string)
		}
		id.Claims[name] = values
	}
}

func firstText(c claims, names ...string) string {
	for _, name := range names {
		if s := c.text(name); s != "" {
			return s
		}
	}
	return ""
}

// clone returns a copy that shares nothing.
func (id *Identity) clone() *Identity {
	c := *id
	c.Groups, c.Roles, c.Scopes = slices.Clone(id.Groups), slices.Clone(id.Roles), slices.Clone(id.Scopes)
	c.Claims = maps.Clone(id.Claims)
	for name, values := range c.Claims {
		c.Claims[name] = slices.Clone(values)
	}
	return &c
}
