package main_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A tab is a browser of its own, with nothing remembered in it.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// browse starts a Chromium that resolves the estate's names and trusts its
// servers' key; nothing else about it is special. With other names it resolves
// those as well, and sends cookies to whom SameSite alone lets it: what else browsers
// hold back from other sites differs, and protects nobody who has another.
func browse(t *testing.T, e *estate, others ...string) *tab {
	t.Helper()
	profile, rules := t.TempDir(), "MAP * ~NOTFOUND"
	for _, name := range append(others, proxyName, providerName) {
		rules = fmt.Sprintf("MAP %s 127.0.0.1, %s", name, rules)
	}
	if others != nil {
		lenient(t, profile)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)),
		chromedp.Flag("host-resolver-rules", rules),
		chromedp.Flag("ignore-certificate-errors-spki-list", e.pin),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("no-proxy-server", true),
		chromedp.UserDataDir(profile),
		chromedp.WindowSize(1100, 900),
	)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	return &tab{t, ctx}
}

// lenient writes into a browser's profile that cookies of other sites are not blocked.
func lenient(t *testing.T, profile string) {
	t.Helper()
	file := filepath.Join(profile, "Default", "Preferences")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(`{"profile": {"cookie_controls_mode": 0, "block_third_party_cookies": false}}`), 0o600); err != nil {
		t.Fatal(err)
	}
}

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no Chromium: make deps installs it")
	return ""
}

// do runs steps; when one fails it says where the browser was and what it showed.
func (b *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v\nat %s\n%s", what, err, b.eval("location.href"), b.eval("document.body.innerText"))
	}
}

// eval returns what an expression of the page comes to, as text. A promise is
// waited for.
func (b *tab) eval(expression string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	script := "(async () => String(await (" + expression + ")))()"
	got, err := chromedp.Run(ctx, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
	if err != nil {
		return fmt.Sprintf("[%v]", err)
	}
	return got
}

// await waits until an expression of the page is true.
func (b *tab) await(condition string) {
	b.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(30 * time.Millisecond) {
		if b.eval(condition) == "true" {
			return
		}
	}
	b.t.Fatalf("not within 30 s: %s\nat %s\n%s", condition, b.eval("location.href"), b.eval("document.body.innerText"))
}

// picture keeps what the browser shows, where AMLPROXY_TEST_PICTURES says.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("AMLPROXY_TEST_PICTURES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}

func (b *tab) location() string { b.t.Helper(); return b.eval("location.href") }
func (b *tab) text() string     { b.t.Helper(); return b.eval("document.body.innerText") }

// open goes to a page of the proxy.
func (b *tab) open(url string) { b.t.Helper(); b.do("open "+url, chromedp.Navigate(url)) }

// signIn opens a page of the proxy and fills in the form of the provider, to
// which the browser is sent.
func (b *tab) signIn(e *estate, page, user string) {
	b.t.Helper()
	var password string
	for _, a := range e.People {
		if a.Name == user {
			password = a.Secret
		}
	}
	b.open(e.url + page)
	b.await(`document.querySelector("input[name=username]") !== null`)
	if at := b.location(); !strings.HasPrefix(at, e.Provider.Issuer()) {
		b.t.Fatalf("sent to %s to sign in", at)
	}
	b.picture("provider")
	b.do("fill in the form",
		chromedp.SendKeys(`input[name=username]`, user),
		chromedp.SendKeys(`input[name=password]`, password+kb.Enter))
	b.await(fmt.Sprintf(`location.origin === %q && document.readyState === "complete"`, e.url))
}

// fetch calls a model as a script of the page would.
func (b *tab) fetch(path string, body []byte) string {
	b.t.Helper()
	return b.eval(fmt.Sprintf(`fetch(%q, {method: "POST", body: %q}).then(async r => r.status + " " + await r.text())`, path, body))
}

// TestBrowser signs people in through a real provider on another registrable
// domain, over https, and calls the models from the page.
func TestBrowser(t *testing.T) {
	e := newEstate(t)
	t.Run("alice calls every model from the page", func(t *testing.T) {
		b := browse(t, e)
		b.signIn(e, "/", "alice")
		if at := b.location(); at != e.url+"/" {
			t.Fatalf("signed in, and at %s", at)
		}
		for _, m := range e.Models {
			b.callFromPage(m.Name(), string(m.Expected()))
		}
		b.picture("models-alice")
		b.signOut(e)
	})
	t.Run("bob may not call iris", func(t *testing.T) {
		b := browse(t, e)
		b.signIn(e, "/", "bob")
		if shown := b.text(); strings.Contains(shown, "iris") || !strings.Contains(shown, "digits") {
			t.Errorf("bob is shown:\n%s", shown)
		}
		if got := b.fetch("/models/iris", e.Models[2].Sample()); !strings.HasPrefix(got, "403 ") {
			t.Errorf("iris answered bob %s", got)
		}
		if got := b.fetch("/models/digits", e.Models[1].Sample()); squeeze(got) != "200"+squeeze(string(e.Models[1].Expected())) {
			t.Errorf("digits answered bob %s", got)
		}
		b.open(e.url + "/models/iris")
		b.picture("refused-bob")
		if shown := b.text(); strings.Contains(shown, "sepal") {
			t.Errorf("the refusal shows the model:\n%s", shown)
		}
	})
	t.Run("eve may call nothing", func(t *testing.T) {
		b := browse(t, e)
		b.signIn(e, "/", "eve")
		b.picture("models-eve")
		for _, m := range e.Models {
			if got := b.fetch("/models/"+m.Name(), m.Sample()); !strings.HasPrefix(got, "403 ") {
				t.Errorf("%s answered eve %s", m.Name(), got)
			}
		}
	})
	t.Run("a deep link survives the sign-in", func(t *testing.T) {
		b := browse(t, e)
		b.signIn(e, "/models/iris/swagger.json?version=2", "alice")
		if at := b.location(); at != e.url+"/models/iris/swagger.json?version=2" {
			t.Errorf("came back to %s", at)
		}
	})
}

// callFromPage presses the button of a model and compares the answer.
func (b *tab) callFromPage(model, want string) {
	b.t.Helper()
	at := fmt.Sprintf(`document.querySelector('[data-model="%s"] %%s')`, model)
	b.await(fmt.Sprintf(at, "textarea") + `.value.length > 5`)
	b.do("press the button of "+model, chromedp.Click(fmt.Sprintf(`[data-model="%s"] button.send`, model)))
	b.await(fmt.Sprintf(at, ".answer") + `.textContent.includes("result")`)
	if got := b.eval(fmt.Sprintf(at, ".answer") + ".textContent"); !strings.Contains(squeeze(got), squeeze(want)) {
		b.t.Errorf("%s answered %s, want %s", model, got, want)
	}
}

// signOut ends the session, here and at the provider, and shows that it is over.
func (b *tab) signOut(e *estate) {
	b.t.Helper()
	b.do("sign out", chromedp.Click(`a[href^="/oauth2/sign_out"]`))
	b.await(`location.pathname === "/oauth2/sign_in" && document.readyState === "complete"`)
	b.picture("signed-out")
	if got := b.fetch("/models/digits", e.Models[1].Sample()); !strings.HasPrefix(got, "401 ") {
		b.t.Errorf("after signing out digits answered %s", got)
	}
	if got := b.eval("document.cookie"); got != "" {
		b.t.Errorf("cookies that scripts can read: %s", got)
	}
	b.open(e.url + "/")
	b.await(`document.querySelector("input[name=password]") !== null`) // the provider's session is over, too
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }
