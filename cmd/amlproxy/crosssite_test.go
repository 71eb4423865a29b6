package main_test

import (
	"crypto/sha1" // RFC 6455 section 1.3 asks for it
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// Where pages come from. To a browser the first three are of the proxy's own site,
// and only the first is allowed for a model with credentials.
const (
	appName      = "app.proxy.test"
	siblingName  = "blog.proxy.test"
	partnerName  = "pages.partner.example" // allowed for a model, without credentials
	strangerName = "evil.stranger.example"
)

// A neighbourhood is an estate with a model of its own, and servers of pages around.
type neighbourhood struct {
	*estate
	port    string       // of the pages
	reached atomic.Int32 // calls that the model saw
}

func newNeighbourhood(t *testing.T) *neighbourhood {
	t.Helper()
	n := &neighbourhood{estate: newGrounds(t)}
	pages := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>a page</title><p>A page.")
	}))
	pages.TLS = &tls.Config{Certificates: []tls.Certificate{n.certificate.pair}}
	pages.StartTLS()
	t.Cleanup(pages.Close)
	_, n.port, _ = net.SplitHostPort(pages.Listener.Addr().String())
	model := httptest.NewServer(http.HandlerFunc(n.score))
	t.Cleanup(model.Close)
	routes := filepath.Join(t.TempDir(), "routes.yaml")
	if err := os.WriteFile(routes, fmt.Appendf(nil, `routes:
  - {name: app, url: %[1]q, auth: none, identity_headers: [user], cors: {origins: [%[2]q], credentials: true}}
  - {name: partner, url: %[1]q, auth: none, identity_headers: [user], cors: {origins: [%[3]q]}}
`, model.URL+"/score", n.origin(appName), n.origin(partnerName)), 0o600); err != nil {
		t.Fatal(err)
	}
	n.serve(t, "AMLPROXY_ROUTES_FILE="+routes)
	return n
}

func (n *neighbourhood) origin(name string) string {
	return "https://" + net.JoinHostPort(name, n.port)
}

// score is the model. It speaks through WebSockets as well.
func (n *neighbourhood) score(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/score" { // the list of models reads descriptions
		n.reached.Add(1)
	}
	if r.Header.Get("Upgrade") == "" {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Ms-Run-Fn-Exec-Ms", "3")
		_, _ = fmt.Fprintf(w, "scored for %q", r.Header.Get("X-Forwarded-User"))
		return
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+
		base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n\x81\x05hello")
	_, _ = io.Copy(io.Discard, c)
}

// refusals are how many cross-site requests with a session the proxy has refused.
func (n *neighbourhood) refusals() int {
	return strings.Count(n.proxy.out.String()+n.proxy.err.String(), `"cross-site-request"`)
}

// from opens the page of a server.
func (b *tab) from(n *neighbourhood, name string) { b.t.Helper(); b.open(n.origin(name) + "/") }

// calls has a script of the page call a model, and returns the answer's status,
// what the script may see of it, and its body.
func (b *tab) calls(n *neighbourhood, path, options string) string {
	b.t.Helper()
	return b.eval(fmt.Sprintf(`fetch(%q, {method: "POST", body: "{}", %s}).then(
		async r => r.status + " " + r.headers.get("X-Ms-Run-Fn-Exec-Ms") + " " + await r.text(), e => "failed: " + e)`, n.url+path, options))
}

const asJSON = `headers: {"Content-Type": "application/json"}`

// TestPagesOfOtherOriginsCallModels in a real browser: those of the same site with
// the session, those of another with a token; and whoever is refused can read why.
func TestPagesOfOtherOriginsCallModels(t *testing.T) {
	n := newNeighbourhood(t)
	token := n.jobToken(t)

	stranger := browse(t, n.estate, appName, partnerName)
	for name, route := range map[string]string{appName: "app", partnerName: "partner"} {
		stranger.from(n, name)
		credentials := map[string]string{"app": `, credentials: "include"`}[route]
		n.readsRefusal(stranger, "/models/"+route, asJSON+credentials, "sign-in-required")
		n.readsRefusal(stranger, "/models/"+route, `headers: {"Authorization": "Bearer a.b.c"}`, "invalid-token")
	}
	stranger.from(n, partnerName)
	if got := stranger.calls(n, "/models/partner", `headers: {"Authorization": "Bearer `+token+`", "Content-Type": "application/json"}`); !strings.HasPrefix(got, "200 3 scored for") {
		t.Errorf("a page of another site, with a token: %s", got)
	}

	alice := browse(t, n.estate, appName, partnerName)
	alice.signIn(n.estate, "/", "alice")
	alice.from(n, appName)
	if got := alice.calls(n, "/models/app", asJSON+`, credentials: "include"`); got != `200 3 scored for "user-alice"` {
		t.Errorf("a page of the same site, with the session: %s", got)
	}
	if got := alice.calls(n, "/models/app", asJSON); !strings.HasPrefix(got, "401 ") {
		t.Errorf("a page of the same site, without credentials: %s", got)
	}
	if got := alice.eval(fmt.Sprintf(`fetch(%q, {credentials: "include"}).then(r => r.json()).then(u => u.sub + " " + (u.expires_in > 0) + " " + (u.idle_expires_in > 0))`, n.url+"/oauth2/userinfo")); got != "user-alice true true" {
		t.Errorf("how long the session lasts: %s", got)
	}
	if got := alice.socket(n, "/models/app"); got != "hello" {
		t.Errorf("a WebSocket of a page that is allowed: %s", got)
	}
}

