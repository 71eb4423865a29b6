package proxy_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/proxy"
)

func TestEveryAccessRuleLetsInWhomItNamesAndDeniesTheOthers(t *testing.T) {
	up := record(t, "")
	transport := to(t, up.url())
	type rules = proxy.Rules
	one := func(v string) []string { return []string{v} }
	for name, c := range map[string]struct {
		access proxy.Access
		in     string // of alice bob eve batch
	}{
		"groups":         {proxy.Access{Any: rules{Groups: one("ml-users")}}, "alice bob"},
		"roles":          {proxy.Access{Any: rules{Roles: one("scorer")}}, "alice"},
		"scopes":         {proxy.Access{Any: rules{Scopes: one("score")}}, "batch"},
		"subjects":       {proxy.Access{Any: rules{Subjects: one("b1")}}, "bob"},
		"clients":        {proxy.Access{Any: rules{Clients: one("batch-job")}}, "batch"},
		"claims":         {proxy.Access{Any: rules{Claims: map[string][]string{"department": one("sales")}}}, "bob"},
		"emails":         {proxy.Access{Any: rules{Emails: []string{"alice@EXAMPLE.com", "bob@example.com"}}}, "alice"}, // bob's is not verified
		"emails' case":   {proxy.Access{Any: rules{Emails: one("ALICE@example.com")}}, ""},
		"domains":        {proxy.Access{Any: rules{Domains: one("Example.COM")}}, "alice"}, // eve has two @
		"domain suffix":  {proxy.Access{Any: rules{Domains: []string{"ample.com", "com", ".com", "evil.example", "evil.example@example.com", "@example.com"}}}, ""},
		"any of several": {proxy.Access{Any: rules{Roles: one("scorer"), Scopes: one("score")}}, "alice batch"},
		"all":            {proxy.Access{All: rules{Groups: one("ml-users"), Roles: one("scorer")}}, "alice"},
		"none":           {proxy.Access{None: rules{Groups: one("ml-users")}}, "eve batch"},
		"together":       {proxy.Access{Any: rules{Groups: one("ml-users")}, All: rules{Claims: map[string][]string{"department": one("sales")}}, None: rules{Roles: one("scorer")}}, "bob"},
		"none wins":      {proxy.Access{Any: rules{Groups: one("ml-users")}, None: rules{Groups: one("ml-admins")}}, "bob"},
		"nobody":         {proxy.Access{Any: rules{Groups: []string{"ml", "ml-users ", "ML-USERS", "ml-users,ml-admins"}}}, ""},
	} {
		h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Access: &c.access, Transport: transport}}})
		for who := range people {
			want := http.StatusForbidden
			if strings.Contains(c.in, who) {
				want = http.StatusOK
			}
			if a := h.ask(t, "POST", "/models/m", "{}", "Authorization: Bearer "+who); a.status != want {
				t.Errorf("%s: %s got %d, want %d", name, who, a.status, want)
			}
			if head, _ := up.last(t); (head != "") != (want == http.StatusOK) {
				t.Errorf("%s: %s: the upstream got %q", name, who, head)
			}
		}
		if a := h.ask(t, "POST", "/models/m", "{}"); a.status != http.StatusUnauthorized {
			t.Errorf("%s: without a credential %d", name, a.status)
		}
	}
}

// same is an Authenticator that lets everybody in as one person.
type same struct{ id *authn.Identity }

func (s same) Authenticate(http.Header, *http.Request) (*authn.Identity, error) { return s.id, nil }

// TestIdentityIsChangedByNobody: it belongs to all requests that bring the same
// token, at the same time. The race detector looks on.
func TestIdentityIsChangedByNobody(t *testing.T) {
	up := record(t, "")
	everything := proxy.Access{
		Any: proxy.Rules{Groups: []string{"ml-users"}, Roles: []string{"none"}, Scopes: []string{"none"}},
		All: proxy.Rules{Domains: []string{"example.com"}, Emails: []string{"alice@example.com"}},
		None: proxy.Rules{
			Groups: []string{"banned"}, Emails: []string{"eve@example.com"}, Domains: []string{"evil.example"},
			Claims: map[string][]string{"department": {"sales"}},
		},
	}
	h := open(t, proxy.Config{Authenticator: same{people["alice"]}, Routes: []proxy.Route{{
		Name: "m", Access: &everything, Transport: to(t, up.url()), IdentityHeaders: []string{"user", "email", "groups"},
		RateLimit: &proxy.RateLimit{Requests: 1000, Per: time.Minute, By: proxy.ByClient},
	}}})
	before := fmt.Sprintf("%#v", *people["alice"])
	var all sync.WaitGroup
	for range 10 {
		for target, method := range map[string]string{"/models/m": "POST", "/": "GET", "/oauth2/userinfo": "GET", "/oauth2/auth?route=m": "GET", "/oauth2/auth?allowed_groups=ml-users": "GET"} {
			all.Go(func() {
				if a := h.ask(t, method, target, ""); a.status/100 != 2 {
					t.Errorf("%s: %d %s", target, a.status, a.body)
				}
			})
		}
	}
	all.Wait()
	if after := fmt.Sprintf("%#v", *people["alice"]); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}

