package app_test

import (
	"net/http"
	"strings"
	"testing"

	"amlproxy/authn/authntest"
)

// C7: failing open. Whatever is missing, broken or pretended, a door that is not
// public stays shut, and says why with the right status.

func TestEveryDenyReasonHasItsStatus(t *testing.T) {
	f := newFort(t)
	session := "Cookie: amlproxy=" + f.cookie(t, f.signedIn(t, "ann"), "amlproxy").Value
	good := "Authorization: Bearer " + f.token(t, "ann")
	narrow, err := f.provider.AccessToken("cli", "ann", "openid")
	if err != nil {
		t.Fatal(err)
	}
	signed, grouped := "/models/signed", "/models/grouped"
	html := []string{"Accept: text/html"}
	for name, c := range map[string]struct {
		method, path string
		fields       []string
		status       int
		header       string // and this one holds that
	}{
		"nobody, a program":                {"POST", signed, nil, 401, "Www-Authenticate=Bearer"},
		"nobody, a page":                   {"GET", signed, html, 302, "Location=/oauth2/start?rd="},
		"nobody, a form":                   {"POST", signed, []string{"Sec-Fetch-Mode: navigate"}, 303, "Cache-Control=no-store"},
		"nobody, a script":                 {"GET", signed, []string{"Accept: text/html", "Sec-Fetch-Mode: cors"}, 401, ""},
		"a broken session, a page":         {"GET", signed, []string{"Accept: text/html", "Cookie: amlproxy=1x"}, 302, "Location=/oauth2/start?rd="},
		"a broken session":                 {"POST", signed, []string{"Cookie: amlproxy=1x"}, 401, ""},
		"a bad token, a page":              {"GET", signed, []string{"Accept: text/html", "Authorization: Bearer a.b.c"}, 401, `Www-Authenticate=error="invalid_token"`},
		"two tokens":                       {"POST", signed, []string{good, good}, 400, `Www-Authenticate=error="invalid_request"`},
		"a scope too few":                  {"POST", "/models/bearer", []string{"Authorization: Bearer " + narrow}, 403, `Www-Authenticate=error="insufficient_scope"`},
		"another's route":                  {"POST", "/models/other", []string{good}, 403, "Www-Authenticate=insufficient_scope"},
		"a session where it is for tokens": {"POST", "/models/bearer", []string{session}, 403, ""},
		"another site's form":              {"POST", grouped, []string{session, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}, 403, ""},
		"another site's form, no metadata": {"POST", grouped, []string{session, "Origin: https://evil.example"}, 403, ""},
		"no origin at all":                 {"POST", grouped, []string{session, "Origin: null"}, 403, ""},
		"no route":                         {"POST", "/models/none", []string{good}, 404, ""},
		"no such path of a route":          {"POST", grouped + "/admin", []string{good}, 404, ""},
		"no such method":                   {"DELETE", grouped, []string{good}, 405, "Allow=POST"},
		"no such endpoint":                 {"GET", "/oauth2/none", []string{good}, 404, ""},
		"below an endpoint":                {"GET", "/livez/models", nil, 404, ""},
		"an unknown restriction":           {"GET", "/oauth2/auth?allowed_group=g", []string{good}, 400, ""},
		"no group":                         {"GET", "/oauth2/auth?allowed_groups=", []string{good}, 403, ""},
		"another group":                    {"GET", "/oauth2/auth?allowed_groups=admins", []string{good}, 403, ""},
		"a route that is not there":        {"GET", "/oauth2/auth?route=none", []string{good}, 403, ""},
		"all restrictions count":           {"GET", "/oauth2/auth?allowed_groups=g&allowed_groups=admins", []string{good}, 403, ""},
		"a path read in two ways":          {"POST", "/models/public/..%2fsigned", nil, 400, ""},
		"a path with a dot segment":        {"POST", "/models/public/%2e%2e/signed", nil, 400, ""},
		"a preflight":                      {"OPTIONS", signed, []string{"Origin: https://evil.example", "Access-Control-Request-Method: POST"}, 204, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := door{name, c.method, c.path, false}
			f.refused(t, name, f.bare, d, []int{c.status}, c.fields...)
			if field, part, ok := strings.Cut(c.header, "="); ok {
				if got := f.knock(t, f.bare, d, c.fields...).Header.Get(field); !strings.Contains(got, part) {
					t.Errorf("%s is %q", field, got)
				}
			}
		})
	}
}

