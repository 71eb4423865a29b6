package proxy_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/proxy"
)

// C1 at the proxy's own endpoints: what is open to everybody is open at one path.
func TestAmbiguousTargetIsNoOwnEndpoint(t *testing.T) {
	up := record(t, "")
	routes, _ := kinds(to(t, up.url()))
	h := open(t, proxy.Config{Login: gate{}, Routes: routes, Issuers: []string{"https://idp.example"}})
	for _, own := range []string{"/livez", "/readyz", "/oauth2/auth", "/oauth2/userinfo", "/oauth2/sign_in", "/oauth2/start", "/oauth2/callback", "/oauth2/sign_out", "/.well-known/oauth-protected-resource"} {
		for _, bad := range ambiguous {
			if status := h.raw(t, "GET "+own+bad+" HTTP/1.1\r\nHost: x\r\n\r\n"); status != http.StatusBadRequest {
				t.Errorf("%s%.60q: %d, want 400", own, bad, status)
			}
		}
		for _, other := range []string{own + "/", own + "/x", own + "x", own + ".", strings.ToUpper(own), own + "/models/signed-in", own + ".json", own + "%20", own + "%c2%a0", own + ","} {
			if status := h.raw(t, "GET "+other+" HTTP/1.1\r\nHost: x\r\n\r\n"); status != http.StatusNotFound {
				t.Errorf("%s: %d, want 404", other, status)
			}
		}
		for _, through := range []string{own + "/../models/signed-in", own + "/..%2f..%2fmodels/signed-in", own + "/..;/models/signed-in", own + "//models/signed-in", "/" + own, "/%2e" + own, own + "\\..\\models"} {
			if status := h.raw(t, "GET "+through+" HTTP/1.1\r\nHost: x\r\n\r\n"); status != http.StatusBadRequest {
				t.Errorf("%s: %d, want 400", through, status)
			}
		}
	}
	if head, _ := up.last(t); head != "" {
		t.Errorf("the upstream got %q", head)
	}
}

// TestProtectedPathBelowAnOpenOneHasNoOtherName: a public route takes everything that
// no other route does, so whatever is not the protected path to the proxy, and is to
// the model, would be served.
func TestProtectedPathBelowAnOpenOneHasNoOtherName(t *testing.T) {
	up := record(t, "")
	all := []string{"*"}
	h := open(t, proxy.Config{Routes: []proxy.Route{
		{Name: "root", Path: "/", Public: true, Paths: all, Transport: to(t, up.url())},
		{Name: "admin", Path: "/admin", Paths: all, Transport: to(t, up.url())},
	}})
	for _, spelt := range []string{
		"/admin", "/admin/", "/admin/x", "/admin?x", "/admin?/../", "/./admin", "//admin", "/x/../admin", "/%61dmin", "/%41dmin", "/admi%6e", "/admi%6E/x", "/admin%2fx", "/admin%2Fx", "/admin%5cx", "/admin\\x",
		"/admin;x", "/admin;/x", "/;/admin", "/x/..;/admin", "/admin%3bx", "/admin%00", "/admin%0a", "/admin%09", "/admin#x", "/admin%23", "/admin%3f", "/x/%2e%2e/admin", "/x%2f..%2fadmin", "/%2fadmin", "/%2e/admin",
		"/%c0%afadmin", "/\xefadmin", "/a%ef%bd%84min", "/%ef%bc%8fadmin", "/admin%e2%80%8b", "/%e2%80%ae/admin", "/adm%c2%adin", "http://x/admin", "admin", "*", "/admin%", "/admin%2", "/admin%zz", "/%25%36%31dmin", "/%u0061dmin",
	} {
		if status := h.raw(t, "GET "+spelt+" HTTP/1.1\r\nHost: x\r\n\r\n"); status != http.StatusUnauthorized && status != http.StatusBadRequest {
			t.Errorf("%q: %d", spelt, status)
		}
	}
	// A letter in another case is another path, here as everywhere (RFC 3986 section
	// 6.2.2.1): a server that folds it is not what a route can be put in front of.
	if head, _ := up.last(t); head != "" {
		t.Errorf("the upstream got %q", head)
	}
}