func TestSettingsThatWouldLetSomebodyInAreRefused(t *testing.T) {
	transport := roundTrip(nil)
	public := func(change func(*proxy.Route)) []proxy.Route {
		rt := proxy.Route{Name: "m", Transport: transport}
		change(&rt)
		return []proxy.Route{rt}
	}
	address := func(s string) *url.URL { u, _ := url.Parse(s); return u }
	good := proxy.Config{Record: func(*proxy.Record) {}, Authenticator: door{}, PublicURL: address(publicURL)}
	if _, err := proxy.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*proxy.Config){
		"Record":          func(c *proxy.Config) { c.Record = nil },
		"PublicURL":       func(c *proxy.Config) { c.Login, c.PublicURL = gate{}, nil },
		"Authenticator":   func(c *proxy.Config) { c.Login, c.Authenticator = gate{}, nil },
		"public URL":      func(c *proxy.Config) { c.PublicURL = address("https://x/path") },
		"not scheme":      func(c *proxy.Config) { c.PublicURL = address("ftp://x") },
		"trusted proxies": func(c *proxy.Config) { c.TrustedProxies = append(c.TrustedProxies, prefix("0.0.0.0/0")) },
		"nobody can be":   func(c *proxy.Config) { c.Authenticator = nil; c.Routes = public(func(*proxy.Route) {}) },
		"transport":       func(c *proxy.Config) { c.Routes = public(func(r *proxy.Route) { r.Transport = nil }) },
		"name":            func(c *proxy.Config) { c.Routes = public(func(r *proxy.Route) { r.Name = "M_1" }) },
		"another route has": func(c *proxy.Config) {
			c.Routes = append(public(func(*proxy.Route) {}), public(func(r *proxy.Route) { r.Path = "/y" })...)
		},
		"has its path": func(c *proxy.Config) {
			c.Routes = append(public(func(*proxy.Route) {}), public(func(r *proxy.Route) { r.Name, r.Path = "n", "/models/m" })...)
		},
		"public route has": func(c *proxy.Config) {
			c.Routes = public(func(r *proxy.Route) {
				r.Public, r.Access = true, &proxy.Access{Any: proxy.Rules{Groups: []string{"g"}}}
			})
		},
		"no rule at all": func(c *proxy.Config) { c.Routes = public(func(r *proxy.Route) { r.Access = &proxy.Access{} }) },
		"groups: an empty": func(c *proxy.Config) {
			c.Routes = public(func(r *proxy.Route) { r.Access = &proxy.Access{Any: proxy.Rules{Groups: []string{}}} })
		},
		"all: roles: an": func(c *proxy.Config) {
			c.Routes = public(func(r *proxy.Route) { r.Access = &proxy.Access{All: proxy.Rules{Roles: []string{}}} })
		},
		"none: scopes: an": func(c *proxy.Config) {
			c.Routes = public(func(r *proxy.Route) { r.Access = &proxy.Access{None: proxy.Rules{Scopes: []string{}}} })
		},
		"clients: an empty v": func(c *proxy.Config) {
			c.Routes = public(func(r *proxy.Route) { r.Access = &proxy.Access{Any: proxy.Rules{Clients: []string{""}}} })
		},
		"claims.x: an empty": func(c *proxy.Config) {
			c.Routes = public(func(r *proxy.Route) {
				r.Access = &proxy.Access{Any: proxy.Rules{Claims: map[string][]string{"x": nil}}}
			})
		},
		"methods: an empty":   func(c *proxy.Config) { c.Routes = public(func(r *proxy.Route) { r.Methods = []string{} }) },
		"is not forwarded":    func(c *proxy.Config) { c.Routes = public(func(r *proxy.Route) { r.Methods = []string{"TRACE"} }) },
		"is no method":        func(c *proxy.Config) { c.Routes = public(func(r *proxy.Route) { r.Methods = []string{"*"} }) },
		"paths: an empty":     func(c *proxy.Config) { c.Routes = public(func(r *proxy.Route) { r.Paths = []string{} }) },
		"paths: \"..\"":       func(c *proxy.Config) { c.Routes = public(func(r *proxy.Route) { r.Paths = []string{".."} }) },
		"paths: \"*\" beside": func(c *proxy.Config) { c.Routes = public(func(r *proxy.Route) { r.Paths = []string{"a", "*"} }) },
		"origins: an empty":   func(c *proxy.Config) { c.Routes = public(func(r *proxy.Route) { r.CORS = &proxy.CORS{} }) },
		"excludes credentials": func(c *proxy.Config) {
			c.Routes = public(func(r *proxy.Route) { r.CORS = &proxy.CORS{Origins: []string{"*"}, Credentials: true} })
		},
		"origins: \"null\"": func(c *proxy.Config) {
			c.Routes = public(func(r *proxy.Route) { r.CORS = &proxy.CORS{Origins: []string{"null"}} })
		},
		"origins: \"https://a/\"": func(c *proxy.Config) {
			c.Routes = public(func(r *proxy.Route) { r.CORS = &proxy.CORS{Origins: []string{"https://a/"}} })
		},
		"rate_limit: requests": func(c *proxy.Config) {
			c.Routes = public(func(r *proxy.Route) { r.RateLimit = &proxy.RateLimit{Per: time.Second} })
		},
		"rate_limit: by": func(c *proxy.Config) {
			c.Routes = public(func(r *proxy.Route) { r.RateLimit = &proxy.RateLimit{Requests: 1, Per: 1, By: "x"} })
		},
		"max_concurrent": func(c *proxy.Config) { c.Routes = public(func(r *proxy.Route) { r.MaxConcurrent = -1 }) },
		"max_body":       func(c *proxy.Config) { c.Routes = public(func(r *proxy.Route) { r.MaxBody = -1 }) },
		"timeout":        func(c *proxy.Config) { c.Routes = public(func(r *proxy.Route) { r.Timeout = -1 }) },
		"identity_headers": func(c *proxy.Config) {
			c.Routes = public(func(r *proxy.Route) { r.IdentityHeaders = []string{"name"} })
		},
	} {
		c := good
		change(&c)
		if _, err := proxy.New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	for _, path := range []string{"/oauth2", "/oauth2/x", "/livez", "/readyz/x", "/.well-known", "/.well-known/x", "x", "//x", "/x/", "/x/../y", "/%61", "/a b", "/a;b", "/é", "/a@b"} {
		c := good
		c.Routes = public(func(r *proxy.Route) { r.Path = path })
		if _, err := proxy.New(c); err == nil || !strings.Contains(err.Error(), "path") {
			t.Errorf("path %q: error %v", path, err)
		}
	}
}

