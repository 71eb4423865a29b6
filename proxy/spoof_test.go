package proxy_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"amlproxy/proxy"
)

// C2: who is calling is never what a caller says, wherever in a message he says it,
// and C3: nor is from where, or through which name.

// lastSeen returns the head of the one request that the witness saw since the last
// verdict.
func (c *court) lastSeen(t *testing.T) string {
	t.Helper()
	c.up.mu.Lock()
	defer c.up.mu.Unlock()
	for _, all := range c.up.byID {
		if len(c.up.byID) == 1 && len(all) == 1 {
			return all[0].head
		}
	}
	t.Fatalf("the upstream saw %q", c.up.byID)
	return ""
}

func TestSpoofedTrailersNeverReachTheModel(t *testing.T) {
	c := newCourt(t, time.Second, (*httptest.Server).Start)
	for kind := range c.pass {
		for _, name := range append(spoofed, "Authorization", "Cookie", "Content-Length", "Transfer-Encoding", "Host") {
			for _, spelt := range spellings(name) {
				trailed := "{post}Trailer: " + spelt + "\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + spelt + ": SPOOFED\r\n\r\n"
				if status := c.raw(t, c.fill(kind, trailed)); status != http.StatusOK && status != http.StatusBadRequest {
					t.Errorf("%s: %s: %d", kind, spelt, status)
				} else if status == http.StatusOK && strings.Contains(c.lastSeen(t), "SPOOFED") {
					t.Errorf("%s: %s came through", kind, spelt)
				}
				c.verdict(t) // the witness takes no trailer at all
			}
		}
	}
}

func TestSpoofedHeadersNeverReachTheModelThroughHTTP2(t *testing.T) {
	c := newCourt(t, time.Second, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() })
	for kind, field := range c.pass {
		var m message
		for _, name := range spoofed {
			for _, spelt := range spellings(name) {
				m.with = append(m.with, "+"+strings.ToLower(spelt)+": 203.0.113.9, SPOOFED")
			}
		}
		m.with = append(m.with, "+x-kept: kept")
		if got := c.exchangeHTTP2(t, m.fields(kind, field), m); got.status != "200" {
			t.Errorf("%s: %s", kind, got.status)
		}
		head := c.lastSeen(t)
		if strings.Contains(head, "SPOOFED") || strings.Contains(head, "203.0.113.9") || !strings.Contains(head, "X-Kept: kept") {
			t.Errorf("%s:\n%s", kind, head)
		}
		c.verdict(t)
	}
}

// TestConnectionHeaderStripsNothingThatIsSent: whatever the proxy sends a model is
// named in Connection, in every way, and is sent all the same (CVE-2021-33197).
func TestConnectionHeaderStripsNothingThatIsSent(t *testing.T) {
	c := newCourt(t, time.Second, (*httptest.Server).Start)
	ask := func(kind, fields string) (names []string) {
		if status := c.raw(t, c.fill(kind, "{post}"+fields+"Content-Length: 2\r\n\r\n{}")); status != http.StatusOK {
			t.Fatalf("%s: %q: %d", kind, fields, status)
		}
		for line := range strings.SplitSeq(c.lastSeen(t), "\r\n") {
			if name, _, ok := strings.Cut(line, ": "); ok && name != "X-Nothing" { // the caller's own
				names = append(names, name)
			}
		}
		c.verdict(t)
		slices.Sort(names)
		return names
	}
	for kind := range c.pass {
		ours := ask(kind, "")
		joined := strings.Join(ours, ", ")
		for _, connection := range []string{
			"Connection: " + joined + "\r\n", "connection: " + strings.ToLower(joined) + "\r\n", "CONNECTION: " + strings.ToUpper(joined) + "\r\n",
			"Connection: keep-alive\r\nConnection: " + joined + "\r\n", "Connection: " + strings.Join(ours, "\r\nConnection: ") + "\r\n",
			"Connection: " + strings.ReplaceAll(joined, ", ", " ,\t,") + "\r\n", "Connection: " + strings.ReplaceAll(joined, "-", "_") + "\r\n", "Proxy-Connection: " + joined + "\r\n", "Keep-Alive: " + joined + "\r\n",
		} {
			if got := ask(kind, connection); !slices.Equal(got, ours) {
				t.Errorf("%s: with %q\n%q is sent, without it\n%q", kind, connection, got, ours)
			}
		}
	}
}