// failing is an Authenticator that fails in a way of its own.
type failing func(r *http.Request) (*authn.Identity, error)

func (f failing) Authenticate(_ http.Header, r *http.Request) (*authn.Identity, error) { return f(r) }

// TestNoFailureOpensARoute, C7: in whatever way the question who is calling fails,
// no route but a public one and no endpoint that tells about the caller is open, to
// any method, probe or preflight.
func TestNoFailureOpensARoute(t *testing.T) {
	root := &authn.Identity{Issuer: "i", Subject: "root", Groups: []string{"ml-users", "ml-admins"}, Scopes: []string{"score"}, Method: authn.ByBearer}
	kind := func(of error, bearer bool) error {
		return &authn.Error{Kind: of, Bearer: bearer, Err: errors.New("CANARY")}
	}
	for name, c := range map[string]struct {
		fails  failing
		status int
	}{
		"none":            {func(*http.Request) (*authn.Identity, error) { return nil, kind(authn.ErrNone, false) }, 401},
		"invalid session": {func(*http.Request) (*authn.Identity, error) { return nil, kind(authn.ErrInvalid, false) }, 401},
		"invalid token":   {func(*http.Request) (*authn.Identity, error) { return nil, kind(authn.ErrInvalid, true) }, 401},
		"forbidden":       {func(*http.Request) (*authn.Identity, error) { return nil, kind(authn.ErrForbidden, true) }, 403},
		"unavailable":     {func(*http.Request) (*authn.Identity, error) { return nil, kind(authn.ErrUnavailable, false) }, 503},
		"store down": {func(*http.Request) (*authn.Identity, error) {
			return nil, &authn.Error{Kind: authn.ErrUnavailable, Store: true}
		}, 503},
		"of no kind": {func(*http.Request) (*authn.Identity, error) { return nil, errors.New("CANARY") }, 503},
		"of every kind": {func(*http.Request) (*authn.Identity, error) {
			return nil, errors.Join(authn.ErrNone, authn.ErrUnavailable)
		}, 503},
		"wrapped": {func(*http.Request) (*authn.Identity, error) {
			return nil, fmt.Errorf("x: %w", kind(authn.ErrNone, false))
		}, 401},
		"an error without a kind": {func(*http.Request) (*authn.Identity, error) { return nil, &authn.Error{Kind: errors.New("CANARY")} }, 503},
		"identity and error":      {func(*http.Request) (*authn.Identity, error) { return root, kind(authn.ErrUnavailable, false) }, 503},
		"neither":                 {func(*http.Request) (*authn.Identity, error) { return nil, nil }, 503},
		"nobody in particular":    {func(*http.Request) (*authn.Identity, error) { return &authn.Identity{}, nil }, 0},
		"a panic":                 {func(*http.Request) (*authn.Identity, error) { panic("CANARY") }, 500},
	} {
		t.Run(name, func(t *testing.T) {
			up := record(t, "")
			routes, _ := kinds(to(t, up.url()))
			for i := range routes {
				routes[i].Methods = []string{"GET", "HEAD", "POST", "PUT", "OPTIONS"}
				if name == "nobody in particular" && routes[i].Access == nil {
					routes[i].Public = false
				}
			}
			h := open(t, proxy.Config{Authenticator: c.fails, Routes: routes})
			for _, target := range []string{"/models/signed-in", "/models/grouped", "/models/bearer", "/models/told", "/models/shared", "/oauth2/userinfo", "/oauth2/auth", "/oauth2/auth?route=grouped", "/oauth2/auth?route=public"} {
				if name == "nobody in particular" && !strings.Contains(target, "grouped") && !strings.Contains(target, "bearer") {
					continue // somebody whom no rule names is let in where anybody signed in is
				}
				for _, method := range []string{"GET", "HEAD", "POST", "PUT", "OPTIONS"} {
					for _, field := range []string{
						"X: y", "User-Agent: GoogleHC/1.0", "User-Agent: kube-probe/1.31", "User-Agent: ELB-HealthChecker/2.0", "Origin: https://app.example.com",
						"Authorization: Bearer x", "Cookie: amlproxy=x", "Connection: authorization", "Expect: 100-continue", "X-Forwarded-Method: OPTIONS",
					} {
						a := h.ask(t, method, target, "", field)
						want := c.status
						if strings.HasPrefix(target, "/oauth2") && method != "GET" && method != "HEAD" {
							want = 405
						} else if want == 0 {
							want = 403
						}
						if a.status != want || strings.Contains(a.body, "CANARY") {
							t.Errorf("%s %s, %s: %d %s, want %d", method, target, field, a.status, a.body, want)
						}
					}
				}
				pre := h.ask(t, "OPTIONS", target, "", "Origin: https://app.example.com", "Access-Control-Request-Method: POST", "Cookie: amlproxy=x")
				if pre.status != 204 && pre.status != 405 || pre.body != "" && pre.status == 204 {
					t.Errorf("preflight of %s: %d %s", target, pre.status, pre.body)
				}
			}
			if head, _ := up.last(t); head != "" {
				t.Errorf("the upstream got %q", head)
			}
		})
	}
}

