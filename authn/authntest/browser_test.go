package authntest_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"amlproxy/authn/authntest"
)

// TestBrowserFollowsTheLoginAcrossSites has a real browser enforce the policies of
// the pages: the form's redirects lead to another site and from there to a third, and
// the page of form_post sends itself.
func TestBrowserFollowsTheLoginAcrossSites(t *testing.T) {
	var third string
	responses := make(chan url.Values, 1)
	site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/callback" && r.ParseForm() == nil:
			responses <- r.Form
			http.Redirect(w, r, third, http.StatusSeeOther)
		case r.URL.Path == "/done":
			_, _ = io.WriteString(w, "<p id=done>done")
		default:
			http.NotFound(w, r)
		}
	}))
	defer site.Close()
	_, port, err := net.SplitHostPort(site.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	third = "https://third.example.net:" + port + "/done"
	callback := "https://app.example.com:" + port + "/callback"
	provider, err := authntest.Start(authntest.Options{
		Issuer: "https://login.example.org:0", TLS: site.TLS,
		Users:   []authntest.User{{Name: "alice", Password: "wonderland"}},
		Clients: []authntest.Client{{ID: "web", Secret: "s3cret", RedirectURIs: []string{callback}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer provider.Close()
	for _, mode := range []string{"query", "form_post"} {
		t.Run(mode, func(t *testing.T) {
			ctx := startBrowser(t)
			start := provider.Issuer() + "/authorize?" + url.Values{
				"client_id": {"web"}, "response_type": {"code"}, "scope": {"openid"}, "redirect_uri": {callback},
				"state": {"s"}, "response_mode": {mode},
			}.Encode()
			if err := chromedp.Do(ctx, chromedp.Navigate(start)); err != nil {
				t.Fatal(err)
			}
			sheets, err := chromedp.Run(ctx, chromedp.Evaluate[int]("document.styleSheets.length"))
			if err != nil || sheets != 1 {
				t.Errorf("the policy lets %d style sheets through, want 1: %v", sheets, err)
			}
			err = chromedp.Do(ctx,
				chromedp.SendKeys(chromedp.ID("username"), "alice"),
				chromedp.SendKeys(chromedp.ID("password"), "wonderland\r"),
				chromedp.WaitVisible(chromedp.ID("done")),
			)
			if err != nil {
				t.Fatal(err)
			}
			if response := <-responses; !response.Has("code") || response.Get("iss") != provider.Issuer() {
				t.Errorf("response is %v", response)
			}
		})
	}
}

// startBrowser returns a Chromium for which every host is this machine.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.IgnoreCertErrors,
		chromedp.Flag("host-resolver-rules", "MAP * 127.0.0.1"))
	limited, cancelLimit := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancelLimit)
	allocated, cancelAllocator := chromedp.NewExecAllocator(limited, options...)
	t.Cleanup(cancelAllocator)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	return ctx
}
