package authn_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/internal/secret"
)

const home = "https://models.example.com"

func newLogin(t testing.TB) *authn.Login {
	t.Helper()
	return must(authn.NewLogin(authn.LoginConfig{
		Issuer: authn.Issuer{URL: "https://idp.example"}, ClientID: "web", PublicURL: must(url.Parse(home))(t),
		Sessions:      must(authn.NewSessions(authn.SessionsConfig{Secrets: []secret.Value{newSecret()}, Secure: true, Idle: time.Hour, Max: time.Hour}))(t),
		ReturnOrigins: []string{"https://app.example.com", "http://localhost:3000"},
	}))(t)
}

// browserOrigin returns the origin that a browser standing at home goes to when
// it is sent to ref: the steps of the WHATWG URL standard that matter for it, as
// generous as a browser is. It is the judge of ReturnPath, and shares no code or
// idea with it.
func browserOrigin(ref string) string {
	ref = strings.Trim(ref, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f ")
	ref = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(ref)
	rest := ref
	if name, after, ok := strings.Cut(ref, ":"); ok && isSchemeName(name) {
		scheme := strings.ToLower(name)
		rest = after
		switch scheme {
		case "http", "https", "ws", "wss", "ftp":
		default:
			return scheme + ":" // javascript:, data: and friends
		}
		if scheme == "https" && !strings.HasPrefix(strings.ReplaceAll(rest, `\`, "/"), "//") {
			// "https:path" is relative to a base of the same scheme, "https:/path" too.
			return relativeOrigin(rest)
		}
		rest = strings.TrimLeft(rest, `/\`)
		return scheme + "://" + authority(rest)
	}
	return relativeOrigin(rest)
}

func relativeOrigin(rest string) string {
	slashes := strings.ReplaceAll(rest, `\`, "/")
	if strings.HasPrefix(slashes, "//") {
		return "https://" + authority(strings.TrimLeft(rest, `/\`))
	}
	return home
}

func authority(s string) string {
	if end := strings.IndexAny(s, `/\?#`); end >= 0 {
		s = s[:end]
	}
	s = s[strings.LastIndexByte(s, '@')+1:]
	if decoded, err := url.PathUnescape(s); err == nil {
		s = decoded
	}
	return strings.ToLower(s)
}

func isSchemeName(s string) bool {
	for i, r := range s {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", r)) {
			return false
		}
	}
	return s != ""
}

// allowedOrigin reports whether a browser may end up there.
func allowedOrigin(origin string) bool {
	return origin == home || origin == "https://app.example.com" || origin == "http://localhost:3000"
}

// judge fails if ReturnPath lets a browser go anywhere else.
func judge(t testing.TB, l *authn.Login, rd string) {
	t.Helper()
	to, ok := l.ReturnPath(rd)
	if !ok && to != "/" {
		t.Errorf("ReturnPath(%q) refuses with %q", rd, to)
	}
	if origin := browserOrigin(to); !allowedOrigin(origin) {
		t.Errorf("ReturnPath(%q) = %q sends the browser to %s", rd, to, origin)
	}
	if strings.ContainsAny(to, "\r\n\t\\ ") || strings.HasPrefix(to, "//") {
		t.Errorf("ReturnPath(%q) = %q", rd, to)
	}
}

// redirectPayloads returns hundreds of addresses that have fooled somebody, built
// from the parts that did.
func redirectPayloads() []string {
	leads := []string{
		"", "/", "//", "///", "////", `/\`, `\/`, `\\`, `\`, `/\/`, `//\`, "/\t/", "/\n/", "/\r/", "/\v/", "/\f/", "/ /", "/\x00/", "\t//", " //", "\x01//",
		"/%09/", "/%0a/", "/%0d/", "/%0d%0a/", "/%5c", "/%5c/", "%5c%5c", "/%2f", "/%2f/", "%2f%2f", "/%2e%2e/", "/..//", "/../", "/./", "/.//", `/./\`, "/;/", "/..;/", "/.;//", "/;//", "/%2e//", "/%252f/", "/%255c", "/%00/",
		"https:", "https:/", "https://", "https:///", `https:\\`, `https:/\`, "hTTps://", "http://", "http:", "//https://", "ftp://", "ws://", "https%3a//", "https\t://", "ht\ntps://",
		"https://models.example.com@", "https://models.example.com%40", "https://app.example.com@", "https://app.example.com:@", "https://app.example.com.", "https://app.example.com:443.", "https://app.example.com%2f@", `https://app.example.com\@`, "https://app.example.com%00", "https://app.example.com%ff@", "http://localhost:3000@", "http://localhost:3000.", "http://localhost:30001/", "//app.example.com@", "https://models.example.com.", "https://models.example.com:80@", "https://models.example.com//", `https://models.example.com/\`, `https://models.example.com\`,
		"javascript:", "JaVaScRiPt:", "java\nscript:", "\x01javascript:", "data:text/html,", "vbscript:", "blob:https://", "view-source:", "mailto:",
	}
	hosts := []string{
		"evil.example", "evil.example/", "evil.example/path", "evil.example?x=1", "evil.example#x", "evil.example:443", "user@evil.example", "evil.example%2f.models.example.com",
		"evil。example", "ⓔvil.example", "xn--vil-1na.example", "0x7f000001", "2130706433", "[::1]", "[::ffff:7f00:1]", "alert(1)//", "evil.example%00.models.example.com", "evil.example\\.models.example.com", "badapp.example.com",
	}
	var all []string
	for _, lead := range leads {
		for _, host := range hosts {
			all = append(all, lead+host)
		}
	}
	return all
}

func TestOpenRedirects(t *testing.T) {
	l := newLogin(t)
	payloads := redirectPayloads()
	if len(payloads) < 500 {
		t.Fatalf("%d payloads", len(payloads))
	}
	foreign := 0
	for _, rd := range payloads {
		judge(t, l, rd)
		if !allowedOrigin(browserOrigin(rd)) {
			foreign++
			if _, ok := l.ReturnPath(rd); ok {
				t.Errorf("ReturnPath(%q) accepts it", rd)
			}
		}
	}
	if foreign < 500 {
		t.Errorf("the judge finds only %d payloads foreign: is it awake?", foreign)
	}
}

func TestReturnPath(t *testing.T) {
	l := newLogin(t)
	for rd, want := range map[string]string{ // empty: refused
		"/":                                "/",
		"/models/diabetes":                 "/models/diabetes",
		"/models/a%20b?x=%2f%5c//y#/z?//w": "/models/a%20b?x=%2f%5c//y#/z?//w",
		"/oauth2/userinfo":                 "/oauth2/userinfo",
		"/oauth2/sign_in":                  "/oauth2/sign_in",
		"https://models.example.com/a":     "/a",
		"https://models.example.com":       "/",
		"https://app.example.com":          "https://app.example.com",
		"https://app.example.com/a?b":      "https://app.example.com/a?b",
		"http://localhost:3000/":           "http://localhost:3000/",

		"":                     "",
		"models":               "",
		"?x":                   "",
		"//models.example.com": "",
		"/a//b":                "",
		"/a/../b":              "",
		"/a/%2E%2e/b":          "",
		"/a/.%2e;x/b":          "",
		"/a%2fb":               "",
		"/a%5Cb":               "",
		"/a%":                  "",
		"/a%zz":                "",
		"/ü":                   "",
		"/a b":                 "",
		"/a\x7f":               "",
		"/a%7f":                "",
		"/oauth2/start":        "",
		"/oauth2/start?rd=/":   "",
		"/oauth2/sign_out":     "",
		"/oauth2/SIGN_OUT/":    "",
		"/oauth2/sign%5fout":   "",
		"/oauth2/callback?x":   "",
		"https://models.example.com/oauth2/sign_out": "",
		"https://app.example.com?x":                  "",
		"https://app.example.com.evil":               "",
		"https://app.example.com:8443/":              "",
		"http://app.example.com/":                    "",
		"HTTPS://app.example.com/":                   "",
		"https://badapp.example.com/":                "",
		"http://localhost:30001/":                    "",
		"/" + repeated("a", 2000):                    "",
	} {
		got, ok := l.ReturnPath(rd)
		if ok != (want != "") || (ok && got != want) || (!ok && got != "/") {
			t.Errorf("ReturnPath(%.60q) = %q, %t; want %q", rd, got, ok, want)
		}
	}
}

// TestReturnPathOfALogin: rd goes through the sealed state, and is what the
// browser is sent to, byte for byte.
func TestReturnPathOfALogin(t *testing.T) {
	s := newSite(t, siteOptions{})
	for rd, want := range map[string]string{
		"/models/a%20b?x=1;2&y=%2F": "/models/a%20b?x=1;2&y=%2F",
		`/\evil.example`:            "/",
		"https://evil.example":      "/",
		"https://app.example.com/x": "https://app.example.com/x",
	} {
		browser := s.browser(t)
		w := httptest.NewRecorder()
		_ = s.login.Start(w, httptest.NewRequest(http.MethodGet, "/oauth2/start?rd="+url.QueryEscape(rd), nil))
		browser.Jar.SetCookies(must(url.Parse(s.url))(t), setCookies(w.Header()))
		back := s.follow(t, browser, w.Header().Get("Location"), "alice")
		r := carry(w.Header(), httptest.NewRequest(http.MethodGet, back.String(), nil))
		end := httptest.NewRecorder()
		if err := s.login.Callback(end, r); err != nil {
			t.Fatal(err)
		}
		if got := end.Header().Get("Location"); got != want {
			t.Errorf("rd %q ended at %q", rd, got)
		}
		if h := end.Header(); h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("header %v", h)
		}
	}
}
