package app_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"amlproxy/authn/authntest"
	"amlproxy/internal/app"
	"amlproxy/internal/config"
)

// A house is a provider, a model behind an address, and a proxy built from
// settings, as serve builds it.
type house struct {
	provider *authntest.Provider
	model    *httptest.Server
	reached  atomic.Int32  // requests that the model saw
	hold     chan struct{} // while not nil and open, the model does not answer
	last     atomic.Pointer[http.Header]
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{}
	h.model = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := r.Header.Clone()
		h.last.Store(&header)
		_, _ = io.Copy(io.Discard, r.Body)
		h.reached.Add(1)
		if h.hold != nil {
			select {
			case <-h.hold:
			case <-r.Context().Done():
			}
		}
		_, _ = io.WriteString(w, "scored")
	}))
	t.Cleanup(h.model.Close)
	var err error
	h.provider, err = authntest.Start(authntest.Options{
		Audiences: []string{"api"},
		Users: []authntest.User{
			{
				Name: "ann", Password: "x", Email: "ann@example.com", EmailVerified: true,
				Groups: []string{"g"}, Roles: []string{"r"}, Claims: map[string]any{"dept": "ml"},
			},
			{Name: "zoe", Password: "x", Email: "zoe@badexample.com", EmailVerified: true},
		},
		Clients: []authntest.Client{
			{ID: "cli", Secret: "x", Scopes: []string{"score"}},
			{ID: "other", Secret: "x"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.provider.Close() })
	return h
}

// serve runs a proxy from settings until the test ends and returns its URL.
func (h *house) serve(t *testing.T, environ ...string) string {
	t.Helper()
	environ = append(environ,
		"AMLPROXY_BEARER_ISSUERS_0_URL="+h.provider.Issuer(), "AMLPROXY_BEARER_ISSUERS_0_AUDIENCES=api",
		"AMLPROXY_ADMIN_LISTEN=127.0.0.1:0")
	settings, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(settings, app.Options{Log: io.Discard, Listener: l})
	if err != nil {
		t.Fatal(err)
	}
	serveUntilTheEnd(t, a)
	return "http://" + l.Addr().String()
}

// routes writes a routes file and returns the setting that names it.
func routes(t *testing.T, yaml string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "routes.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return "AMLPROXY_ROUTES_FILE=" + file
}

// A try is one request.
type try struct {
	method, rest string // POST and nothing unless set
	as, client   string // a user and the client he uses; "" for nobody
	scopes       []string
	origin, body string
}

func (h *house) try(t *testing.T, at string, x try) *http.Response {
	t.Helper()
	method := x.method
	if method == "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(t.Context(), method, at+"/models/m"+x.rest, strings.NewReader(x.body))
	if err != nil {
		t.Fatal(err)
	}
	if x.as != "" {
		client := x.client
		if client == "" {
			client = "cli"
		}
		token, err := h.provider.AccessToken(client, x.as, x.scopes...)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if x.origin != "" {
		req.Header.Set("Origin", x.origin)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp
}

// options has one row for each option of a route that denies: whom it lets in, and
// what it denies. Each is written in the file, and by environment where that is
// possible.
func options() map[string]option {
	ann, zoe := try{as: "ann"}, try{as: "zoe"}
	rule := func(yaml, environ string) option {
		return option{yaml: "access: {" + yaml + "}", environ: environ, in: ann, out: zoe, status: 403}
	}
	subject := "user-ann"
	return map[string]option{
		"Route.Public":   {yaml: "public: false", environ: "PUBLIC=false", without: "public: true", in: ann, out: try{}, status: 401},
		"Rules.Groups":   rule("groups: [g]", "GROUPS=g"),
		"Rules.Roles":    rule("roles: [r]", "ROLES=r"),
		"Rules.Emails":   rule("emails: [ann@example.com]", "EMAILS=ann@example.com"),
		"Rules.Domains":  rule("domains: [example.com]", "DOMAINS=example.com"),
		"Rules.Subjects": rule("subjects: ["+subject+"]", ""),
		"Rules.Claims":   rule("claims: {dept: [ml]}", ""),
		"Access.Any":     rule("groups: [g, nobody], roles: [nobody]", ""),
		"Access.All":     rule("all: {groups: [g], roles: [r]}", ""),
		"Access.None":    {yaml: "access: {none: {groups: [g]}}", in: zoe, out: ann, status: 403},
		"Route.Access":   rule("groups: [g], none: {roles: [other]}", ""),
		"Rules.Scopes": {
			yaml: "access: {scopes: [score]}", environ: "SCOPES=score",
			in: try{as: "ann", scopes: []string{"score"}}, out: ann, status: 403,
		},
		"Rules.Clients": {yaml: "access: {clients: [cli]}", in: ann, out: try{as: "ann", client: "other"}, status: 403},
		"Route.Methods": {yaml: "methods: [POST]", environ: "METHODS=POST", in: ann, out: try{as: "ann", method: "GET"}, status: 405},
		"Route.Paths":   {yaml: "paths: [score]", environ: "PATHS=score", without: `paths: ["*"]`, in: ann, out: try{as: "ann", rest: "/other"}, status: 404},
		"Route.MaxBody": {yaml: "max_body: 4B", environ: "MAX_BODY=4B", in: try{as: "ann", body: "1234"}, out: try{as: "ann", body: "12345"}, status: 413},
		"Route.RateLimit": {
			yaml: "rate_limit: {requests: 1, per: 1h, burst: 1, by: user}",
			in:   ann, out: ann, status: 429,
		},
		"RateLimit.Requests": {yaml: "rate_limit: {requests: 1, per: 1h}", without: "rate_limit: {requests: 2, per: 1h}", in: ann, out: ann, status: 429},
		"RateLimit.Per":      {yaml: "rate_limit: {requests: 1, per: 1h}", without: "rate_limit: {requests: 1, per: 1ns}", in: ann, out: ann, status: 429},
		"RateLimit.Burst":    {yaml: "rate_limit: {requests: 9, per: 1h, burst: 1}", without: "rate_limit: {requests: 9, per: 1h, burst: 2}", in: ann, out: ann, status: 429},
		"RateLimit.By":       {yaml: "rate_limit: {requests: 1, per: 1h, by: route}", without: "rate_limit: {requests: 1, per: 1h, by: user}", in: ann, out: zoe, status: 429},
	}
}

func TestEveryOptionOfARouteDenies(t *testing.T) {
	for name, o := range options() {
		file := func(h *house, option string) string {
			return routes(t, fmt.Sprintf("routes:\n  - name: m\n    url: %s/score\n    auth: none\n    %s\n", h.model.URL, option))
		}
		t.Run(name+" by file", func(t *testing.T) {
			h := newHouse(t)
			o.check(t, h, h.serve(t, file(h, o.yaml)))
		})
		// It is this option that denies: without it, the same is let in.
		t.Run(name+" or not", func(t *testing.T) {
			h := newHouse(t)
			at := h.serve(t, file(h, o.without))
			for _, x := range []try{o.in, o.out} {
				if resp := h.try(t, at, x); resp.StatusCode != http.StatusOK {
					t.Errorf("%+v: %s", x, resp.Status)
				}
			}
		})
		if o.environ == "" {
			continue
		}
		t.Run(name+" by environment", func(t *testing.T) {
			h := newHouse(t)
			o.check(t, h, h.serve(t, "AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_URL="+h.model.URL+"/score",
				"AMLPROXY_ROUTES_0_AUTH=none", "AMLPROXY_ROUTES_0_"+o.environ))
		})
	}
}

// An option is a way to write it, one request that it lets in and one that it
// answers with status, which the model must not see.
type option struct {
	yaml, environ string
	without       string // what is written instead for out to be let in, if not nothing
	in, out       try
	status        int
}

func (o option) check(t *testing.T, h *house, at string) {
	t.Helper()
	if resp := h.try(t, at, o.in); resp.StatusCode != http.StatusOK {
		t.Fatalf("%+v: %s", o.in, resp.Status)
	}
	if resp := h.try(t, at, o.out); resp.StatusCode != o.status {
		t.Errorf("%+v: %s, want %d", o.out, resp.Status, o.status)
	}
	if n := h.reached.Load(); n != 1 {
		t.Errorf("the model saw %d requests, want 1", n)
	}
}

func TestCORSDenies(t *testing.T) {
	h := newHouse(t)
	at := h.serve(t, routes(t, fmt.Sprintf(
		"routes:\n  - name: m\n    url: %s/score\n    auth: none\n    cors: {origins: [\"https://app.example.com\"]}\n", h.model.URL)))
	for origin, want := range map[string]string{
		"https://app.example.com": "https://app.example.com", "https://evil.example": "", "null": "",
		"https://app.example.com.evil.example": "", "http://app.example.com": "", "https://APP.example.com": "",
	} {
		for _, x := range []try{{as: "ann", origin: origin}, {origin: origin}, {method: "OPTIONS", origin: origin}} {
			if got := h.try(t, at, x).Header.Get("Access-Control-Allow-Origin"); got != want {
				t.Errorf("%+v: Access-Control-Allow-Origin %q, want %q", x, got, want)
			}
		}
	}
}

func TestMaxConcurrentDenies(t *testing.T) {
	h := newHouse(t)
	h.hold = make(chan struct{})
	at := h.serve(t, routes(t, fmt.Sprintf(
		"routes:\n  - name: m\n    url: %s/score\n    auth: none\n    max_concurrent: 1\n", h.model.URL)))
	first := make(chan int)
	go func() { first <- h.try(t, at, try{as: "ann"}).StatusCode }()
	for h.reached.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if resp := h.try(t, at, try{as: "ann"}); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the second at once: %s", resp.Status)
	}
	close(h.hold)
	if code := <-first; code != 200 {
		t.Errorf("the first: %d", code)
	}
}

func TestTimeoutDenies(t *testing.T) {
	for name, set := range map[string]func(h *house) []string{
		"file": func(h *house) []string {
			return []string{routes(t, fmt.Sprintf("routes:\n  - name: m\n    url: %s/score\n    auth: none\n    timeout: 50ms\n", h.model.URL))}
		},
		"environment": func(h *house) []string {
			return []string{"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_URL=" + h.model.URL + "/score", "AMLPROXY_ROUTES_0_AUTH=none", "AMLPROXY_ROUTES_0_TIMEOUT=50ms"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.hold = make(chan struct{})
			defer close(h.hold)
			if resp := h.try(t, h.serve(t, set(h)...), try{as: "ann"}); resp.StatusCode != http.StatusGatewayTimeout {
				t.Errorf("%s", resp.Status)
			}
		})
	}
}

// Identity headers are absent unless asked for, and a caller's own never pass.
func TestIdentityHeadersAreOursOrAbsent(t *testing.T) {
	h := newHouse(t)
	for _, row := range []struct{ yaml, user, email, groups string }{
		{"", "", "", ""},
		{"identity_headers: [user, email, groups]", "user-ann", "ann@example.com", "g"},
		{"identity_headers: [email]", "", "ann@example.com", ""},
	} {
		at := h.serve(t, routes(t, fmt.Sprintf("routes:\n  - name: m\n    url: %s/score\n    auth: none\n    %s\n", h.model.URL, row.yaml)))
		if resp := h.try(t, at, try{as: "ann"}); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
		got := *h.last.Load()
		if got.Get("X-Forwarded-User") != row.user || got.Get("X-Forwarded-Email") != row.email || got.Get("X-Forwarded-Groups") != row.groups {
			t.Errorf("%q: %v", row.yaml, got)
		}
		if got.Get("Authorization") != "" {
			t.Errorf("the caller's token reached the model")
		}
	}
}

// TestNoOptionIsForgotten: every option of a route has a row above, or a test that
// is named here, and is there, which shows what it denies or that nothing is called
// but what it says.
func TestNoOptionIsForgotten(t *testing.T) {
	elsewhere := map[string]string{
		"Route.Name": "proxy TestSettingsThatWouldLetSomebodyInAreRefused", "Route.Path": "proxy TestLongestPathWins", "Route.Host": "proxy TestRoutesByHost", "Route.Where": "internal/config TestBackendsThatAreRefused",
		"Route.Backends": "upstream TestOnlyAFailedDialTakesTheNextBackend", "Route.CORS": "internal/app TestCORSDenies", "Route.MaxConcurrent": "internal/app TestMaxConcurrentDenies",
		"Route.Timeout": "internal/app TestTimeoutDenies", "Route.IdentityHeaders": "internal/app TestIdentityHeadersAreOursOrAbsent",
		"CORS.Origins": "internal/app TestCORSDenies", "CORS.Credentials": "proxy TestCrossSiteRequestWithASessionIsRefused",
		"Backend.Where": "internal/config TestBackendsThatAreRefused", "Backend.Workspace": "internal/config TestBackendsAreWhatWasWritten",
		"Backend.Service": "upstream/azureml TestEveryKindOfEndpointIsFoundByItsName", "Backend.Endpoint": "upstream/azureml TestEveryKindOfEndpointIsFoundByItsName",
		"Backend.Deployment": "upstream/azureml TestEveryKindOfEndpointIsFoundByItsName", "Backend.Serverless": "upstream/azureml TestEveryKindOfEndpointIsFoundByItsName",
		"Backend.URL": "internal/app TestEveryOptionOfARouteDenies", "Backend.Auth": "upstream/azureml TestAModeGivenByHandIsBelieved",
		"Backend.Key": "upstream TestOneRetryWithTheOtherKey", "Backend.SecondaryKey": "upstream TestOneRetryWithTheOtherKey", "Backend.TLS": "internal/app TestUpstreamTLS",
		"TLS.CA": "internal/app TestUpstreamTLS", "TLS.Cert": "internal/app TestUpstreamTLS", "TLS.Key": "internal/app TestUpstreamTLS", "TLS.ServerName": "internal/app TestUpstreamTLS",
	}
	rows := options()
	for _, of := range []reflect.Type{
		reflect.TypeFor[config.Route](), reflect.TypeFor[config.Backend](), reflect.TypeFor[config.Access](), reflect.TypeFor[config.Rules](),
		reflect.TypeFor[config.CORS](), reflect.TypeFor[config.RateLimit](), reflect.TypeFor[config.TLS](),
	} {
		for i := range of.NumField() {
			name := of.Name() + "." + of.Field(i).Name
			if _, ok := rows[name]; ok {
				continue
			}
			folder, test, ok := strings.Cut(elsewhere[name], " ")
			if !ok {
				t.Errorf("%s has no test that it denies", name)
			} else if !hasTest(t, folder, test) {
				t.Errorf("%s: there is no %s in %s", name, test, folder)
			}
		}
	}
}

// hasTest reports whether the tests of a package hold one of that name.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", folder, err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "\nfunc "+name+"(t *testing.T) {") {
			return true
		}
	}
	return false
}
