package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"amlproxy/proxy"
)

func TestNavigationsAreRedirectedAndProgramsAreTold(t *testing.T) {
	up := record(t, "")
	h := open(t, proxy.Config{Login: gate{}, Routes: []proxy.Route{{Name: "m", Transport: to(t, up.url())}}})
	const html, data, all = "Accept: text/html,application/xhtml+xml,*/*;q=0.8", "Accept: application/json", "Accept: */*"
	nav := []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: none", "Sec-Fetch-Dest: document"}
	fetch := []string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: empty"}
	for _, c := range []struct {
		method string
		fields []string
		status int
	}{
		{"GET", append(nav, html), 302},
		{"GET", append(nav, data), 302},
		{"POST", append(nav, html), 303},
		{"GET", []string{html}, 302},
		{"GET", []string{"Accept: text/html;q=0.5, application/json;q=0.4"}, 302},
		{"GET", []string{"Accept: text/html;q=0, */*"}, 401},
		{"GET", []string{"Accept: application/json, text/html;q=0.9"}, 401},
		{"GET", []string{data}, 401},
		{"GET", []string{all}, 401},
		{"GET", nil, 401},
		{"POST", []string{html}, 401},
		{"GET", append(fetch, html), 401},
		{"GET", []string{"Sec-Fetch-Site: cross-site", html}, 401},
		{"GET", []string{"Sec-Fetch-Mode: no-cors", html}, 401},
		{"GET", []string{"Sec-Fetch-Mode: websocket", html}, 401},
		{"GET", append(nav, html, "X-Requested-With: XMLHttpRequest"), 401},
		{"GET", append(nav, html, "Connection: Upgrade", "Upgrade: websocket"), 401},
		{"GET", append(nav, html, "Cookie: amlproxy=expired"), 302},
		{"GET", []string{data, "Cookie: amlproxy=expired"}, 401},
		{"GET", append(nav, html, "Authorization: Bearer expired"), 401},
		{"GET", append(nav, html, "Authorization: Bearer expired", "Cookie: amlproxy=alice"), 401},
	} {
		a := h.ask(t, c.method, "/models/m/score?a=1&b=%20", "", c.fields...)
		rec := h.record(t)
		if a.status != c.status || a.Header.Get("Cache-Control") != "no-store" || rec.Status != c.status || rec.Err == nil {
			t.Errorf("%s %v: %d, want %d; record %+v", c.method, c.fields, a.status, c.status, rec)
		}
		want := map[int]string{302: "/oauth2/start?rd=%2Fmodels%2Fm%2Fscore%3Fa%3D1%26b%3D%2520", 303: "/oauth2/start?rd=%2F"}[c.status]
		if got := a.Header.Get("Location"); got != want {
			t.Errorf("%s %v: Location %q, want %q", c.method, c.fields, got, want)
		}
		if c.status == 401 && a.Header.Get("Www-Authenticate") == "" {
			t.Errorf("%s %v: a 401 without a challenge", c.method, c.fields)
		}
	}
	if head, _ := up.last(t); head != "" {
		t.Errorf("the upstream got %q", head)
	}
}