// readsRefusal fails unless the page reads the problem and knows where to sign in.
func (n *neighbourhood) readsRefusal(b *tab, path, options, problem string) {
	b.t.Helper()
	got := b.calls(n, path, options)
	var said struct {
		Type  string `json:"type"`
		Login string `json:"login_url"`
		ID    string `json:"request_id"`
	}
	body, ok := strings.CutPrefix(got, "401 null ")
	if err := json.Unmarshal([]byte(body), &said); !ok || err != nil || said.Type != problem || said.ID == "" {
		b.t.Errorf("%s: %s", path, got)
	}
	if want := map[string]string{"sign-in-required": n.url + "/oauth2/start"}[problem]; said.Login != want {
		b.t.Errorf("%s: login_url %q, want %q", path, said.Login, want)
	}
}

// socket opens a WebSocket from the page and returns the first message, or "refused".
func (b *tab) socket(n *neighbourhood, path string) string {
	b.t.Helper()
	return b.eval(fmt.Sprintf(`new Promise(done => {
		const s = new WebSocket(%q); s.onmessage = async m => { done(m.data); s.close() }; s.onerror = () => done("refused") })`,
		strings.Replace(n.url, "https:", "wss:", 1)+path))
}

// TestPagesCannotUseASessionThatIsNotTheirs: of a sibling, to which a browser sends
// the cookie since it is of the same site, and of another site, to which it does in
// a browser that knows no SameSite. That the cookie came each time is seen from what
// is refused: a request without a session is not called cross-site.
func TestPagesCannotUseASessionThatIsNotTheirs(t *testing.T) {
	n := newNeighbourhood(t)
	alice := browse(t, n.estate, siblingName, strangerName)
	alice.signIn(n.estate, "/oauth2/start?rd=/oauth2/userinfo", "alice") // the list of models would call them
	n.tryAll(t, alice, siblingName)

	alice.from(n, strangerName)
	before := n.refusals()
	for _, options := range []string{`mode: "no-cors", credentials: "include"`, `credentials: "include"`} {
		alice.calls(n, "/models/app", options)
	}
	alice.post(n)
	if n.reached.Load() != 0 || n.refusals() != before {
		t.Errorf("SameSite=Lax, and the session came: %d refused, %d reached the model", n.refusals()-before, n.reached.Load())
	}
	alice.forgetSameSite(n)
	n.tryAll(t, alice, strangerName)
}

// tryAll has a page do all that pages can do, and fails if a model was reached or
// the session did not come.
func (n *neighbourhood) tryAll(t *testing.T, b *tab, name string) {
	t.Helper()
	for what, do := range map[string]func() string{
		"fetch":   func() string { return b.calls(n, "/models/app", `credentials: "include"`) },
		"no-cors": func() string { return b.calls(n, "/models/app", `mode: "no-cors", credentials: "include"`) },
		"text/plain form": func() string {
			return b.calls(n, "/models/app", `mode: "no-cors", credentials: "include", headers: {"Content-Type": "text/plain"}`)
		},
		"WebSocket": func() string { return b.socket(n, "/models/app") },
		"image": func() string {
			return b.eval(fmt.Sprintf(`new Promise(done => { const i = new Image(); i.onload = () => done("shown"); i.onerror = () => done("failed"); i.src = %q })`, n.url+"/models/app"))
		},
		"frame": func() string {
			return b.eval(fmt.Sprintf(`new Promise(done => { const f = document.createElement("iframe"); f.onload = () => done("loaded"); f.src = %q; document.body.append(f) })`, n.url+"/models/app"))
		},
		"form": func() string { b.post(n); return b.text() },
	} {
		b.from(n, name)
		before := n.refusals()
		said := do()
		await(t, fmt.Sprintf("%s of %s: refused as cross-site; the page saw %.200s", what, name, said), func() bool { return n.refusals() == before+1 })
		if n.reached.Load() != 0 || strings.Contains(said, "scored") || strings.Contains(said, "hello") {
			t.Errorf("%s of %s: the model was reached: %s", what, name, said)
		}
		if what == "form" && !strings.Contains(said, "Another site sent this") {
			t.Errorf("the person is told: %s", said)
		}
	}
}

// post submits a form to a model, in the whole window.
func (b *tab) post(n *neighbourhood) {
	b.t.Helper()
	b.eval(fmt.Sprintf(`(() => { const f = document.createElement("form"); f.method = "POST"; f.action = %q; document.body.append(f); f.submit(); return "" })()`, n.url+"/models/app"))
	b.await(`document.title !== "a page" && document.readyState === "complete"`)
}

// forgetSameSite makes the session cookie one of a browser that knows no SameSite.
func (b *tab) forgetSameSite(n *neighbourhood) {
	b.t.Helper()
	held, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{n.url}})
	if err != nil {
		b.t.Fatal(err)
	}
	yes := true
	for _, c := range held.Cookies {
		if c.Name == "__Host-amlproxy" {
			_, err = chromedp.Call(b.ctx, network.SetCookie, network.SetCookieParams{
				Name: c.Name, Value: c.Value, URL: n.url, Path: "/", Secure: &yes, HTTPOnly: &yes, SameSite: network.CookieSameSiteNone,
			})
			if err != nil {
				b.t.Fatal(err)
			}
			return
		}
	}
	b.t.Fatalf("no session among %d cookies", len(held.Cookies))
}