// TestOwnEndpointsBelieveNoHeader: none of them answers in another way for a field
// that no caller can be asked for, whoever he is.
func TestOwnEndpointsBelieveNoHeader(t *testing.T) {
	h := village(t, gate{})
	id := regexp.MustCompile(`[A-Z2-7]{26}`)
	ask := func(target string, fields ...string) string {
		a := h.ask(t, "GET", target, "", fields...)
		for _, name := range []string{"Date", "X-Request-Id", "Content-Length"} {
			a.Header.Del(name)
		}
		var b strings.Builder
		_ = a.Header.Write(&b)
		return a.Status + "\n" + b.String() + id.ReplaceAllString(a.body, "ID")
	}
	for _, target := range []string{
		"/", "/livez", "/readyz", "/oauth2/auth", "/oauth2/auth?route=users", "/oauth2/auth?allowed_groups=ml-admins", "/oauth2/sign_in", "/oauth2/start?rd=/x&via=public", "/oauth2/start?rd=/x",
		"/oauth2/callback?code=x", "/.well-known/oauth-protected-resource", "/nothing", "/oauth2/nothing", "/models/users",
	} {
		for _, who := range []string{"Cookie: other=1", "Cookie: amlproxy=bob", "Authorization: Bearer batch"} {
			want := ask(target, who)
			for _, name := range append(spoofed, "X-Forwarded-Ssl") {
				fields := []string{who}
				for _, spelt := range spellings(name) {
					fields = append(fields, spelt+": alice")
				}
				if got := ask(target, fields...); got != want {
					t.Errorf("%s for %s, with %s:\n%s\nwithout:\n%s", target, who, name, got, want)
				}
			}
			if got := ask(target, who, "Host: evil.example", "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example"); strings.Contains(got, "evil") {
				t.Errorf("%s for %s, asked as evil.example:\n%s", target, who, got)
			}
		}
	}
}