// TestNobodyIsBelievedForSayingSo: what lets a request through at some proxy is
// nothing here: names of health checks, paths and identities in header fields.
func TestNobodyIsBelievedForSayingSo(t *testing.T) {
	f := newFort(t)
	for _, field := range []string{
		"User-Agent: GoogleHC/1.0", "User-Agent: kube-probe/1.30", "User-Agent: ELB-HealthChecker/2.0", "X-Forwarded-Uri: /livez", "X-Original-Url: /models/public",
		"X-Rewrite-Url: /models/public", "X-Forwarded-Prefix: /models/public", "X-Forwarded-User: user-ann", "X_Forwarded_User: user-ann", "X-Auth-Request-User: user-ann",
		"X-Auth-Request-Groups: g", "X-Ms-Client-Principal: e30=", "X-Ms-Client-Principal-Id: user-ann", "Remote-User: user-ann", "X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1",
		"X-Forwarded-Method: OPTIONS", "X-Http-Method-Override: OPTIONS", "Host: localhost", "Proxy-Authorization: Bearer x", "X-Forwarded-Access-Token: x", "Access-Control-Request-Method: POST",
		"Origin: http://localhost", "Connection: authorization, cookie", "Upgrade: websocket", "Te: trailers", "Content-Type: application/grpc", "X-Healthcheck: 1",
	} {
		for _, d := range doors() {
			if !d.open {
				f.refused(t, field, f.bare, d, []int{401, 400}, field) // 400: that opens no WebSocket
			}
		}
	}
}

// TestNoPreflightReachesAModel: what comes without a credential by design is answered
// here, whoever asks, and whatever he says besides; and what only looks like it is
// a request like any other.
func TestNoPreflightReachesAModel(t *testing.T) {
	f := newFort(t)
	session := "Cookie: amlproxy=" + f.cookie(t, f.signedIn(t, "ann"), "amlproxy").Value
	for _, origin := range []string{"https://app.example.com", "https://evil.example", "null"} {
		for _, method := range []string{"POST", "GET", "OPTIONS", "x"} {
			for _, more := range []string{"X: y", session, "X-Forwarded-User: user-ann", "Access-Control-Request-Headers: authorization, x-forwarded-user", "Access-Control-Request-Private-Network: true"} {
				for _, d := range doors() {
					d.method = http.MethodOptions
					statuses := []int{204}
					if strings.HasPrefix(d.path, "/oauth2/auth") {
						statuses = []int{405}
					}
					f.refused(t, "a preflight", f.bare, d, statuses, "Origin: "+origin, "Access-Control-Request-Method: "+method, more)
				}
			}
		}
	}
	for _, fields := range [][]string{{"Origin: https://app.example.com"}, {"Access-Control-Request-Method: POST"}, {"Origin: https://app.example.com", "Origin: https://app.example.com", "Access-Control-Request-Method: POST"}} {
		for _, d := range doors() {
			d.method = http.MethodOptions
			f.refused(t, "no preflight", f.bare, d, []int{405}, fields...)
		}
	}
}

// TestAProviderThatIsDownOpensNothing: with nothing to check a token with, no token
// is good, and none is called bad.
func TestAProviderThatIsDownOpensNothing(t *testing.T) {
	for name, fault := range map[string]authntest.Fault{
		"refuses": authntest.Refuse(authntest.Any), "500": authntest.Status(authntest.Any, 500, ""), "empty set": authntest.Body(authntest.Keys, "application/json", []byte(`{"keys":[]}`)),
		"another issuer": authntest.AlterJSON(authntest.Discovery, func(o map[string]any) { o["issuer"] = "https://evil.example" }),
		"not JSON":       authntest.Body(authntest.Any, "text/html", []byte("<html>")),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFort(t)
			token := f.token(t, "ann")
			f.provider.Misbehave(fault)
			for _, d := range doors() {
				if d.open {
					continue
				}
				f.refused(t, name, f.bare, d, []int{503}, "Authorization: Bearer "+token)
				f.refused(t, name, f.bare, d, []int{401})
				if a := f.knock(t, f.bare, d, "Authorization: Bearer "+token); a.Header.Get("Retry-After") == "" {
					t.Errorf("%s: no Retry-After", d.name)
				}
			}
			if a := f.knock(t, f.bare, doors()[0]); a.StatusCode != http.StatusOK {
				t.Errorf("the public route: %d", a.StatusCode)
			}
		})
	}
}

// FuzzNobodyAtEveryDoor: without a credential, no path, method or header field
// reaches a model that is not public.
func FuzzNobodyAtEveryDoor(f *testing.F) {
	house := newFort(f)
	for _, s := range [][3]string{
		{"POST", "/models/signed", "X-Forwarded-User: ann"},
		{"GET", "/models/public/../signed", "Host: x"},
		{"POST", "/models/public/%2e%2e/grouped/score", "X-Original-Url: /models/public"},
		{"POST", "//models/signed", ""},
		{"OPTIONS", "/models/signed", "Origin: null"},
		{"HEAD", "/models/signed;x", "Upgrade: h2c"},
		{"PROPFIND", "/MODELS/signed", "A: b"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, method, path, field string) {
		path = "/" + path
		if strings.HasPrefix(path, "/models/public") || strings.HasPrefix(path, "//models/public") {
			return
		}
		before := house.reached.Load()
		a, err := house.send(house.bare, door{"any", method, path, false}, field)
		if err == nil && (house.reached.Load() != before || strings.Contains(a.body, canary) || a.Header.Get("X-Auth-Request-User") != "") {
			t.Errorf("%q %q %q: %d", method, path, field, a.StatusCode)
		}
	})
}
