package proxy_test

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"amlproxy/proxy"
)

// ambiguous are targets below a route that two servers could read differently.
var ambiguous = []string{
	"/..", "/../", "/../other", "/./score", "/.", "/a/..", "/a/../../x", "/..%2f", "/%2e", "/%2e%2e", "/%2E%2e/x", "/.%2e/x", "/%2e./x",
	"/%252e%252e/x", "/%25", "/a%25b", "/%2f", "/a%2Fb", "/a%2fb", "/%5c", "/a%5Cb", "/a\\b", "/..\\x", "//", "//score", "/a//b", "/score//",
	"/;x", "/score;v=1", "/..;/x", "/a%3bb", "/a%3Bb", "/a%00", "/%00", "/a%0a", "/a%0d%0aX:%20y", "/a%09", "/a%7f", "/a\x01", "/a\x7f", "/a\x80",
	"/%c0%ae%c0%ae/x", "/%c0%af", "/%e0%80%af", "/%ff", "/%ed%a0%80", "/a%c2%80", "/\xc3\xa9", "/a%", "/a%2", "/a%zz", "/a%u002e", "/%%32e",
	"/a#b", "/#", "/a%23b", "/a%3fb", "/s%63ore", "/%73core", "/a%7eb", "/a%2db", "/a<b", "/a>b", "/a\"b", "/a|b", "/a^b", "/a`b", "/a{b}", "/a[b]",
	// What NFKC makes punctuation of: "a/c", "..", ";", "\\", "(1)", "1.", "?!", "`", ":".
	"/%e2%84%80", "/%ef%b8%b0/x", "/%cd%be", "/%ef%b9%a8", "/%e2%91%b4", "/%e2%92%88", "/%e2%81%88", "/%e1%bf%af", "/%ef%b8%93",
	"/%ef%bc%8e%ef%bc%8e/x", "/a%ef%bc%8fb", "/%e2%80%a4%e2%80%a4/x", "/a%e2%88%95b", "/a%e2%80%8b", "/a%e2%80%ae",
	"?a;b", "?a=1;b=2", "?%", "?a=%2", "?a=%zz", "?a#b", "?a\x01", "?a\x80", "?\xc3\xa9", "/score?" + strings.Repeat("a&", 10_000),
}

func TestAmbiguousTargetIsRefusedOnEveryKindOfRoute(t *testing.T) {
	up := record(t, "")
	routes, pass := kinds(to(t, up.url()))
	h := open(t, proxy.Config{Routes: routes})
	for name, field := range pass {
		for _, bad := range ambiguous {
			if status := h.raw(t, "GET /models/"+name+bad+" HTTP/1.1\r\nHost: x\r\n"+field+"\r\n\r\n"); status != http.StatusBadRequest {
				t.Errorf("%s%.60q: status %d, want 400", name, bad, status)
			}
		}
	}
	if head, _ := up.last(t); head != "" {
		t.Errorf("the upstream got %q", head)
	}
}

func TestRequestLineFormsOtherThanOriginFormAreRefused(t *testing.T) {
	up := record(t, "")
	routes, _ := kinds(to(t, up.url()))
	h := open(t, proxy.Config{Routes: routes})
	for _, line := range []string{
		"GET http://evil.example/models/public/x HTTP/1.1", "GET HTTP://x/models/public HTTP/1.1", "GET hTTps://x/models/public HTTP/1.1",
		"GET http:/models/public HTTP/1.1", "GET //evil.example/models/public HTTP/1.1", "GET models/public HTTP/1.1", "GET * HTTP/1.1",
		"GET ?x HTTP/1.1", "GET http://user@x/models/public HTTP/1.1", "CONNECT evil.example:443 HTTP/1.1", "CONNECT x HTTP/1.1",
		"GET /models/public x HTTP/1.1", "GET  HTTP/1.1", "GET file:///models/public HTTP/1.1", "GET :80 HTTP/1.1",
	} {
		if status := h.raw(t, line+"\r\nHost: x\r\n\r\n"); status != http.StatusBadRequest && status != http.StatusMethodNotAllowed {
			t.Errorf("%q: status %d, want 400 or 405", line, status)
		}
	}
	if status := h.raw(t, "CONNECT /models/public HTTP/1.1\r\nHost: x\r\n\r\n"); status != http.StatusMethodNotAllowed {
		t.Errorf("CONNECT of a path: status %d, want 405", status)
	}
	if head, _ := up.last(t); head != "" {
		t.Errorf("the upstream got %q", head)
	}
}

