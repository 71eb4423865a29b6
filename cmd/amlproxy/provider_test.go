package main_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"golang.org/x/sync/errgroup"

	"amlproxy/authn/authntest"
)

// An authority is an identity provider as TestTwoProviders sees it.
type authority struct {
	issuer, user, password string

	environ  []string   // settings of a proxy that signs people in there
	redeemed func() int // codes and refresh tokens so far
	leave    string     // a page to end the session there, if that tells the proxy
}

// TestTwoProviders signs somebody in at two providers that have nothing in
// common, each in both ways to answer, in a browser over https on different
// registrable domains. Both are asked for refresh tokens as OpenID Connect Core
// 1.0 section 11 wants it: with prompt=consent.
func TestTwoProviders(t *testing.T) {
	for name, settle := range map[string]func(*testing.T, *estate) *authority{
		"demo": demoAuthority, "oidc-provider": nodeAuthority,
	} {
		for _, mode := range []string{"query", "form_post"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				e := newGrounds(t)
				a := settle(t, e)
				e.serve(t, append(a.environ,
					"AMLPROXY_OIDC_RESPONSE_MODE="+mode,
					"AMLPROXY_OIDC_SCOPES=openid,profile,email,offline_access", "AMLPROXY_OIDC_PARAMETERS=prompt=consent",
					"AMLPROXY_SESSION_REFRESH=1s")...)
				b := browse(t, e)
				b.restore20Tabs(e, a)
				b.isKnown(e, a)
				b.isRenewed(a)
				b.leave(e, a)
				if a.leave != "" {
					b.leaveThere(e, a)
				}
			})
		}
	}
}

