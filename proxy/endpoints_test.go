package proxy_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"amlproxy/authn"
	"amlproxy/proxy"
)

func village(t *testing.T, login proxy.Login) *house {
	t.Helper()
	transport := model(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	return open(t, proxy.Config{Login: login, Issuers: []string{"https://idp.example"}, Routes: []proxy.Route{
		{Name: "public", Public: true, Transport: transport},
		{Name: "users", Access: &proxy.Access{Any: proxy.Rules{Groups: []string{"ml-users"}}}, Transport: transport},
		{Name: "admins", Access: &proxy.Access{Any: proxy.Rules{Groups: []string{"ml-admins"}}}, Transport: transport},
	}})
}

func TestListShowsOnlyWhatTheCallerMayCall(t *testing.T) {
	h := village(t, gate{})
	for who, want := range map[string]string{"alice": "admins public users", "bob": "public users", "eve": "public"} {
		a := h.ask(t, "GET", "/", "", "Cookie: amlproxy="+who)
		var names []string
		for _, m := range a.problem(t)["models"].([]any) {
			names = append(names, m.(map[string]any)["name"].(string))
		}
		if strings.Join(names, " ") != want || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %q, want %q", who, names, want)
		}
		page := h.ask(t, "GET", "/", "", "Cookie: amlproxy="+who, "Accept: text/html")
		for _, name := range []string{"admins", "public", "users"} {
			if strings.Contains(page.body, `data-model="`+name+`" data-path="/models/`+name+`"`) != strings.Contains(want, name) {
				t.Errorf("%s: %s on the page\n%s", who, name, page.body)
			}
		}
	}
	if a := h.ask(t, "GET", "/", ""); a.status != 401 {
		t.Errorf("a program without a credential: %d", a.status)
	}
	if a := h.ask(t, "GET", "/?x", "", "Accept: text/html"); a.status != 302 || a.Header.Get("Location") != "/oauth2/start?rd=%2F%3Fx" {
		t.Errorf("a person without a session: %d %q", a.status, a.Header.Get("Location"))
	}
	if a := h.ask(t, "POST", "/", "", "Cookie: amlproxy=alice"); a.status != 405 {
		t.Errorf("POST: %d", a.status)
	}
	open := village(t, nil) // nobody can sign in: what is open to everyone is shown
	if a := open.ask(t, "GET", "/", "", "Accept: text/html"); a.status != 200 || strings.Count(a.body, "data-model=") != 1 {
		t.Errorf("without a login: %d\n%s", a.status, a.body)
	}
	if a := open.ask(t, "GET", "/", "", "Authorization: Bearer expired"); a.status != 401 {
		t.Errorf("a bad token: %d", a.status)
	}
}

func TestPagesLoadAndRunNothingThatTheirPolicyDoesNotName(t *testing.T) {
	h := village(t, gate{})
	xss := *people["alice"]
	xss.Name = `<script>alert(1)</script>"'><img src=x>`
	people["xss"] = &xss
	t.Cleanup(func() { delete(people, "xss") })
	inline := regexp.MustCompile(`(?s)<(style|script)>(.*?)</(?:style|script)>`)
	for target, field := range map[string]string{"/": "Cookie: amlproxy=xss", "/oauth2/sign_in?rd=%22%3E%3Cscript%3E": "X: y", "/oauth2/sign_in": "Cookie: amlproxy=xss", "/models/none": "X: y", "/models/admins": "Cookie: amlproxy=eve"} {
		a := h.ask(t, "GET", target, "", field, "Accept: text/html")
		policy := a.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: %s not in %q", target, want, policy)
			}
		}
		for _, found := range inline.FindAllStringSubmatch(a.body, -1) {
			sum := sha256.Sum256([]byte(found[2]))
			if hash := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, found[1]+"-src "+hash) {
				t.Errorf("%s: the policy does not let its own %s run", target, found[1])
			}
		}
		for _, bad := range []string{"<script>alert", "<img", "http://", "https://", "onclick", "style=", `href=""`} {
			body := strings.ReplaceAll(strings.ReplaceAll(a.body, publicURL, ""), "http://www.w3.org/2000/svg", "")
			if strings.Contains(body, bad) || strings.Contains(body, `"><script>`) {
				t.Errorf("%s: %s in\n%s", target, bad, a.body)
			}
		}
		if a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("Referrer-Policy") != "no-referrer" || a.Header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %v", target, a.Header)
		}
		if !strings.Contains(a.body, `lang="en"`) || !strings.Contains(a.body, "<h1>") || !strings.Contains(a.body, "<title>") || !strings.Contains(a.body, "</html>") {
			t.Errorf("%s: not a whole page\n%s", target, a.body)
		}
	}
}

