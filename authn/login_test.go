package authn_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
	"amlproxy/internal/secret"
)

func TestLogin(t *testing.T) {
	for _, c := range []struct {
		name, client string
		options      siteOptions
	}{
		{"https", "web", siteOptions{}},
		{"http", "web", siteOptions{plain: true}},
		{"RS256", "web", siteOptions{provider: func(o *authntest.Options) { o.Algorithm = "RS256" }}},
		{"public client", "public", siteOptions{login: func(c *authn.LoginConfig) { c.ClientID, c.ClientSecret = "public", secret.Value{} }}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, c.options)
			browser := s.browser(t)
			answer := s.signIn(t, browser, "alice", "/models/diabetes?x=1")
			if got := answer.Request.URL.String(); got != s.url+"/models/diabetes?x=1" {
				t.Fatalf("ended at %s", got)
			}
			id, _ := readIdentity(t, answer)
			if id == nil {
				t.Fatal(s.lastFailure(t))
			}
			if id.Session == "" || id.Expires.IsZero() {
				t.Errorf("session %q expires %v", id.Session, id.Expires)
			}
			want := &authn.Identity{
				Issuer: s.provider.Issuer(), Subject: "user-alice", Client: c.client, Name: "Alice Liddell", Username: "alice",
				Email: "alice@example.com", EmailVerified: true,
				Groups: []string{"ml-users", "ml-admins"}, Roles: []string{"Reader"},
				Method: authn.BySession, Session: id.Session, Time: id.Time, Expires: id.Expires, Idle: id.Idle,
			}
			if d := cmp.Diff(want, id, cmpopts.IgnoreUnexported(authn.Identity{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLoginByFormPost(t *testing.T) {
	s := newSite(t, siteOptions{login: func(c *authn.LoginConfig) { c.FormPost = true }})
	w := httptest.NewRecorder()
	if err := s.login.Start(w, httptest.NewRequest(http.MethodGet, s.url+"/oauth2/start?rd=/deep", nil)); err != nil {
		t.Fatal(err)
	}
	to := must(url.Parse(w.Header().Get("Location")))(t)
	if got := to.Query().Get("response_mode"); got != "form_post" {
		t.Errorf("response_mode is %q", got)
	}
	for _, c := range w.Result().Cookies() {
		if c.SameSite != http.SameSiteNoneMode || !c.Secure {
			t.Errorf("a browser would not send %v with a POST from elsewhere", c)
		}
	}
	// The provider's page posts by script; here the test is the script.
	query := newSite(t, siteOptions{})
	browser := query.browser(t)
	back := query.callback(t, browser, "alice")
	answer := must(browser.PostForm(query.url+"/oauth2/callback", back.Query()))(t)
	id, code := readIdentity(t, answer)
	if id == nil || id.Subject != "user-alice" || answer.Request.URL.Path != "/deep" {
		t.Fatalf("answer %d at %s", code, answer.Request.URL)
	}
}

func TestAuthorizationRequest(t *testing.T) {
	s := newSite(t, siteOptions{})
	seen := map[string]bool{}
	for range 3 {
		w := httptest.NewRecorder()
		if err := s.login.Start(w, httptest.NewRequest(http.MethodGet, s.url+"/oauth2/start", nil)); err != nil {
			t.Fatal(err)
		}
		q := must(url.Parse(w.Header().Get("Location")))(t).Query()
		if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || q.Get("redirect_uri") != s.url+"/oauth2/callback" ||
			q.Get("response_type") != "code" || q.Get("client_id") != "web" || len(q.Get("state")) < 32 || len(q.Get("nonce")) < 22 {
			t.Errorf("asked for %v", q)
		}
		if w.Code != http.StatusSeeOther || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("answer %d %v", w.Code, w.Header())
		}
		for _, name := range []string{"state", "nonce", "code_challenge"} {
			if seen[q.Get(name)] {
				t.Errorf("%s used twice", name)
			}
			seen[q.Get(name)] = true
			if strings.Contains(strings.Join(w.Header()["Set-Cookie"], ""), q.Get(name)) {
				t.Errorf("%s is readable in the cookie", name)
			}
		}
	}
}

// TestProviderDownKeepsCookies: the login goes on where it was when the provider is back.
func TestProviderDownKeepsCookies(t *testing.T) {
	for _, e := range []authntest.Endpoint{authntest.TokenEndpoint, authntest.Keys /* asked before the code is spent */} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, siteOptions{})
			browser := s.browser(t)
			back := s.callback(t, browser, "alice")
			undo := s.provider.Misbehave(authntest.Refuse(e))
			answer := must(browser.Get(back.String()))(t)
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusServiceUnavailable || len(answer.Header["Set-Cookie"]) > 0 {
				t.Errorf("answer %d, cookies %q", answer.StatusCode, answer.Header["Set-Cookie"])
			}
			wantError(t, s.lastFailure(t), authn.ErrUnavailable)
			undo()
			eventually(t, "the same callback works", func() bool {
				id, _ := readIdentity(t, must(browser.Get(back.String()))(t))
				return id != nil
			})
		})
	}
}