func TestRefusalsSayWhatTheDesignSays(t *testing.T) {
	up := record(t, "")
	h := open(t, proxy.Config{Login: gate{}, Routes: []proxy.Route{
		{Name: "m", Transport: to(t, up.url()), Access: &proxy.Access{Any: proxy.Rules{Groups: []string{"ml-users"}, Scopes: []string{"predict"}}}},
	}})
	const metadata = `resource_metadata="https://models.example.com/.well-known/oauth-protected-resource"`
	for _, c := range []struct {
		name      string
		fields    []string
		status    int
		problem   string
		challenge string
	}{
		{"no credential", nil, 401, "sign-in-required", `Bearer realm="amlproxy", ` + metadata},
		{"ended session", []string{"Cookie: amlproxy=old"}, 401, "sign-in-required", `Bearer realm="amlproxy", ` + metadata},
		{"bad token", []string{"Authorization: Bearer x"}, 401, "invalid-token", `Bearer realm="amlproxy", error="invalid_token", error_description="the token has expired", ` + metadata},
		{"bad token beside a good cookie", []string{"Authorization: Bearer x", "Cookie: amlproxy=alice"}, 401, "invalid-token", `Bearer realm="amlproxy", error="invalid_token", error_description="the token has expired", ` + metadata},
		{"two fields", []string{"Authorization: Bearer alice", "Authorization: Bearer alice"}, 400, "invalid-request", `Bearer realm="amlproxy", error="invalid_request", error_description="more than one Authorization field", ` + metadata},
		{"not allowed, bearer", []string{"Authorization: Bearer eve"}, 403, "not-allowed", `Bearer realm="amlproxy", error="insufficient_scope", scope="predict", ` + metadata},
		{"not allowed, session", []string{"Cookie: amlproxy=eve"}, 403, "not-allowed", ""},
		{"tenant", []string{"Authorization: Bearer other-tenant"}, 403, "not-allowed", `Bearer realm="amlproxy", error="insufficient_scope", ` + metadata},
		{"provider down", []string{"Authorization: Bearer provider-down"}, 503, "authentication-unavailable", ""},
		{"an error of no kind", []string{"Authorization: Bearer strange"}, 503, "authentication-unavailable", ""},
		{"neither identity nor error", []string{"Authorization: Bearer nobody"}, 503, "authentication-unavailable", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := h.ask(t, "POST", "/models/m", "{}", c.fields...)
			rec := h.record(t)
			if a.status != c.status || a.Header.Get("Www-Authenticate") != c.challenge {
				t.Errorf("%d %q, want %d %q", a.status, a.Header.Get("Www-Authenticate"), c.status, c.challenge)
			}
			p := a.problem(t)
			if p["type"] != c.problem || p["status"] != float64(c.status) || p["title"] == "" || p["detail"] == "" || p["request_id"] != a.Header.Get("X-Request-Id") || a.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%v", p)
			}
			if rec.Problem != c.problem || rec.Status != c.status || rec.Sends != 0 {
				t.Errorf("record %+v", rec)
			}
			if got := p["login_url"]; (got == "https://models.example.com/oauth2/start") != (c.problem == "sign-in-required") {
				t.Errorf("login_url %v", got)
			}
			if (a.Header.Get("Retry-After") != "") != (c.status == 503) {
				t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
			}
			if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("X-Content-Type-Options") != "nosniff" || strings.Contains(a.body, "unexpected EOF") {
				t.Errorf("%v %s", a.Header, a.body)
			}
			page := h.ask(t, "POST", "/models/m", "{}", append(c.fields, "Accept: text/html")...)
			h.record(t)
			if page.status != c.status || !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") || !strings.Contains(page.body, page.Header.Get("X-Request-Id")) {
				t.Errorf("page: %d %v", page.status, page.Header)
			}
		})
	}
	if head, _ := up.last(t); head != "" {
		t.Errorf("the upstream got %q", head)
	}
}

func TestPublicRouteNeedsNoProvider(t *testing.T) {
	up := record(t, "")
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: to(t, up.url())}}})
	for _, token := range []string{"provider-down", "expired", "alice"} {
		a := h.ask(t, "POST", "/models/m", "{}", "Authorization: Bearer "+token)
		head, _ := up.last(t)
		if a.status != http.StatusOK || strings.Contains(head, token) || h.record(t).Identity != nil {
			t.Errorf("%s: %d\n%s", token, a.status, head)
		}
	}
}