func TestLongestPathWins(t *testing.T) {
	up := record(t, "")
	all := []string{"*"}
	h := open(t, proxy.Config{Routes: []proxy.Route{
		{Name: "root", Path: "/", Public: true, Paths: all, Transport: to(t, up.url())},
		{Name: "outer", Path: "/a", Public: true, Paths: all, Transport: to(t, up.url())},
		{Name: "inner", Path: "/a/b", Paths: all, Transport: to(t, up.url())},
	}})
	for target, want := range map[string]string{
		"/": "root", "/x": "root", "/ab": "root", "/a": "outer", "/a/": "outer", "/a/x": "outer", "/a/bc": "outer", "/a/b": "inner", "/a/b/": "inner", "/a/b/c/d": "inner",
	} {
		a := h.ask(t, "GET", target, "")
		rec := h.record(t)
		if rec.Route != want || (a.status == http.StatusOK) == (want == "inner") {
			t.Errorf("%s: route %q, status %d", target, rec.Route, a.status)
		}
		up.last(t)
	}
	if a := h.ask(t, "GET", "/livez", ""); a.status != http.StatusOK || !strings.Contains(a.body, "live") {
		t.Errorf("/livez: %d %q", a.status, a.body)
	}
}

func TestPathsAndMethodsThatARouteDoesNotTakeAreDenied(t *testing.T) {
	up := record(t, "")
	h := open(t, proxy.Config{Routes: []proxy.Route{
		{Name: "default", Public: true, Transport: to(t, up.url())},
		{Name: "narrow", Public: true, Methods: []string{"POST", "HEAD", "PUT"}, Paths: []string{"v1/chat", "swagger.json"}, Transport: to(t, up.url())},
	}})
	for _, c := range []struct {
		method, target string
		status         int
		allow          string
	}{
		{"GET", "/models/default", 200, ""},
		{"POST", "/models/default/score", 200, ""},
		{"GET", "/models/default/swagger.json", 200, ""},
		{"POST", "/models/default/swagger.json", 405, "GET"},
		{"HEAD", "/models/default", 405, "GET, POST"},
		{"DELETE", "/models/default", 405, "GET, POST"},
		{"OPTIONS", "/models/default", 405, "GET, POST"}, // no preflight
		{"TRACE", "/models/default", 405, "GET, POST"},
		{"get", "/models/default", 405, "GET, POST"},
		{"GET", "/models/default/score/", 404, ""},
		{"GET", "/models/default/other", 404, ""},
		{"GET", "/models/default/SCORE", 404, ""},
		{"POST", "/models/narrow", 404, ""},
		{"POST", "/models/narrow/score", 404, ""},
		{"POST", "/models/narrow/v1", 404, ""},
		{"PUT", "/models/narrow/v1/chat", 200, ""},
		{"GET", "/models/narrow/v1/chat", 405, "POST, HEAD, PUT"},
		{"HEAD", "/models/narrow/swagger.json", 200, ""},
		{"GET", "/models/narrow/swagger.json", 405, "HEAD"},
		{"GET", "/nothing", 404, ""},
		{"GET", "/oauth2/nothing", 404, ""},
		{"GET", "/livez/x", 404, ""},
		{"POST", "/livez", 405, "GET, HEAD"},
		{"GET", "/oauth2/start", 404, ""}, // no login
		{"GET", "/debug/pprof/", 404, ""},
		{"GET", "/metrics", 404, ""},
	} {
		a := h.ask(t, c.method, c.target, "")
		if a.status != c.status || a.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d Allow %q, want %d %q", c.method, c.target, a.status, a.Header.Get("Allow"), c.status, c.allow)
		}
		if head, _ := up.last(t); (head != "") != (c.status == 200) {
			t.Errorf("%s %s: the upstream got %q", c.method, c.target, head)
		}
	}
}