// TestDiscoveryDownAtStart: a provider that is down is found when it is back.
func TestDiscoveryDownAtStart(t *testing.T) {
	for name, fault := range map[string]authntest.Fault{
		"refused":      authntest.Refuse(authntest.Discovery),
		"500":          authntest.Status(authntest.Discovery, 500, ""),
		"other issuer": authntest.AlterJSON(authntest.Discovery, func(o map[string]any) { o["issuer"] = "https://evil.example" }),
		"2 MiB":        authntest.Body(authntest.Discovery, "application/json", []byte(repeated(" ", 2<<20))),
		"no endpoints": authntest.AlterJSON(authntest.Discovery, func(o map[string]any) { o["token_endpoint"] = "not an address" }),
		"redirect": authntest.Answer(authntest.Discovery, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, siteOptions{})
			undo := s.provider.Misbehave(fault)
			start := func() error {
				return s.login.Start(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/oauth2/start", nil))
			}
			for range 20 {
				e := wantError(t, start(), authn.ErrUnavailable)
				if len(e.Error()) > 700 {
					t.Errorf("an error of %d bytes", len(e.Error()))
				}
			}
			if n := s.provider.Calls(authntest.Discovery); n > 3 {
				t.Errorf("discovery asked %d times", n)
			}
			undo()
			eventually(t, "login works again", func() bool { return start() == nil })
		})
	}
}

// TestHungProviderHoldsNobodyElse: each caller waits on their own context, and a
// fetch that hangs does not keep those from working who need none.
func TestHungProviderHoldsNobodyElse(t *testing.T) {
	s := newSite(t, siteOptions{})
	signedIn := s.browser(t)
	s.signIn(t, signedIn, "alice", "/")

	other := newSite(t, siteOptions{})
	release := make(chan struct{})
	other.provider.Misbehave(authntest.Hold(authntest.Discovery, release))
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	start := func(ctx context.Context) error {
		return other.login.Start(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/oauth2/start", nil))
	}
	go func() { left <- start(ctx) }()
	eventually(t, "discovery is asked", func() bool { return other.provider.Calls(authntest.Discovery) == 1 })
	stays := make(chan error)
	go func() { stays <- start(t.Context()) }()
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left got %v", err)
	}
	close(release)
	if err := <-stays; err != nil {
		t.Errorf("who stayed shared the fate of who left: %v", err)
	}
	if n := other.provider.Calls(authntest.Discovery); n != 1 {
		t.Errorf("discovery asked %d times", n)
	}
}

func TestSignOut(t *testing.T) {
	s := newSite(t, siteOptions{})
	browser := s.browser(t)
	s.signIn(t, browser, "alice", "/")
	var asked url.Values
	s.provider.Misbehave(authntest.Wrap(authntest.EndSession, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = r.URL.Query()
			next.ServeHTTP(w, r)
		})
	}))
	answer := must(browser.Get(s.url + "/oauth2/sign_out?rd=/models/iris"))(t)
	if got := text(t, answer); answer.Request.URL.Path != "/oauth2/sign_in" || got != "signed out; on to /models/iris" {
		t.Errorf("ended at %s: %s", answer.Request.URL, got)
	}
	if _, code := s.whoAmI(t, browser); code != http.StatusUnauthorized {
		t.Errorf("still signed in: %d", code)
	}
	if asked.Get("client_id") != "web" || asked.Get("logout_hint") != "alice" || strings.Contains(asked.Get("state"), "iris") {
		t.Errorf("the provider was asked with %v", asked)
	}
	for _, c := range browser.Jar.Cookies(must(url.Parse(s.url))(t)) {
		if strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf("the browser still holds %s", c.Name)
		}
	}
}

