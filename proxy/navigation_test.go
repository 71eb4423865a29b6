package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"amlproxy/proxy"
)

// What a caller says about himself in one field, and what a person who reads the
// contract makes of it.
type saying struct {
	fields []string
	means  string
}

var (
	acceptSayings = []saying{
		{nil, ""},
		{[]string{"Accept: */*"}, ""},
		{[]string{"Accept: text/html"}, "page"},
		{[]string{"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}, "page"},
		{[]string{"Accept: application/json, text/plain, */*"}, ""},
		{[]string{"Accept: application/json;q=0.9, text/html;q=0.8"}, ""},
		{[]string{"Accept: application/json;q=0.8", "Accept: TEXT/HTML;level=1;q=0.9"}, "page"},
		{[]string{"Accept: text/html;q=0, */*"}, ""},
		{[]string{"Accept: text/html;q=nonsense"}, ""},
		{[]string{"Accept: text/event-stream"}, ""},
	}
	fetchSayings = []saying{
		{nil, "nothing"},
		{[]string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: none", "Sec-Fetch-Dest: document", "Sec-Fetch-User: ?1"}, "navigation"},
		{[]string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: iframe"}, "navigation"},
		{[]string{"Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: empty"}, "script"},
		{[]string{"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Site: same-site", "Sec-Fetch-Dest: image"}, "script"},
		{[]string{"Sec-Fetch-Mode: same-origin", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: worker"}, "script"},
		{[]string{"Sec-Fetch-Mode: websocket", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: websocket"}, "script"},
		{[]string{"Sec-Fetch-Site: none"}, "script"},
		{[]string{"Sec-Fetch-Dest: document"}, "script"},
	}
	scriptSayings  = []saying{{nil, ""}, {[]string{"X-Requested-With: XMLHttpRequest"}, "script"}}
	upgradeSayings = []saying{{nil, ""}, {[]string{"Connection: Upgrade", "Upgrade: websocket"}, "websocket"}, {[]string{"Connection: Upgrade", "Upgrade: h2c"}, "other"}}
)

// signInAnswer is the contract's table: what somebody without a credential gets.
// It is written from the words there, not from the code.
func signInAnswer(method, accept, fetch, script, upgrade string) (status int, page bool) {
	page = accept == "page"
	if upgrade == "websocket" && method != http.MethodGet {
		return http.StatusBadRequest, page // no WebSocket begins so (RFC 6455 section 4.1)
	}
	if script != "" || upgrade != "" || fetch == "script" {
		return http.StatusUnauthorized, page
	}
	switch {
	case fetch == "navigation" && method == http.MethodPost:
		return http.StatusSeeOther, false
	case fetch == "navigation" && method == http.MethodGet,
		fetch == "nothing" && method == http.MethodGet && page:
		return http.StatusFound, false
	}
	return http.StatusUnauthorized, page
}

// TestNavigationsAreRedirectedAndProgramsAreToldMatrix asks in every way there is.
func TestNavigationsAreRedirectedAndProgramsAreToldMatrix(t *testing.T) {
	methods := []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}
	up := record(t, "")
	h := open(t, proxy.Config{Login: gate{}, Routes: []proxy.Route{{Name: "m", Methods: methods, Transport: to(t, up.url())}}})
	for _, method := range methods {
		for _, accept := range acceptSayings {
			for _, fetch := range fetchSayings {
				for _, script := range scriptSayings {
					for _, upgrade := range upgradeSayings {
						var fields []string
						for _, s := range []saying{accept, fetch, script, upgrade} {
							fields = append(fields, s.fields...)
						}
						a := h.ask(t, method, "/models/m/score?a=1", "", fields...)
						status, page := signInAnswer(method, accept.means, fetch.means, script.means, upgrade.means)
						if problems := a.isSignIn(method, status, page); problems != "" {
							t.Errorf("%s %q: %s", method, fields, problems)
						}
					}
				}
			}
		}
	}
	if head, _ := up.last(t); head != "" {
		t.Errorf("the upstream got %q", head)
	}
}

// isSignIn says what is wrong with an answer that should send a person to sign in,
// or tell a program how to.
func (a answer) isSignIn(method string, status int, page bool) string {
	kind, challenge := "application/problem+json", ""
	if page {
		kind = "text/html; charset=utf-8"
	}
	location := map[int]string{302: "/oauth2/start?rd=%2Fmodels%2Fm%2Fscore%3Fa%3D1", 303: "/oauth2/start?rd=%2F"}[status]
	if status == http.StatusUnauthorized {
		challenge = `Bearer realm="amlproxy", resource_metadata="` + publicURL + `/.well-known/oauth-protected-resource"`
	}
	if location != "" {
		kind = ""
	}
	var wrong []string
	for name, want := range map[string]string{
		"Content-Type": kind, "Location": location, "Www-Authenticate": challenge, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
		"Vary": "Accept, Authorization, Cookie, Sec-Fetch-Mode",
	} {
		got := strings.TrimPrefix(strings.Join(a.Header.Values(name), ", "), "Origin, ") // where there is CORS
		if got != want {
			wrong = append(wrong, name+": "+got)
		}
	}
	bodied := method != http.MethodHead && location == ""
	switch {
	case a.status != status || a.Header.Get("X-Request-Id") == "" || len(a.Cookies()) != 0:
		wrong = append(wrong, a.Status)
	case (a.body != "") != bodied:
		wrong = append(wrong, "the body "+a.body)
	case bodied && page && !strings.Contains(a.body, a.Header.Get("X-Request-Id")):
		wrong = append(wrong, "the page lacks the request id")
	case bodied && !page && strings.Contains(a.body, `"login_url":"`+publicURL+`/oauth2/start"`) != (status == http.StatusUnauthorized):
		wrong = append(wrong, "login_url in "+a.body)
	}
	if wrong == nil {
		return ""
	}
	return strings.Join(append(wrong, "want "+http.StatusText(status)), "; ")
}

// TestOwnEndpointsNeverRedirectWhoAsksWhoHeIs: userinfo is for scripts and auth for
// proxies, whatever a browser says for them.
func TestOwnEndpointsNeverRedirectWhoAsksWhoHeIs(t *testing.T) {
	h := village(t, gate{})
	for _, target := range []string{"/oauth2/userinfo", "/oauth2/auth", "/oauth2/auth?route=public"} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, accept := range acceptSayings {
				for _, fetch := range fetchSayings {
					a := h.ask(t, method, target, "", append(append([]string{}, accept.fields...), fetch.fields...)...)
					if problems := a.isSignIn(method, http.StatusUnauthorized, false); problems != "" {
						t.Errorf("%s %s %q %q: %s", method, target, accept.fields, fetch.fields, problems)
					}
				}
			}
		}
	}
}