// A rule that denies must not be escaped by what the provider did not say, or said
// in another spelling.
func TestADenyRuleIsNotEscaped(t *testing.T) {
	deny := func(r proxy.Rules) *proxy.Access { return &proxy.Access{None: r} }
	for name, c := range map[string]struct {
		access *proxy.Access
		id     authn.Identity
		status int
	}{
		"unverified email":        {deny(proxy.Rules{Emails: []string{"bob@evil.example"}}), authn.Identity{Email: "bob@evil.example"}, 403},
		"another case":            {deny(proxy.Rules{Emails: []string{"bob@evil.example"}}), authn.Identity{Email: "Bob@Evil.example", EmailVerified: true}, 403},
		"unverified domain":       {deny(proxy.Rules{Domains: []string{"evil.example"}}), authn.Identity{Email: "bob@EVIL.example"}, 403},
		"two domains":             {deny(proxy.Rules{Domains: []string{"evil.example"}}), authn.Identity{Email: "bob@evil.example@corp.example", EmailVerified: true}, 403},
		"no email at all":         {deny(proxy.Rules{Domains: []string{"evil.example"}}), authn.Identity{}, 403},
		"groups left out":         {deny(proxy.Rules{Groups: []string{"banned"}}), authn.Identity{GroupsOmitted: true}, 403},
		"somebody else's address": {deny(proxy.Rules{Emails: []string{"bob@evil.example"}}), authn.Identity{Email: "ann@corp.example"}, 200},
		"another group":           {deny(proxy.Rules{Groups: []string{"banned"}}), authn.Identity{Groups: []string{"other"}}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			c.id.Issuer, c.id.Subject, c.id.Method = "https://idp.example", "s", authn.ByBearer
			up := record(t, "")
			h := open(t, proxy.Config{
				Authenticator: fixed{&c.id},
				Routes:        []proxy.Route{{Name: "m", Access: c.access, Transport: to(t, up.url())}},
			})
			if a := h.ask(t, "POST", "/models/m", "{}"); a.status != c.status {
				t.Errorf("%d, want %d", a.status, c.status)
			}
		})
	}
}

// fixed is an Authenticator to which everybody is one.
type fixed struct{ id *authn.Identity }

func (f fixed) Authenticate(http.Header, *http.Request) (*authn.Identity, error) { return f.id, nil }