func TestMalformedHostIsRefused(t *testing.T) {
	up := record(t, "")
	routes, _ := kinds(to(t, up.url()))
	h := open(t, proxy.Config{Routes: routes})
	for _, host := range []string{
		"", "evil/?", "a b", "a@b", "user:pass@x", "x:", "x:http", "x:123456", "[::1", "[::1]x", "::1", "x#y", "x?y", "x\\y", "a,b", "%41", "x/y", "h\xc3\xa9",
		strings.Repeat("h", 1024),
	} {
		if status := h.raw(t, "GET /models/public HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); status != http.StatusBadRequest {
			t.Errorf("Host %.40q: status %d, want 400", host, status)
		}
	}
	for _, twice := range []string{"GET /models/public HTTP/1.1\r\n\r\n", "GET /models/public HTTP/1.0\r\n\r\n", "GET /models/public HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"} {
		if status := h.raw(t, twice); status != http.StatusBadRequest {
			t.Errorf("%q: status %d, want 400", twice, status)
		}
	}
	for _, host := range []string{"x", "X.example.:8080", "10.0.0.1", "[::1]:80", "a_b"} {
		if status := h.raw(t, "GET /models/public HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); status != http.StatusOK {
			t.Errorf("Host %q: status %d, want 200", host, status)
		}
		up.last(t)
	}
}

func TestWhatWasAuthorisedIsForwardedByteForByte(t *testing.T) {
	up := record(t, "")
	routes, pass := kinds(to(t, up.url()))
	h := open(t, proxy.Config{Routes: routes})
	for name, field := range pass {
		for rest, want := range map[string]string{
			"":                                "score",
			"/":                               "score",
			"/score":                          "score",
			"/score?":                         "score?",
			"?a=1&b=%20&c=+&d&&=&e=a=b":       "score?a=1&b=%20&c=+&d&&=&e=a=b",
			"/score?x=%2e%2e%2f&y=%00%0d%0a":  "score?x=%2e%2e%2f&y=%00%0d%0a",
			"?q=/../x//y?z\\|{}^`[]<>\"'@:!$": "score?q=/../x//y?z\\|{}^`[]<>\"'@:!$",
			"?url=//models/public&%41":        "score?url=//models/public&%41",
			"/swagger.json?version=3":         "swagger.json?version=3",
			"/a/b/":                           "a/b/",
			"/a%20b/%c3%A9%E2%82%AC":          "a%20b/%c3%A9%E2%82%AC",
			"/%c2%b2%ef%ac%81%e6%9d%b1":       "%c2%b2%ef%ac%81%e6%9d%b1",
			"/a%3a%40%21%22%3C%5b":            "a%3a%40%21%22%3C%5b",
			"/~u/!$&'()*+,=:@/x.y-z_0/...":    "~u/!$&'()*+,=:@/x.y-z_0/...",
			"/models/grouped":                 "models/grouped",
		} {
			if status := h.raw(t, "GET /models/"+name+rest+" HTTP/1.1\r\nHost: x\r\n"+field+"\r\n\r\n"); status != http.StatusOK {
				t.Errorf("%s%s: status %d", name, rest, status)
			}
			head, _ := up.last(t)
			line, _, _ := strings.Cut(head, "\r\n")
			if want := "GET /api/v1/service/x/" + want + " HTTP/1.1"; line != want {
				t.Errorf("%s%s: forwarded as %q, want %q", name, rest, line, want)
			}
		}
	}
}

