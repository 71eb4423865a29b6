package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"amlproxy/authn"
	"amlproxy/proxy"
)

// always is an Authenticator of one identity.
type always struct{ id authn.Identity }

func (a always) Authenticate(http.Header, *http.Request) (*authn.Identity, error) {
	id := a.id
	return &id, nil
}

// TestTheOperatorIsToldWhyARuleWasNotMet: a rule that cannot be met by anybody
// looks, from outside, like a person without access. The caller reads none of it.
func TestTheOperatorIsToldWhyARuleWasNotMet(t *testing.T) {
	up := record(t, "")
	type rules = proxy.Rules
	groups := rules{Groups: []string{"ml-users"}}
	for name, c := range map[string]struct {
		id     authn.Identity
		access proxy.Access
		status int
		want   string // "" where the answer is 200
	}{
		"an email nobody verified": {
			authn.Identity{Email: "ceo@corp.example"},
			proxy.Access{Any: rules{Emails: []string{"ceo@corp.example"}}},
			403, "none of emails is met; the provider does not say that it verified the email (email_verified, or Entra's optional claim xms_edov)",
		},
		"a domain nobody verified": {
			authn.Identity{Email: "ceo@corp.example"}, proxy.Access{All: rules{Domains: []string{"corp.example"}}}, 403, "all.domains is not met; the provider does not say that it verified",
		},
		"no email at all, an application say": {authn.Identity{Client: "app"}, proxy.Access{Any: rules{Domains: []string{"corp.example"}}}, 403, "the provider names no email"},
		"two addresses in one":                {authn.Identity{Email: "a@evil.example@corp.example", EmailVerified: true}, proxy.Access{Any: rules{Domains: []string{"corp.example"}}}, 403, "the email is not one address"},
		"verified, and another":               {authn.Identity{Email: "a@b.example", EmailVerified: true}, proxy.Access{Any: rules{Domains: []string{"corp.example"}}}, 403, "none of domains is met"},
		"another rule is met":                 {authn.Identity{Email: "a@b.example", Roles: []string{"r"}}, proxy.Access{Any: rules{Domains: []string{"b.example"}, Roles: []string{"r"}}}, 200, ""},
		"groups left out":                     {authn.Identity{GroupsOmitted: true}, proxy.Access{Any: groups}, 403, "none of groups is met; the provider left groups out, since there are too many for a token"},
		"groups left out, all":                {authn.Identity{GroupsOmitted: true}, proxy.Access{All: groups}, 403, "all.groups is not met; the provider left groups out"},
		"groups left out, none":               {authn.Identity{GroupsOmitted: true}, proxy.Access{None: groups}, 403, "none.groups cannot be told; the provider left groups out"},
		"groups left out, and a role":         {authn.Identity{GroupsOmitted: true, Roles: []string{"r"}}, proxy.Access{Any: rules{Groups: groups.Groups, Roles: []string{"r"}}}, 200, ""},
		"some groups left out, ours not":      {authn.Identity{GroupsOmitted: true, Groups: groups.Groups}, proxy.Access{Any: groups}, 200, ""},
		"in a group that is out":              {authn.Identity{Groups: groups.Groups}, proxy.Access{None: groups}, 403, "none.groups is met"},
		"scopes of a session":                 {authn.Identity{Method: authn.BySession}, proxy.Access{Any: rules{Scopes: []string{"score"}}}, 403, "a session has no scopes"},
	} {
		t.Run(name, func(t *testing.T) {
			c.id.Subject = "s"
			h := open(t, proxy.Config{Authenticator: always{c.id}, Routes: []proxy.Route{{Name: "m", Access: &c.access, Transport: to(t, up.url())}}})
			for _, target := range []string{"/models/m", "/oauth2/auth?route=m"} {
				method, ok := "POST", c.status
				if target != "/models/m" {
					method, ok = "GET", map[int]int{200: 202, 403: 403}[c.status]
				}
				a := h.ask(t, method, target, "")
				told := h.record(t).Err
				if a.status != ok || (told == nil) != (c.want == "") || (told != nil && !strings.Contains(told.Error(), c.want)) {
					t.Errorf("%s: %d, %v", target, a.status, told)
				}
				for _, inner := range []string{"groups", "emails", "domains", "xms_edov", "corp.example", "verified"} {
					if strings.Contains(a.body, inner) {
						t.Errorf("%s: the caller is told %q", target, a.body)
					}
				}
			}
		})
	}
}

// TestAnIdentityHeaderIsOneValueOrAbsent: what a reader could take for two values,
// or for another one, is nothing.
func TestAnIdentityHeaderIsOneValueOrAbsent(t *testing.T) {
	for _, value := range []string{"", "a,root", " a", "a ", "a\r\nX-Evil: 1", "é", "a\x00b", "a\tb"} {
		h := open(t, proxy.Config{Authenticator: always{authn.Identity{
			Subject: value, Username: value, Email: value + "@example.com" + value, EmailVerified: true, Groups: []string{value, "plain", value},
		}}})
		a := h.ask(t, "GET", "/oauth2/auth", "")
		if a.status != http.StatusAccepted {
			t.Fatalf("%q: %d", value, a.status)
		}
		for _, name := range []string{"X-Auth-Request-User", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Email", "X-Evil"} {
			if name == "X-Auth-Request-Email" && value == "" {
				continue
			}
			if got, there := a.Header[name]; there {
				t.Errorf("%q: %s is %q", value, name, got)
			}
		}
		if got := a.Header.Values("X-Auth-Request-Groups"); len(got) != 1 || got[0] != "plain" {
			t.Errorf("%q: groups are %q", value, got)
		}
	}
}

// TestTheOperatorIsToldOfGroupsThatSessionsLeaveOut: allowed_groups of another proxy
// is met by nobody's session when no route names the group.
func TestTheOperatorIsToldOfGroupsThatSessionsLeaveOut(t *testing.T) {
	for _, c := range []struct {
		method authn.Method
		query  string
		told   bool
	}{
		{authn.BySession, "allowed_groups=left-out", true},
		{authn.BySession, "allowed_groups=kept,left-out", true},
		{authn.BySession, "allowed_groups=kept", false},
		{authn.BySession, "allowed_groups=", false},
		{authn.ByBearer, "allowed_groups=left-out", false},
	} {
		h := open(t, proxy.Config{
			Authenticator: always{authn.Identity{Subject: "s", Method: c.method}},
			KeepsGroup:    func(group string) bool { return group == "kept" },
		})
		if a := h.ask(t, "GET", "/oauth2/auth?"+c.query, ""); a.status != 403 {
			t.Errorf("%+v: %d", c, a.status)
		}
		if err := h.record(t).Err; err == nil || strings.Contains(err.Error(), "AMLPROXY_SESSION_GROUPS") != c.told || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