func TestUserinfoNeverHoldsAToken(t *testing.T) {
	h := village(t, gate{})
	for _, field := range []string{"Cookie: amlproxy=alice", "Authorization: Bearer alice"} {
		a := h.ask(t, "GET", "/oauth2/userinfo", "", field)
		got := a.problem(t)
		if a.status != 200 || got["sub"] != "a1" || got["email_verified"] != true || got["expires_at"] == nil || got["expires_in"].(float64) < 3500 || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%d %s", a.status, a.body)
		}
		if strings.Contains(a.body, "Bearer") || strings.Contains(a.body, "token") || strings.Contains(a.body, "s-alice") {
			t.Errorf("%s", a.body)
		}
	}
	if a := h.ask(t, "GET", "/oauth2/userinfo", "", "Accept: text/html", "Sec-Fetch-Mode: navigate"); a.status != 401 || a.problem(t)["login_url"] == nil {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestAuthSubrequestDeniesWhateverItDoesNotUnderstand(t *testing.T) {
	h := village(t, gate{})
	for _, c := range []struct {
		who, query string
		status     int
	}{
		{"alice", "", 202},
		{"eve", "", 202},
		{"", "", 401},
		{"expired", "", 401},
		{"alice", "?route=admins", 202},
		{"bob", "?route=admins", 403},
		{"bob", "?route=none", 403},
		{"bob", "?route=", 403},
		{"eve", "?route=public", 202},
		{"", "?route=public", 401},
		{"bob", "?allowed_groups=ml-admins", 403},
		{"bob", "?allowed_groups=x,ml-users", 202},
		{"alice", "?allowed_groups=", 403},
		{"alice", "?allowed_groups=,", 403},
		{"alice", "?allowed_groups=ml-users&allowed_groups=other", 403},
		{"bob", "?route=users&allowed_groups=ml-admins", 403},
		{"bob", "?route=users&route=admins", 403},
		{"alice", "?allowed_group=ml-admins", 400},
		{"alice", "?allowed_emails=x", 400},
		{"alice", "?Route=admins", 400},
	} {
		fields := []string{"Accept: text/html", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: cross-site"}
		if c.who != "" {
			fields = append(fields, "Cookie: amlproxy="+c.who)
		}
		a := h.ask(t, "GET", "/oauth2/auth"+c.query, "", fields...)
		if a.status != c.status || (a.Header.Get("X-Auth-Request-User") != "") != (c.status == 202) {
			t.Errorf("%s%s: %d %q, want %d", c.who, c.query, a.status, a.Header.Get("X-Auth-Request-User"), c.status)
		}
	}
	a := h.ask(t, "GET", "/oauth2/auth", "", "Cookie: amlproxy=bob", "X-Auth-Request-Email: spoofed@example.com")
	if a.Header.Get("X-Auth-Request-Groups") != "ml-users" || a.Header.Get("X-Auth-Request-Email") != "" {
		t.Errorf("%v", a.Header)
	}
}

func TestLoginEndpointsAreTheLogins(t *testing.T) {
	h := village(t, gate{})
	for target, want := range map[string]string{"/oauth2/start?rd=/x": "start rd=/x", "/oauth2/callback": "callback rd=", "/oauth2/sign_out?rd=/y": "sign-out rd=/y"} {
		if a := h.ask(t, "GET", target, "", "Host: models.example.com"); a.status != 200 || a.body != want {
			t.Errorf("%s: %d %q", target, a.status, a.body)
		}
	}
	// Under another name a login is begun again under the public one, and once only.
	a := h.ask(t, "GET", "/oauth2/start?rd=/x", "", "Host: localhost:1")
	if want := publicURL + "/oauth2/start?rd=%2Fx&via=public"; a.status != 302 || a.Header.Get("Location") != want {
		t.Errorf("under another name: %d %q, want %q", a.status, a.Header.Get("Location"), want)
	}
	if a := h.ask(t, "GET", "/oauth2/start?rd=%2Fx&via=public", "", "Host: localhost:1"); a.status != 200 {
		t.Errorf("under another name again: %d", a.status)
	}
	// The provider's page posts the answer.
	if a := h.ask(t, "POST", "/oauth2/callback", "", "Sec-Fetch-Site: cross-site", "Origin: https://idp.example"); a.status != 200 {
		t.Errorf("form_post: %d", a.status)
	}
	if a := h.ask(t, "GET", "/oauth2/sign_in?rd=/models/users%3Fa", "", "Accept: text/html"); !strings.Contains(a.body, `href="/oauth2/start?rd=%2Fmodels%2Fusers%3Fa"`) {
		t.Errorf("%s", a.body)
	}
	if a := h.ask(t, "GET", "/oauth2/sign_in", "", "Accept: text/html", "Cookie: amlproxy=alice"); !strings.Contains(a.body, "Alice") || strings.Contains(a.body, "/oauth2/start") {
		t.Errorf("%s", a.body)
	}
	for _, c := range []struct {
		err    error
		status int
	}{
		{&authn.Error{Kind: authn.ErrForbidden, Detail: "<b>state</b>"}, 403},
		{&authn.Error{Kind: authn.ErrInvalid, Malformed: true}, 400},
		{&authn.Error{Kind: authn.ErrUnavailable, Err: fmt.Errorf("CANARY")}, 503},
		{fmt.Errorf("CANARY"), 403},
	} {
		broken := village(t, gate{c.err})
		for _, accept := range []string{"text/html", "application/json"} {
			a := broken.ask(t, "GET", "/oauth2/callback?code=x", "", "Accept: "+accept)
			if a.status != c.status || strings.Contains(a.body, "<b>") || strings.Contains(a.body, "CANARY") || (a.Header.Get("Retry-After") != "") != (c.status == 503) {
				t.Errorf("%v: %d %s", c.err, a.status, a.body)
			}
		}
	}
}

func TestReadinessAndMetadata(t *testing.T) {
	reading := proxy.Readiness{Ready: true, Routes: []proxy.RouteReading{{Name: "m", State: "missing", Reason: "no role"}}}
	h := open(t, proxy.Config{Ready: func() proxy.Readiness { return reading }, Issuers: []string{"https://idp.example"}})
	if a := h.ask(t, "GET", "/readyz", ""); a.status != 200 || !strings.Contains(a.body, `"state":"missing"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	reading.Ready = false
	if a := h.ask(t, "GET", "/readyz", ""); a.status != 503 {
		t.Errorf("%d", a.status)
	}
	if a := h.ask(t, "HEAD", "/livez", "", "User-Agent: kube-probe"); a.status != 200 || a.body != "" {
		t.Errorf("%d", a.status)
	}
	a := h.ask(t, "GET", "/.well-known/oauth-protected-resource", "")
	if got := a.problem(t); got["resource"] != publicURL || got["authorization_servers"].([]any)[0] != "https://idp.example" || a.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%s", a.body)
	}
	if rec := h.record(t); rec.Endpoint != "readyz" || rec.Route != "" {
		t.Errorf("record %+v", rec)
	}
}
