package authn_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
	"amlproxy/internal/secret"
)

// newDomains returns a site and its provider over https under different registrable
// domains, as a browser tells them apart. /cookies names the cookies that it is sent.
func newDomains(t *testing.T, formPost bool) *site {
	t.Helper()
	s := new(site)
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/cookies" {
			s.ServeHTTP(w, r)
			return
		}
		_, _ = io.WriteString(w, "cookies:")
		for _, c := range r.Cookies() {
			_, _ = io.WriteString(w, " "+c.Name)
		}
	}))
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	_, port, err := net.SplitHostPort(s.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.url = "https://models.example.com:" + port
	s.provider = startProvider(t, s.url, func(o *authntest.Options) {
		o.Issuer, o.TLS = "https://login.example.org:0", s.server.TLS
	})
	roots := x509.NewCertPool()
	roots.AddCert(s.server.Certificate())
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs, transport.TLSClientConfig.ServerName = roots, "example.com"
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, _ := net.SplitHostPort(address)
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	}
	t.Cleanup(transport.CloseIdleConnections)
	client, issuer := &http.Client{Transport: transport}, authn.Issuer{URL: s.provider.Issuer(), Audiences: []string{audience}}
	s.sessions = must(authn.NewSessions(authn.SessionsConfig{
		Secrets: []secret.Value{newSecret()}, Secure: true, Idle: time.Hour, Max: 12 * time.Hour, Refresh: 15 * time.Minute,
	}))(t)
	s.login = must(authn.NewLogin(authn.LoginConfig{
		Issuer: issuer, ClientID: "web", ClientSecret: secret.New("web-secret"), Scopes: []string{"openid", "profile", "email"},
		PublicURL: must(url.Parse(s.url))(t), Sessions: s.sessions, Client: client, FormPost: formPost,
	}))(t)
	s.bearer = must(authn.NewBearer(authn.BearerConfig{Issuers: []authn.Issuer{issuer}, ClientID: "web", Client: client}))(t)
	return s
}

// startBrowser returns a Chromium for which every host is this machine.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.IgnoreCertErrors,
		chromedp.Flag("host-resolver-rules", "MAP * 127.0.0.1"))
	limited, cancelLimit := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancelLimit)
	allocated, cancelAllocator := chromedp.NewExecAllocator(limited, options...)
	t.Cleanup(cancelAllocator)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	return ctx
}

// shows opens an address in a tab, if there is one, and waits until it is at path.
// It returns what the page says.
func shows(tab context.Context, t *testing.T, address, path string) string {
	t.Helper()
	if address != "" {
		if err := chromedp.Do(tab, chromedp.Navigate(address)); err != nil {
			t.Fatal(err)
		}
	}
	var at string
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		said, err := chromedp.Run(tab, chromedp.Evaluate[string](`location.pathname + "\n" + (document.readyState === "complete" ? document.body.innerText : "")`))
		now, text, _ := strings.Cut(said, "\n")
		if at = now; err == nil && at == path && text != "" {
			return text
		}
		time.Sleep(20 * time.Millisecond) // the page is elsewhere, in another process
	}
	t.Fatalf("at %s, not %s", at, path)
	return ""
}

// TestBrowserSignsInAndOut has a real browser decide about the cookies: twenty tabs
// restored at once each get to where they were, none of their state is left, and a
// sign-out leaves nothing at all.
func TestBrowserSignsInAndOut(t *testing.T) {
	for _, formPost := range []bool{false, true} {
		t.Run(fmt.Sprint("form_post ", formPost), func(t *testing.T) {
			s, browser := newDomains(t, formPost), startBrowser(t)
			if err := chromedp.Do(browser, chromedp.Navigate("about:blank")); err != nil {
				t.Fatal(err)
			}
			var tabs []context.Context
			for range 20 {
				tab, cancel := chromedp.NewContext(browser)
				defer cancel()
				tabs = append(tabs, tab)
			}
			var all sync.WaitGroup
			for i, tab := range tabs {
				all.Go(func() {
					err := chromedp.Do(tab, chromedp.Navigate(fmt.Sprint(s.url, "/oauth2/start?rd=/tab/", i)), chromedp.WaitVisible(chromedp.ID("username")))
					if err != nil {
						t.Errorf("tab %d: %v", i, err)
					}
				})
			}
			all.Wait()
			if t.Failed() {
				return
			}
			const fill = `document.getElementById("username").value = "alice"; document.getElementById("password").value = "pw"; document.forms[0].requestSubmit(), true`
			for i, tab := range tabs {
				if _, err := chromedp.Run(tab, chromedp.Evaluate[bool](fill)); err != nil {
					t.Fatalf("tab %d: %v", i, err)
				}
			}
			for i, tab := range tabs {
				if said := shows(tab, t, "", fmt.Sprint("/tab/", i)); !strings.Contains(said, `"Subject":"user-alice"`) {
					t.Fatalf("tab %d: %s", i, said)
				}
			}
			if said := shows(browser, t, s.url+"/cookies", "/cookies"); said != "cookies: __Host-amlproxy __Host-amlproxy-last" && said != "cookies: __Host-amlproxy-last __Host-amlproxy" {
				t.Errorf("signed in: %s", said)
			}
			if said := shows(browser, t, s.url+"/oauth2/sign_out?rd=/models/iris", "/oauth2/sign_in"); said != "signed out; on to /models/iris" {
				t.Errorf("signed out: %s", said)
			}
			if said := shows(browser, t, s.url+"/cookies", "/cookies"); said != "cookies:" {
				t.Errorf("signed out: %s", said)
			}
			if said := shows(browser, t, s.url+"/oauth2/start?rd=/again", "/login"); said == "" {
				t.Error("the provider signs in again by itself")
			}
		})
	}
}
