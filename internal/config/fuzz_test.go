package config_test

import (
	"errors"
	"strings"
	"testing"

	"amlproxy/internal/config"
)

// Whatever a routes file holds, reading it never panics, and what it lets
// through is closed: no route without someone to vouch for callers unless it says
// public, none on the proxy's own paths, none that could be taken for another.
func FuzzRoutesFile(f *testing.F) {
	for _, o := range options() {
		f.Add(o.document(o.key, o.good), true)
		if len(o.malformed) > 0 {
			f.Add(o.document(o.key, o.malformed[0]), true)
		}
	}
	f.Add("routes: [{name: a, service: a, public: true}]", false)
	f.Add("routes:\n  - &a {name: a, service: a, public: true}\n  - {<<: *a, name: b}\n", false)
	f.Add("routes: [{name: a, backends: [{service: a}, {service: a, workspace: n}, {url: https://h.example, auth: none}]}]\nworkspaces: {n: {config: routes.yaml}}", true)
	f.Add("a: &a {<<: *a}\nroutes: *a", true)
	f.Add("routes: [[[[{{{{- - - ? : | > !x &y *z", true)
	f.Fuzz(func(t *testing.T, text string, withIssuer bool) {
		file, _ := routesFile(t, strings.ReplaceAll(text, "§", ""))
		environ := []string{"AMLPROXY_ROUTES_FILE=" + file}
		if withIssuer {
			environ = login(environ...)
		}
		s, err := config.Load(environ)
		if err != nil {
			var e *config.Error
			if s != nil || !errors.As(err, &e) || len(e.Problems) == 0 {
				t.Fatalf("failed without a problem: %v", err)
			}
			return
		}
		if len(s.Routes) == 0 {
			t.Fatal("nothing is served, and nobody was told")
		}
		paths, names := map[string]bool{}, map[string]bool{}
		for _, r := range s.Routes {
			closed(t, s, r)
			if paths[r.Host+r.Path] || names[r.Name] {
				t.Errorf("two routes at %q or of name %q", r.Path, r.Name)
			}
			paths[r.Host+r.Path], names[r.Name] = true, true
		}
	})
}

func closed(t *testing.T, s *config.Settings, r config.Route) {
	t.Helper()
	if !r.Public && s.OIDCIssuer == "" && len(s.BearerIssuers) == 0 {
		t.Error("callers must sign in, and nobody can say who they are")
	}
	if r.Public && r.Access != nil {
		t.Error("public, and yet with rules")
	}
	lower := strings.ToLower(r.Path) + "/"
	for _, own := range []string{"/oauth2/", "/livez/", "/readyz/", "/.well-known/"} {
		if strings.HasPrefix(lower, own) {
			t.Errorf("a route at %s", r.Path)
		}
	}
	if !strings.HasPrefix(r.Path, "/") || strings.ContainsAny(r.Path, "%;\\?# \x00") || strings.Contains(r.Path+"/", "/../") || strings.Contains(r.Path, "//") {
		t.Errorf("a path that can be read in two ways: %q", r.Path)
	}
	if r.Name == "" || len(r.Backends) == 0 || len(r.Methods) == 0 || len(r.Paths) == 0 || r.MaxBody <= 0 || r.Timeout <= 0 || r.MaxConcurrent < 0 {
		t.Errorf("half a route: %+v", r)
	}
	for i := range r.Backends {
		whole(t, s, &r.Backends[i])
		for j := range r.Backends[:i] {
			if same(&r.Backends[i], &r.Backends[j]) {
				t.Errorf("a backend twice: %+v", r.Backends)
			}
		}
	}
	if a := r.Access; a != nil && empty(a.Any) && empty(a.All) && empty(a.None) {
		t.Error("access rules that are none")
	}
}

// whole wants one target, in a workspace that is known if it needs one, with a key
// exactly where it is used.
func whole(t *testing.T, s *config.Settings, b *config.Backend) {
	t.Helper()
	targets := 0
	for _, set := range []bool{b.Service != "", b.Endpoint != "", b.Serverless != "", b.URL != nil} {
		if set {
			targets++
		}
	}
	if targets != 1 || b.Auth == "" || b.Where == "" || b.Deployment != "" && b.Endpoint == "" {
		t.Errorf("half a backend: %+v", b)
	}
	if (b.Auth == config.AuthKey && b.URL != nil) == b.Key.IsZero() {
		t.Errorf("a key where none belongs, or none where one does: %+v", b)
	}
	w, known := s.Workspaces[b.Workspace]
	if b.NeedsWorkspace() && (!known || w.Name != b.Workspace) {
		t.Errorf("in a workspace that nobody knows: %+v", b)
	}
	if b.Workspace == "" {
		return
	}
	names := w.SubscriptionID != "" && w.ResourceGroup != "" && w.WorkspaceName != ""
	if !b.NeedsWorkspace() || names == (w.Config != "") {
		t.Errorf("in a workspace that cannot be asked: %+v, %+v", b, w)
	}
}

func same(a, b *config.Backend) bool {
	if a.URL != nil || b.URL != nil {
		return a.URL != nil && b.URL != nil && a.URL.String() == b.URL.String()
	}
	return a.Workspace == b.Workspace && a.Service == b.Service && a.Endpoint == b.Endpoint && a.Deployment == b.Deployment && a.Serverless == b.Serverless
}

func empty(r config.Rules) bool {
	return len(r.Groups)+len(r.Roles)+len(r.Scopes)+len(r.Emails)+len(r.Domains)+len(r.Subjects)+len(r.Clients)+len(r.Claims) == 0
}

// Whatever is where a service principal should be, reading it never panics, and
// what it lets through is whole: two names, one proof, and an authority over https.
func FuzzServicePrincipalFile(f *testing.F) {
	const old = `{"clientId":"c","clientSecret":"s","tenantId":"t"`
	for _, text := range []string{
		old + "}", `{"appId":"c","displayName":"x","password":"s","tenant":"t"}`, "\ufeff" + old + "}", "null", "[]", old,
		old + `,"activeDirectoryEndpointUrl":"https://login.microsoftonline.us","resourceManagerEndpointUrl":"https://management.usgovcloudapi.net/"}`,
		old + `,"resourceManagerEndpointUrl":"https://management.azs.example/"}`, `{"clientId":"c","tenantId":"t","clientCertificate":"file"}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := config.Load(oneRoute("AMLPROXY_SDK_AUTH_FILE=" + file(t, text)))
		if err != nil {
			return
		}
		id := s.Identity
		if id.TenantID == "" || id.IsZero() || id.ClientSecret.IsZero() == (id.CertFile == "") {
			t.Errorf("half a principal: %+v", id)
		}
		if h := id.AuthorityHost; h != "" && !strings.HasPrefix(h, "https://") {
			t.Errorf("its secret would be sent to %q", h)
		}
	})
}