func TestQueryNeverDecidesTheRoute(t *testing.T) {
	up := record(t, "")
	routes, _ := kinds(to(t, up.url()))
	h := open(t, proxy.Config{Routes: routes})
	for _, target := range []string{
		"/models/grouped?x=/models/public", "/models/grouped?/models/public", "/models/grouped/models/public", "/models/grouped/score?route=public",
	} {
		if a := h.ask(t, "GET", target, "", "X-Forwarded-Uri: /models/public", "X-Original-URL: /models/public", "X-Rewrite-URL: /models/public", "User-Agent: GoogleHC/1.0"); a.status != http.StatusUnauthorized {
			t.Errorf("%s: status %d, want 401", target, a.status)
		}
	}
	for _, target := range []string{"/Models/public", "/models/PUBLIC", "/models", "/models/", "/models/publicx", "/models/public.", "/oauth2/../models"} {
		if a := h.raw(t, "GET "+target+" HTTP/1.1\r\nHost: x\r\n\r\n"); a == http.StatusOK {
			t.Errorf("%s: status 200", target)
		}
	}
	if head, _ := up.last(t); head != "" {
		t.Errorf("the upstream got %q", head)
	}
}

// FuzzTarget: a target that is let through reaches the upstream byte for byte, and
// whoever unescapes or cleans it on the way comes to the same path.
func FuzzTarget(f *testing.F) {
	for _, bad := range ambiguous {
		if len(bad) < 100 {
			f.Add(bad)
		}
	}
	for _, good := range []string{"", "/", "/score", "/a%20b?c=d", "/%c3%a9", "/a/b/?", "?x=%41"} {
		f.Add(good)
	}
	seen := make(chan *url.URL, 1)
	p, err := proxy.New(proxy.Config{
		Record: func(*proxy.Record) {},
		Routes: []proxy.Route{{Name: "m", Public: true, Paths: []string{"*"}, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			seen <- r.URL
			return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: http.NoBody}, nil
		})}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		u, err := url.ParseRequestURI("/models/m" + rest)
		if err != nil {
			return // net/http answers 400
		}
		w := new(nullWriter)
		p.ServeHTTP(w, &http.Request{Method: http.MethodGet, Host: "x", RequestURI: "/models/m" + rest, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, RemoteAddr: "192.0.2.1:1"})
		var got *url.URL
		select {
		case got = <-seen:
		default:
			return // refused
		}
		forwarded := got.EscapedPath()
		if got.ForceQuery || got.RawQuery != "" {
			forwarded += "?" + got.RawQuery
		}
		if forwarded != rest {
			t.Fatalf("%q is forwarded as %q", rest, forwarded)
		}
		pathOnly := got.EscapedPath()
		once, err := url.PathUnescape(pathOnly)
		if err != nil || !utf8.ValidString(once) {
			t.Fatalf("%q: unescaped: %q, %v", pathOnly, once, err)
		}
		if twice, err := url.PathUnescape(once); err != nil || twice != once {
			t.Fatalf("%q unescapes twice: %q", pathOnly, twice)
		}
		if strings.Count(once, "/") != strings.Count(pathOnly, "/") {
			t.Fatalf("%q hides a slash", pathOnly)
		}
		if trimmed := strings.TrimSuffix(once, "/"); trimmed != "" && path.Clean(trimmed) != trimmed {
			t.Fatalf("%q cleans to %q", once, path.Clean(trimmed))
		}
		if strings.ContainsAny(once, "\\;#?%\x00\r\n") {
			t.Fatalf("%q holds what servers cut at", once)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type nullWriter struct{ header http.Header }

func (w *nullWriter) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}
func (w *nullWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *nullWriter) WriteHeader(int)             {}