func TestCrossSiteRequestWithASessionIsRefused(t *testing.T) {
	up := record(t, "")
	h := open(t, proxy.Config{Login: gate{}, Routes: []proxy.Route{
		{Name: "m", Transport: to(t, up.url()), Methods: []string{"GET", "POST", "OPTIONS"}},
		{Name: "app", Transport: to(t, up.url()), CORS: &proxy.CORS{Origins: []string{"https://app.example.com"}, Credentials: true}},
		{Name: "open", Transport: to(t, up.url()), CORS: &proxy.CORS{Origins: []string{"https://app.example.com"}}},
		{Name: "public", Public: true, Transport: to(t, up.url())},
	}})
	const cross, same, own = "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Sec-Fetch-Site: same-origin"
	for _, c := range []struct {
		name, method, route string
		fields              []string
		status              int
	}{
		{"form of another site", "POST", "m", []string{cross, "Origin: https://evil.example", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 403},
		{"fetch of another site", "POST", "m", []string{cross, "Origin: https://evil.example", "Sec-Fetch-Mode: cors"}, 403},
		{"GET of another site's script", "GET", "m", []string{cross, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, 403},
		{"frame of another site", "GET", "m", []string{cross, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, 403},
		{"WebSocket of another site", "GET", "m", []string{cross, "Origin: https://evil.example", "Sec-Fetch-Mode: websocket", "Connection: Upgrade", "Upgrade: websocket"}, 403},
		{"WebSocket, older browser", "GET", "m", []string{"Origin: https://evil.example", "Connection: Upgrade", "Upgrade: websocket"}, 403},
		{"sibling of the same site", "POST", "m", []string{same, "Origin: https://blog.example.com"}, 403},
		{"older browser", "POST", "m", []string{"Origin: https://evil.example"}, 403},
		{"null origin", "POST", "m", []string{"Origin: null"}, 403},
		{"no preflight", "OPTIONS", "m", []string{cross, "Origin: https://evil.example"}, 403},
		{"unknown value", "POST", "m", []string{"Sec-Fetch-Site: whatever"}, 403},
		{"a link from another site", "GET", "m", []string{cross, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 200},
		{"own page", "POST", "m", []string{own, "Origin: " + publicURL}, 200},
		{"own page, older browser", "POST", "m", []string{"Origin: " + publicURL}, 200},
		{"a program", "POST", "m", nil, 200},
		{"credentialed origin", "POST", "app", []string{same, "Origin: https://app.example.com"}, 200},
		{"not that origin", "POST", "app", []string{same, "Origin: https://app.example.com.evil.example"}, 403},
		{"origin without credentials", "POST", "open", []string{same, "Origin: https://app.example.com"}, 403},
		{"public", "POST", "public", []string{cross, "Origin: https://evil.example"}, 200},
	} {
		if a := h.ask(t, c.method, "/models/"+c.route, "", append(c.fields, "Cookie: amlproxy=alice")...); a.status != c.status {
			t.Errorf("%s: %d, want %d", c.name, a.status, c.status)
		}
		if head, _ := up.last(t); (head != "") != (c.status == 200) {
			t.Errorf("%s: the upstream got %q", c.name, head)
		}
		if a := h.ask(t, c.method, "/models/"+c.route, "", append(c.fields, "Authorization: Bearer alice")...); a.status != 200 {
			t.Errorf("%s, with a token: %d", c.name, a.status)
		}
		up.last(t)
	}
	for _, c := range []struct {
		field  string
		status int
	}{{cross, 403}, {own, 200}} {
		if a := h.ask(t, "POST", "/oauth2/sign_out", "", c.field); a.status != c.status {
			t.Errorf("sign-out with %s: %d", c.field, a.status)
		}
	}
}

func TestCORSNeverReflectsAForeignOrigin(t *testing.T) {
	up := record(t, "")
	h := open(t, proxy.Config{Routes: []proxy.Route{
		{Name: "app", Transport: to(t, up.url()), CORS: &proxy.CORS{Origins: []string{"https://app.example.com"}, Credentials: true}},
		{Name: "any", Transport: to(t, up.url()), CORS: &proxy.CORS{Origins: []string{"*"}}},
		{Name: "no", Transport: to(t, up.url())},
	}})
	foreign := []string{
		"https://evil.example", "null", "https://app.example.com.evil.example", "https://evil-app.example.com", "http://app.example.com", "https://app.example.com:8443",
		"https://APP.example.com", "https://app.example.com/", "https://app.example.com, https://evil.example", "*",
	}
	for _, origin := range foreign {
		for _, route := range []string{"app", "no"} {
			a := h.ask(t, "OPTIONS", "/models/"+route, "", "Origin: "+origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization")
			for name := range a.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s from %q: %s", route, origin, name)
				}
			}
			if a.status != http.StatusNoContent {
				t.Errorf("%s from %q: %d", route, origin, a.status)
			}
			if a := h.ask(t, "POST", "/models/"+route, "{}", "Origin: "+origin, "Authorization: Bearer alice"); a.Header.Get("Access-Control-Allow-Origin") != "" || a.status != 200 {
				t.Errorf("%s from %q: %d %v", route, origin, a.status, a.Header)
			}
			up.last(t)
		}
	}
	a := h.ask(t, "OPTIONS", "/models/app/score", "", "Origin: https://app.example.com", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type")
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Credentials": "true", "Access-Control-Allow-Methods": "GET, POST",
		"Access-Control-Allow-Headers": "authorization,content-type", "Access-Control-Max-Age": "600",
	} {
		if a.Header.Get(name) != want || a.status != http.StatusNoContent {
			t.Errorf("preflight: %s is %q, want %q", name, a.Header.Get(name), want)
		}
	}
	if head, _ := up.last(t); head != "" {
		t.Errorf("a preflight was forwarded: %q", head)
	}
	// Refusals too, or the page could not read why.
	for _, c := range []struct {
		fields []string
		target string
		status int
	}{{nil, "/models/app", 401}, {[]string{"Authorization: Bearer x"}, "/models/app", 401}, {nil, "/models/app/none", 404}, {[]string{"Cookie: amlproxy=alice"}, "/models/app", 200}} {
		a := h.ask(t, "POST", c.target, "{}", append(c.fields, "Origin: https://app.example.com")...)
		if a.status != c.status || a.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), "Origin") ||
			!strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), "X-Ms-Run-Fn-Exec-Ms") {
			t.Errorf("%s %v: %d %v", c.target, c.fields, a.status, a.Header)
		}
	}
	up.last(t)
	a = h.ask(t, "POST", "/models/any", "{}", "Origin: https://x.example", "Authorization: Bearer alice")
	if a.Header.Get("Access-Control-Allow-Origin") != "*" || a.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("any origin: %v", a.Header)
	}
	up.last(t)
	a = h.ask(t, "GET", "/oauth2/userinfo", "", "Origin: https://app.example.com")
	if a.status != 401 || a.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || a.Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("userinfo: %d %v", a.status, a.Header)
	}
}