// TestForwardedFieldsOneByOne: without a public URL three fields of a trusted proxy
// are believed, and never any other; of anybody else none.
func TestForwardedFieldsOneByOne(t *testing.T) {
	for trusted, prefixes := range map[bool][]netip.Prefix{false: nil, true: {prefix("127.0.0.0/8")}} {
		up := record(t, "")
		p, err := proxy.New(proxy.Config{
			Record: func(*proxy.Record) {}, TrustedProxies: prefixes, Routes: []proxy.Route{{Name: "m", Public: true, Transport: to(t, up.url())}},
		})
		if err != nil {
			t.Fatal(err)
		}
		h := &house{Server: httptest.NewServer(p)}
		t.Cleanup(h.Close)
		for _, c := range []struct{ name, value, chain, scheme, host string }{
			{"X-Forwarded-For", "192.0.2.7", "192.0.2.7, 127.0.0.1", "", ""},
			{"X-Forwarded-For", "192.0.2.7:1234", "192.0.2.7, 127.0.0.1", "", ""},
			{"X-Forwarded-For", "[2001:db8::1]:1234", "2001:db8::1, 127.0.0.1", "", ""},
			{"X-Forwarded-For", "fe80::1%evil", "fe80::1, 127.0.0.1", "", ""},
			{"X-Forwarded-For", "unknown", "", "", ""},
			{"X-Forwarded-For", "_hidden", "", "", ""},
			{"X-Forwarded-For", "localhost", "", "", ""},
			{"X-Forwarded-For", "192.0.2.7\tx", "", "", ""},
			{"X-Forwarded-For", "192.0.2.07", "", "", ""},
			{"X-Forwarded-For", "3221225991", "", "", ""},
			{"X-Forwarded-For", "192.0.2.7,", "", "", ""},
			{"X-Forwarded-For", "", "", "", ""},
			{"X-Forwarded-For", strings.Repeat("127.0.0.1, ", 4000) + "127.0.0.1", strings.Repeat("127.0.0.1, ", 32) + "127.0.0.1", "", ""},
			{"X-Forwarded-Proto", "https", "", "https", ""},
			{"X-Forwarded-Proto", "HTTPS", "", "", ""},
			{"X-Forwarded-Proto", "javascript", "", "", ""},
			{"X-Forwarded-Proto", "https, http", "", "", ""},
			{"X-Forwarded-Host", "models.example.org", "", "", "models.example.org"},
			{"X-Forwarded-Host", "a, b", "", "", ""},
			{"X-Forwarded-Host", "a/b", "", "", ""},
			{"X-Forwarded-Host", "a@b", "", "", ""},
			{"X-Forwarded-Host", "a:b", "", "", ""},
			{"X-Forwarded-Host", "", "", "", ""},
			{"Forwarded", "for=192.0.2.7;host=evil.example;proto=https", "", "", ""},
			{"X-Real-Ip", "192.0.2.7", "", "", ""},
			{"X-Forwarded-Port", "443", "", "", ""},
			{"X-Forwarded-Prefix", "/x", "", "", ""},
			{"X-Forwarded-Uri", "/x", "", "", ""},
			{"X-Forwarded-Method", "GET", "", "", ""},
			{"X-Forwarded-Server", "evil.example", "", "", ""},
			{"X-Forwarded-Ssl", "on", "", "", ""},
			{"X-Forwarded-User", "root", "", "", ""},
			{"X-Original-Host", "evil.example", "", "", ""},
			{"True-Client-Ip", "192.0.2.7", "", "", ""},
			{"Via", "1.1 evil", "", "", ""},
			{"X-Forwarded-Client-Cert", "x", "", "", ""},
		} {
			if status := h.raw(t, "POST /models/m HTTP/1.1\r\nHost: asked.example\r\nConnection: close\r\n"+c.name+": "+c.value+"\r\nContent-Length: 0\r\n\r\n"); status != http.StatusOK {
				t.Errorf("%s: %.60q: %d", c.name, c.value, status)
			}
			head, _ := up.last(t)
			for name, want := range map[string][2]string{"X-Forwarded-For": {c.chain, "127.0.0.1"}, "X-Forwarded-Proto": {c.scheme, "http"}, "X-Forwarded-Host": {c.host, "asked.example"}} {
				if !trusted || want[0] == "" {
					want[0] = want[1]
				}
				if got := strings.Join(fields(head, name), "|"); got != want[0] {
					t.Errorf("trusted %t, %s: %.60q: %s is %.120q, want %.120q", trusted, c.name, c.value, name, got, want[0])
				}
			}
			if len(fields(head, "Host")) != 1 || strings.Contains(head, "evil") || strings.Contains(head, "root") {
				t.Errorf("trusted %t, %s: %.60q:\n%s", trusted, c.name, c.value, head)
			}
		}
	}
}

// TestTwoOfAForwardedFieldAreNone, unless they are one list.
func TestTwoOfAForwardedFieldAreNone(t *testing.T) {
	up := record(t, "")
	p, err := proxy.New(proxy.Config{
		Record: func(*proxy.Record) {}, TrustedProxies: []netip.Prefix{prefix("127.0.0.1/32")}, Routes: []proxy.Route{{Name: "m", Public: true, Transport: to(t, up.url())}},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{Server: httptest.NewServer(p)}
	t.Cleanup(h.Close)
	h.ask(t, "POST", "/models/m", "", "X-Forwarded-Host: a.example", "X-Forwarded-Host: b.example", "X-Forwarded-Proto: https", "X-Forwarded-Proto: https", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2")
	head, _ := up.last(t)
	if got := fields(head, "X-Forwarded-Host"); len(got) != 1 || strings.Contains(got[0], "example") {
		t.Errorf("X-Forwarded-Host %q", got)
	}
	if got := fields(head, "X-Forwarded-Proto"); !slices.Equal(got, []string{"http"}) {
		t.Errorf("X-Forwarded-Proto %q", got)
	}
	if got := fields(head, "X-Forwarded-For"); !slices.Equal(got, []string{"192.0.2.2, 127.0.0.1"}) {
		t.Errorf("X-Forwarded-For %q", got)
	}
}
