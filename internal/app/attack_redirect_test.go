package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"amlproxy/authn/authntest"
)

// C4: open redirects. What a browser makes of every address that the proxy sends it
// to, or puts into a link, is asked of a browser.

// redirects are addresses that have fooled somebody, built from the parts that did.
func redirects() []string {
	leads := []string{
		"", "/", "//", "///", "////", `/\`, `\/`, `\\`, `\`, `/\/`, `//\`, "/\t/", "/\n/", "/\r/", "/\v/", "/\f/", "/ /", "/\x00/", "\t//", " //", "\x01//",
		"/%09/", "/%0a/", "/%0d%0a/", "/%5c", "/%5c/", "%5c%5c", "/%2f", "/%2f/", "%2f%2f", "/%2e%2e/", "/..//", "/../", "/.//", `/./\`, "/;/", "/..;/", "/;//", "/%252f/", "/%00/",
		"https:", "https:/", "https://", "https:///", `https:\\`, "hTTps://", "http://", "http:", "//https://", "ftp://", "https%3a//", "https\t://", "ht\ntps://",
		"HOME@", "HOME%40", "HOME.", "HOME:80@", `HOME\@`, "HOME%2f@", "HOME//", `HOME/\`, `HOME\`, "HOME/oauth2/start?rd=//", "/oauth2/sign_out?rd=https://", "/oauth2/start?rd=//",
		"javascript:", "JaVaScRiPt:", "java\nscript:", "\x01javascript:", "data:text/html,", "vbscript:", "blob:https://",
	}
	hosts := []string{"evil.example", "evil.example/path", "user@evil.example", "evil。example", "2130706433", "[::1]", "alert(1)//", "evil.example#/"}
	var all []string
	for _, lead := range leads {
		for _, host := range hosts {
			all = append(all, lead+host)
		}
	}
	return all
}

// sentTo returns everywhere that the endpoints would send a browser for an rd: where
// a login ends, where a sign-out does, and the links of the page between them.
func (f *fort) sentTo(t testing.TB, client *http.Client, rd string) map[string]string {
	t.Helper()
	escaped := url.QueryEscape(rd)
	to := map[string]string{"login": f.loginEndsAt(t, client, "/oauth2/start?rd="+escaped)}
	for _, name := range []string{"rd", "state"} {
		page := f.knock(t, f.bare, door{"sign_in", http.MethodGet, "/oauth2/sign_in?" + name + "=" + escaped, true})
		for i, link := range regexp.MustCompile(`<(?:a|form|meta|button)\b[^>]*?(?:href|action|content)="([^"]*)"`).FindAllStringSubmatch(page.body, -1) {
			to[fmt.Sprint("sign_in by ", name, " ", i)] = unescape(link[1])
		}
		to["sign_in by "+name] = page.Header.Get("Location")
	}
	to["sign_out"] = f.signOutEndsAt(t, rd)
	return to
}

// signOutEndsAt goes through a sign-out, which the provider answers by sending the
// browser back with the state, and returns where a person would go on from there.
func (f *fort) signOutEndsAt(t testing.TB, rd string) string {
	t.Helper()
	client := f.browser(t)
	out := f.knock(t, client, door{"sign_out", http.MethodGet, "/oauth2/sign_out?rd=" + url.QueryEscape(rd), true}).Header.Get("Location")
	u, err := url.Parse(out)
	if err != nil || !strings.HasPrefix(out, f.provider.Issuer()+"/") || u.Query().Get("post_logout_redirect_uri") != f.url+"/oauth2/sign_in" {
		t.Fatalf("sign_out of %q leads to %q", rd, out)
	}
	page := f.knock(t, client, door{"sign_in", http.MethodGet, "/oauth2/sign_in?state=" + url.QueryEscape(u.Query().Get("state")), true})
	link := regexp.MustCompile(`"/oauth2/start\?rd=([^"]*)"`).FindStringSubmatch(page.body)
	if link == nil {
		t.Fatalf("no way on: %d %s", page.StatusCode, page.body)
	}
	back, err := url.QueryUnescape(unescape(link[1]))
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func unescape(s string) string {
	return strings.NewReplacer("&amp;", "&", "&#34;", `"`, "&#39;", "'", "&lt;", "<", "&gt;", ">", "&#43;", "+").Replace(s)
}

// loginEndsAt goes through a login and returns the Location of its callback.
func (f *fort) loginEndsAt(t testing.TB, client *http.Client, start string) string {
	t.Helper()
	var end string
	once := *client
	once.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.Response.Request.URL.Path, "/oauth2/callback") && strings.HasPrefix(r.Response.Request.URL.String(), f.url) {
			end = r.Response.Header.Get("Location")
			return http.ErrUseLastResponse
		}
		return nil
	}
	resp, err := authntest.SignIn(context.Background(), &once, f.url+start, "ann", "x")
	if err != nil && end == "" {
		t.Fatalf("%q: %v", start, err)
	}
	if resp != nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	return end
}

func TestOpenRedirects(t *testing.T) {
	f := newFort(t)
	client := f.signedIn(t, "ann")
	for where, to := range f.sentTo(t, client, "/models/signed?a=b") {
		if (where == "login" || where == "sign_out") && to != "/models/signed?a=b" {
			t.Errorf("%s leads to %q", where, to)
		}
	}
	var raw, sent, from []string
	for _, rd := range redirects() {
		rd = strings.ReplaceAll(rd, "HOME", f.url)
		raw = append(raw, rd)
		for where, to := range f.sentTo(t, client, rd) {
			if to != "" {
				sent, from = append(sent, to), append(from, where+" of "+rd)
			}
		}
	}
	if len(raw) < 500 || len(sent) < 4*len(raw) {
		t.Fatalf("%d payloads, sent to %d addresses", len(raw), len(sent))
	}
	foreign := 0
	for _, origin := range origins(t, f.url, raw) {
		if origin != f.url {
			foreign++
		}
	}
	if foreign < 250 {
		t.Errorf("a browser leaves for elsewhere by %d of the payloads alone: are they any good?", foreign)
	}
	for i, origin := range origins(t, f.url, sent) {
		if origin != f.url {
			t.Errorf("%s: to %q, which for a browser is %s", from[i], sent[i], origin)
		}
	}
}

// origins asks Chromium which origin each address is of, seen from a page of base:
// its URL parser is the one that counts.
func origins(t *testing.T, base string, addresses []string) []string {
	t.Helper()
	limited, cancelLimit := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancelLimit)
	allocated, cancelAllocator := chromedp.NewExecAllocator(limited, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)...)
	t.Cleanup(cancelAllocator)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	list, err := json.Marshal(addresses)
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`%s.map(a => { try { const u = new URL(a, %q); return u.origin === "null" ? u.protocol : u.origin } catch (e) { return %q } })`, list, base, base)
	all, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](script))
	if err != nil || len(all) != len(addresses) {
		t.Fatalf("%d origins: %v", len(all), err)
	}
	return all
}

// FuzzOpenRedirects: a stricter judge than a browser, since one cannot be asked a
// million times. A path of ours begins with one slash and goes on with no other, and
// holds nothing that a browser removes or turns.
func FuzzOpenRedirects(f *testing.F) {
	house := newFort(f)
	for _, rd := range redirects() {
		f.Add(rd)
	}
	f.Fuzz(func(t *testing.T, rd string) {
		if to := house.signOutEndsAt(t, rd); !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\t\r\n\x00 ") {
			t.Errorf("%q leads to %q", rd, to)
		}
	})
}