// TestAuthenticationThatHangsOpensNothing: whoever waits for it waits, and leaves.
func TestAuthenticationThatHangsOpensNothing(t *testing.T) {
	up := record(t, "")
	routes, _ := kinds(to(t, up.url()))
	h := open(t, proxy.Config{Routes: routes, Authenticator: failing(func(r *http.Request) (*authn.Identity, error) {
		<-r.Context().Done()
		return nil, &authn.Error{Kind: authn.ErrUnavailable, Err: r.Context().Err()}
	})})
	client := http.Client{Timeout: 100 * time.Millisecond}
	for _, target := range []string{"/models/signed-in", "/models/grouped", "/oauth2/userinfo", "/oauth2/auth"} {
		if res, err := client.Get(h.URL + target); err == nil {
			_ = res.Body.Close()
			t.Errorf("%s: %s", target, res.Status)
		}
		if rec := h.record(t); rec.Sends != 0 || rec.Status == http.StatusOK {
			t.Errorf("%s: %+v", target, rec)
		}
	}
	if head, _ := up.last(t); head != "" {
		t.Errorf("the upstream got %q", head)
	}
}

// TestTooMuchIsRefusedAtEveryDoor, C9: whatever is too long or too many is refused
// before anything is looked for, and the next request is served.
func TestTooMuchIsRefusedAtEveryDoor(t *testing.T) {
	c := newCourt(t, time.Second, (*httptest.Server).Start)
	paths := []string{"/", "/livez", "/oauth2/userinfo", "/nothing"}
	for kind := range c.pass {
		paths = append(paths, "/models/"+kind)
	}
	many := func(n int, line string) string { return strings.Repeat(line, n) }
	for name, x := range map[string]struct{ target, fields, status string }{
		"a long target":      {"/" + many(80<<10, "a"), "", "431"},
		"a long query":       {"?" + many(80<<10, "a"), "", "431"},
		"a long field":       {"", "X: " + many(80<<10, "a") + "\r\n", "431"},
		"a long name":        {"", many(80<<10, "a") + ": x\r\n", "431"},
		"many fields":        {"", many(20_000, "X: y\r\n"), "431"},
		"many cookies":       {"", many(6_000, "Cookie: a=b\r\n"), "431"},
		"one long cookie":    {"", "Cookie: " + many(20_000, "a=b; ") + "\r\n", "431"},
		"many parameters":    {"?" + many(10_001, "a&"), "", "400"},
		"many parameters, =": {"?" + many(10_001, "="), "", "whatever"},
	} {
		for _, path := range paths {
			c.try(t, name+" at "+path, "GET "+path+x.target+" HTTP/1.1\r\nHost: x\r\n"+x.fields+"Connection: close\r\n\r\n", x.status)
		}
	}
	c.adjourn(t)
}