func TestSignOutWithoutTheProvider(t *testing.T) {
	for name, fault := range map[string]authntest.Fault{
		"down":        authntest.Refuse(authntest.Discovery),
		"no endpoint": authntest.AlterJSON(authntest.Discovery, func(o map[string]any) { delete(o, "end_session_endpoint") }),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, siteOptions{})
			s.provider.Misbehave(fault)
			for rd, want := range map[string]string{"/models/iris": "/models/iris", "": "/oauth2/sign_in", "https://evil.example": "/oauth2/sign_in"} {
				w := httptest.NewRecorder()
				if err := s.login.SignOut(w, httptest.NewRequest(http.MethodGet, "/oauth2/sign_out?rd="+url.QueryEscape(rd), nil)); err != nil {
					t.Fatal(err)
				}
				if got := w.Header().Get("Location"); got != want {
					t.Errorf("rd %q ended at %q", rd, got)
				}
				// CVE-2025-55162: without Secure a browser would keep the __Host- cookie.
				if got := w.Header().Get("Set-Cookie"); got != "__Host-amlproxy=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax" {
					t.Errorf("cookie %q", got)
				}
			}
		})
	}
}

func TestNewLoginRefuses(t *testing.T) {
	sessions := must(authn.NewSessions(authn.SessionsConfig{Secrets: []secret.Value{newSecret()}, Secure: true, Idle: 1, Max: 1}))(t)
	good := authn.LoginConfig{
		Issuer: authn.Issuer{URL: "https://idp.example"}, ClientID: "web", PublicURL: must(url.Parse("https://models.example.com"))(t), Sessions: sessions,
	}
	if _, err := authn.NewLogin(good); err != nil {
		t.Fatal(err)
	}
	public := func(s string) func(*authn.LoginConfig) {
		return func(c *authn.LoginConfig) { c.PublicURL, _ = url.Parse(s) }
	}
	for name, alter := range map[string]func(*authn.LoginConfig){
		"no issuer":            func(c *authn.LoginConfig) { c.Issuer.URL = "" },
		"no scheme":            func(c *authn.LoginConfig) { c.Issuer.URL = "idp.example" },
		"every tenant":         func(c *authn.LoginConfig) { c.Issuer.URL = "https://login.microsoftonline.com/common/v2.0" },
		"empty tenant":         func(c *authn.LoginConfig) { c.Issuer.Tenants = []string{""} },
		"no client":            func(c *authn.LoginConfig) { c.ClientID = "" },
		"no sessions":          func(c *authn.LoginConfig) { c.Sessions = nil },
		"no public URL":        func(c *authn.LoginConfig) { c.PublicURL = nil },
		"public URL has path":  public("https://models.example.com/proxy"),
		"public URL is http":   public("http://models.example.com"),
		"return origin: path":  func(c *authn.LoginConfig) { c.ReturnOrigins = []string{"https://app.example.com/"} },
		"return origin: wild":  func(c *authn.LoginConfig) { c.ReturnOrigins = []string{"https://*.example.com"} },
		"return origin: host":  func(c *authn.LoginConfig) { c.ReturnOrigins = []string{"app.example.com"} },
		"return origin: empty": func(c *authn.LoginConfig) { c.ReturnOrigins = []string{""} },
		"return origin: case":  func(c *authn.LoginConfig) { c.ReturnOrigins = []string{"https://App.example.com"} },
		"two proofs": func(c *authn.LoginConfig) {
			c.ClientSecret = secret.New("x")
			c.ClientAssertion = func() (secret.Value, error) { return secret.New("x"), nil }
		},
		"a way to send a secret": func(c *authn.LoginConfig) { c.SecretMethod = "client_secret_jwt" },
		"no key":                 func(c *authn.LoginConfig) { c.ClientKey = &authn.ClientKey{} },
		"parameter of the login": func(c *authn.LoginConfig) { c.Parameters = map[string]string{"redirect_uri": "https://evil.example"} },
		"parameter's value":      func(c *authn.LoginConfig) { c.Parameters = map[string]string{"max_age": "-1"} },
		"parameter to start":     func(c *authn.LoginConfig) { c.StartParameters = []string{"nonce"} },
		"fixed and not": func(c *authn.LoginConfig) {
			c.Parameters, c.StartParameters = map[string]string{"max_age": "1"}, []string{"max_age"}
		},
		"return origin: user": func(c *authn.LoginConfig) { c.ReturnOrigins = []string{"https://u@app.example.com"} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			alter(&cfg)
			if l, err := authn.NewLogin(cfg); err == nil || l != nil {
				t.Error("accepted")
			}
		})
	}
}