// restore20Tabs opens twenty pages at once, as a browser does that is started
// again in the morning, signs in at each and finds each where it wanted to go.
func (b *tab) restore20Tabs(e *estate, a *authority) {
	b.t.Helper()
	link := func(i int) string { return fmt.Sprintf("%s/models/iris/swagger.json?tab=%d&q=a%%2Fb%%20c", e.url, i) }
	tabs := make([]*tab, 20)
	var all errgroup.Group
	for i := range tabs {
		ctx, cancel := chromedp.NewContext(b.ctx)
		b.t.Cleanup(cancel)
		tabs[i] = &tab{b.t, ctx}
		all.Go(func() error {
			if err := chromedp.Do(ctx); err != nil { // opens the tab, which lives as long as this context
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			return chromedp.Do(ctx, chromedp.Navigate(link(i)))
		})
	}
	if err := all.Wait(); err != nil {
		b.t.Fatal(err)
	}
	for _, one := range tabs {
		if at := one.location(); !strings.HasPrefix(at, a.issuer+"/") {
			b.t.Fatalf("sent to %s to sign in\n%s", at, one.text())
		}
	}
	for i, one := range tabs {
		one.answerQuestions(e, a)
		if at := one.location(); at != link(i) {
			b.t.Errorf("tab %d came back to %s\n%s", i, at, one.text())
		}
		if shown := one.text(); !strings.Contains(shown, `"swagger"`) {
			b.t.Errorf("tab %d shows %s", i, shown)
		}
	}
	b.open(link(20)) // and whoever comes later is let in at once
	if at := b.location(); at != link(20) {
		b.t.Errorf("with a session, sent to %s", at)
	}
}

// answerQuestions does what the provider asks for, until it sends the browser back.
func (b *tab) answerQuestions(e *estate, a *authority) {
	b.t.Helper()
	answer := fmt.Sprintf(`(() => {
		if (location.origin === %q) return document.readyState === "complete";
		const [name, password] = ["username", "password"].map(n => document.querySelector("input[name=" + n + "]"));
		const button = document.querySelector("button[name=consent], button[name=logout]");
		if (document.readyState !== "complete" || window.answered || (!name && !button)) return false;
		window.answered = true;
		if (button) { button.click(); return false; }
		name.value = %q;
		password.value = %q;
		name.form.requestSubmit();
		return false;
	})()`, e.url, a.user, a.password)
	b.await(answer)
}

// isKnown asks the proxy who is signed in.
func (b *tab) isKnown(e *estate, a *authority) {
	b.t.Helper()
	b.open(e.url + "/")
	var who struct {
		Issuer   string `json:"iss"`
		Username string `json:"preferred_username"`
		Email    string
		Verified bool `json:"email_verified"`
		Groups   []string
		Method   string
	}
	told := b.eval(`fetch("/oauth2/userinfo").then(r => r.text())`)
	if err := json.Unmarshal([]byte(told), &who); err != nil {
		b.t.Fatalf("userinfo says %s", told)
	}
	if who.Issuer != a.issuer || who.Username != a.user || who.Email != a.user+"@example.com" || !who.Verified ||
		strings.Join(who.Groups, " ") != "ml-users ml-admins" || who.Method != "session" {
		b.t.Errorf("userinfo says %s", told)
	}
	if got := b.fetch("/models/iris", e.Models[2].Sample()); !strings.HasPrefix(got, "200 ") {
		b.t.Errorf("iris answered %s", got)
	}
}

// isRenewed goes on until the session has been renewed twice, so that the second
// refresh token was good, too.
func (b *tab) isRenewed(a *authority) {
	b.t.Helper()
	before := a.redeemed()
	await(b.t, "the session is renewed twice", func() bool {
		if got := b.eval(`fetch("/oauth2/userinfo").then(r => r.status)`); got != "200" {
			b.t.Fatalf("signed in, and answered %s", got)
		}
		return a.redeemed() >= before+2
	})
	if got := b.eval(`fetch("/oauth2/userinfo").then(r => r.status)`); got != "200" {
		b.t.Errorf("after a renewal, answered %s", got)
	}
}

// leave signs out, here and at the provider, and shows that both sessions are over.
func (b *tab) leave(e *estate, a *authority) {
	b.t.Helper()
	b.do("sign out", chromedp.Click(`a[href^="/oauth2/sign_out"]`))
	await(b.t, "the browser is back from signing out", func() bool {
		b.answerQuestions(e, a)
		return b.eval(`location.pathname`) == "/oauth2/sign_in"
	})
	if got := b.fetch("/models/digits", e.Models[1].Sample()); !strings.HasPrefix(got, "401 ") {
		b.t.Errorf("after signing out digits answered %s", got)
	}
	b.open(e.url + "/")
	b.await(`document.querySelector("input[name=password]") !== null`)
	if at := b.location(); !strings.HasPrefix(at, a.issuer+"/") {
		b.t.Errorf("after signing out, asked for a password at %s", at)
	}
}

// leaveThere signs in again and out at the provider, which tells the proxy
// behind the browser's back (OpenID Connect Back-Channel Logout 1.0).
func (b *tab) leaveThere(e *estate, a *authority) {
	b.t.Helper()
	status := func() string {
		b.t.Helper()
		b.open(e.url + "/oauth2/userinfo")
		return b.eval(`performance.getEntriesByType("navigation")[0].responseStatus`)
	}
	b.answerQuestions(e, a)
	if got := status(); got != "200" {
		b.t.Fatalf("signed in again, and userinfo answered %s", got)
	}
	b.open(a.leave)
	b.do("sign out there", chromedp.Click(`button[name=logout]`))
	b.await(`document.querySelector("button[name=logout]") === null && document.readyState === "complete"`)
	if got := status(); got != "401" {
		b.t.Errorf("after signing out at the provider, userinfo answered %s", got)
	}
}

// demoAuthority is the provider that the demo starts.
func demoAuthority(_ *testing.T, e *estate) *authority {
	alice := e.People[0]
	return &authority{
		issuer: e.Provider.Issuer(), user: alice.Name, password: alice.Secret,
		redeemed: func() int { return e.Provider.Calls(authntest.TokenEndpoint) },
	}
}

// packages returns where scripts/oidc-provider put npm's packages.
func packages(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("OIDC_PROVIDER")
	if dir == "" {
		dir = filepath.Join("..", "..", ".cache", "oidc-provider")
	}
	if _, err := os.Stat(filepath.Join(dir, "LOCK")); err != nil {
		t.Fatalf("make deps installs npm's packages: %v", err)
	}
	return dir
}

// nodeAuthority is npm's oidc-provider, as scripts/oidc-provider installed it
// where OIDC_PROVIDER says.
func nodeAuthority(t *testing.T, e *estate) *authority {
	t.Helper()
	dir := packages(t)
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("no second identity provider: make deps installs it (%v)", err)
	}
	port, secret := freePort(t), rand.Text()
	a := &authority{issuer: "https://" + net.JoinHostPort(providerName, port), user: "alice", password: rand.Text()}
	a.environ = []string{
		"AMLPROXY_OIDC_ISSUER=" + a.issuer, "AMLPROXY_OIDC_CLIENT_ID=models", "AMLPROXY_OIDC_CLIENT_SECRET=" + secret,
	}
	a.leave = a.issuer + "/session/end"
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, e.certificate.ca, 0o600); err != nil {
		t.Fatal(err)
	}
	out := run(t, dir, node, "NODE_EXTRA_CA_CERTS="+roots, "BACKCHANNEL_LOGOUT_URI="+e.url+"/oauth2/backchannel_logout",
		"ISSUER="+a.issuer, "PORT="+port,
		"CERT_FILE="+e.certificate.certFile, "KEY_FILE="+e.certificate.keyFile,
		"CLIENT_ID=models", "CLIENT_SECRET="+secret,
		"REDIRECT_URI="+e.url+"/oauth2/callback", "POST_LOGOUT_URI="+e.url+"/oauth2/sign_in",
		"USER_NAME="+a.user, "USER_PASSWORD="+a.password, "USER_EMAIL="+a.user+"@example.com", "USER_GROUPS=ml-users,ml-admins")
	a.redeemed = func() int { return strings.Count(out.String(), "granted ") }
	return a
}

// run starts testdata/oidc-provider/index.mjs. It reads the script, so that node
// looks for its imports in the folder where it runs.
func run(t *testing.T, dir, node string, environ ...string) *output {
	t.Helper()
	script, err := os.Open(filepath.Join("testdata", "oidc-provider", "index.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	defer script.Close()
	out := &output{}
	cmd := exec.CommandContext(t.Context(), node, "--input-type=module", "-")
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, environ, script, out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("oidc-provider wrote:\n%s", out)
		}
	})
	await(t, "oidc-provider listens", func() bool { return strings.Contains(out.String(), "ready\n") })
	return out
}
