package proxy_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"amlproxy/proxy"
)

// A route may be for one host. Hosts are compared as they are meant: whatever the
// case, with a dot at the end or a port (CVE-2022-46153, CVE-2026-48794).
func TestRoutesByHost(t *testing.T) {
	up := record(t, "")
	to := to(t, up.url())
	routes := []proxy.Route{
		{Name: "any", Path: "/m", Public: true, Transport: to},
		{Name: "any-below", Path: "/m/below", Public: true, Transport: to},
		{Name: "a", Host: "a.example", Path: "/m", Public: true, Transport: to},
		{Name: "a-port", Host: "a.example:8443", Path: "/m", Public: true, Transport: to},
		{Name: "a-root", Host: "a.example", Path: "/", Public: true, Transport: to},
		{Name: "six", Host: "[::1]", Path: "/m", Public: true, Transport: to},
	}
	h := open(t, proxy.Config{Routes: routes, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	trusting := open(t, proxy.Config{Routes: routes, TrustedProxies: []netip.Prefix{prefix("127.0.0.1/32")}})
	for _, row := range []struct{ host, path, want string }{
		{"b.example", "/m", "any"},
		{"b.example:8443", "/m", "any"},
		{"b.example", "/m/below", "any-below"},
		{"a.example", "/m", "a"},
		{"A.Example", "/m", "a"},
		{"a.example.", "/m", "a"},
		{"A.EXAMPLE.", "/m", "a"},
		{"a.example:80", "/m", "a"},
		{"a.example:9", "/m/score", "a"},
		{"A.example.:9", "/m", "a"},
		{"a.example:8443", "/m", "a-port"},
		{"A.example:8443", "/m", "a-port"},
		{"a.example.:8443", "/m", "a-port"},
		{"a.example", "/score", "a-root"},
		{"a.example:8443", "/score", "a-root"},
		{"a.example", "/m/below", "a 404"}, // which takes it, and does not allow it
		{"xa.example", "/m", "any"},
		{"a.example.evil.example", "/m", "any"},
		{"a.exampl", "/m", "any"},
		{"a_example", "/m", "any"},
		{"[::1]", "/m", "six"},
		{"[::1]:8443", "/m", "six"},
		{"[::2]", "/m", "any"},
		{"a.example..", "/m", "any"},
		{"b.example", "/none", " 404"},
	} {
		for _, test := range []struct {
			h      *house
			fields []string
		}{
			{h, []string{"Host: " + row.host}},
			{h, []string{"Host: " + row.host, "X-Forwarded-Host: six", "Forwarded: host=a.example"}}, // from nobody who is trusted
			{trusting, []string{"Host: " + row.host}},
			{trusting, []string{"Host: c.example", "X-Forwarded-Host: " + row.host}},
			{trusting, []string{"Host: " + row.host, "X-Forwarded-Host: a.example, b.example"}}, // no host
		} {
			status := test.h.ask(t, http.MethodPost, row.path, "{}", test.fields...).status
			got := test.h.record(t).Route
			if status != http.StatusOK {
				got += " 404"
			}
			if got != row.want || status != http.StatusOK && status != http.StatusNotFound {
				t.Errorf("%s%s as %q: %d from %q, want %q", row.host, row.path, test.fields, status, got, row.want)
			}
		}
	}
}

// On another host than the public URL's no session is known and no login ends, so
// nobody is sent to one; a bearer token is as good as anywhere. The proxy's own
// endpoints are the same on every host.
func TestNobodyIsSentToSignInWhereItDoesNotHelp(t *testing.T) {
	up := record(t, "")
	to := to(t, up.url())
	h := open(t, proxy.Config{Login: gate{}, Routes: []proxy.Route{
		{Name: "here", Host: "models.example.com", Transport: to},
		{Name: "there", Host: "other.example.com", Transport: to},
	}})
	navigates := "Sec-Fetch-Mode: navigate"
	for _, row := range []struct {
		host, path string
		fields     []string
		status     int
		login      bool
	}{
		{"models.example.com", "/models/here", []string{navigates}, 302, true},
		{"models.example.com:8443", "/models/here", []string{navigates}, 302, true},
		{"models.example.com", "/models/here", nil, 401, true},
		{"other.example.com", "/models/there", []string{navigates}, 401, false},
		{"other.example.com", "/models/there", nil, 401, false},
		{"other.example.com", "/models/there", []string{"Authorization: Bearer alice"}, 200, false},
		{"other.example.com", "/models/here", []string{"Authorization: Bearer alice"}, 404, false},
		{"models.example.com", "/models/there", []string{"Authorization: Bearer alice"}, 404, false},
		{"other.example.com", "/livez", nil, 200, false},
		{"other.example.com", "/oauth2/userinfo", nil, 401, true},
	} {
		got := h.ask(t, http.MethodGet, row.path, "", append(row.fields, "Host: "+row.host)...)
		h.record(t)
		login := got.status == 302 || strings.Contains(got.body, "login_url")
		if got.status != row.status || login != row.login {
			t.Errorf("%s%s %q: %d, sent to sign in: %t: %s", row.host, row.path, row.fields, got.status, login, got.body)
		}
	}
}

func TestHostsThatAreNone(t *testing.T) {
	for _, host := range []string{"A.example", "a.example.", "a.example:", "*.example", "https://a.example", "a.example/x", "a b", "u@a.example", ".", ":80"} {
		_, err := proxy.New(proxy.Config{Record: func(*proxy.Record) {}, Routes: []proxy.Route{{Name: "m", Host: host, Public: true, Transport: http.DefaultTransport}}})
		if err == nil || !strings.Contains(err.Error(), "host: ") {
			t.Errorf("%q: %v", host, err)
		}
	}
	two := []proxy.Route{
		{Name: "a", Host: "a.example", Path: "/m", Public: true, Transport: http.DefaultTransport},
		{Name: "b", Host: "a.example", Path: "/m", Public: true, Transport: http.DefaultTransport},
	}
	if _, err := proxy.New(proxy.Config{Record: func(*proxy.Record) {}, Routes: two}); err == nil || !strings.Contains(err.Error(), "has its path a.example/m") {
		t.Errorf("two routes at one place: %v", err)
	}
}
