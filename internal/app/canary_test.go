package app_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"amlproxy/authn/authntest"
	"amlproxy/internal/app"
	"amlproxy/internal/config"
	"amlproxy/internal/doctor"
	"amlproxy/proxy"
	"amlproxy/upstream/azuremltest"
)

// A vault knows every secret of a test, set, issued or sent, and looks for them in
// whatever leaves the proxy.
type vault struct {
	mu      sync.Mutex
	secrets map[string]string // what each is, by itself
}

func (v *vault) keep(what string, secrets ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.secrets == nil {
		v.secrets = make(map[string]string)
	}
	for _, s := range secrets {
		if len(s) >= 8 {
			v.secrets[s] = what
		}
	}
}

// spellings are what a secret may look like: as it is or only its beginning, and in
// the codings that something on the way may have put it in. Base64 has three, by
// what stands before it.
func spellings(secret string) []string {
	all := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret)), strings.Trim(asJSON(secret), `"`)}
	if len(secret) >= 32 && !strings.HasPrefix(secret, "eyJ") { // the beginnings of tokens are all the same
		all = append(all, secret[:16])
	}
	for before := range 3 {
		for _, code := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			coded := code.EncodeToString([]byte("xx"[:before] + secret))
			all = append(all, coded[(before*8+5)/6:len(coded)-2])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func asJSON(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// tokens finds JWTs and sealed or bare credentials that nobody thought of keeping.
var tokens = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}|Bearer [A-Za-z0-9._~+/-]{20,}`)

// absent fails if a secret is in text.
func (v *vault) absent(t *testing.T, where, text string) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for secret, what := range v.secrets {
		for _, spelling := range spellings(secret) {
			if at := strings.Index(text, spelling); at >= 0 {
				t.Errorf("%s: %s is there, as %q: …%.300s…", where, what, spelling, text[max(0, at-200):])
				break
			}
		}
	}
	if found := tokens.FindString(text); found != "" {
		t.Errorf("%s: a token is there: %.60s", where, found)
	}
}

// A browserWatch is a browser's way out. It keeps what is secret of what passes,
// and looks at everything else of the proxy's answers.
type browserWatch struct {
	t     *testing.T
	vault *vault
	proxy string // its host
}

func (b *browserWatch) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	for _, c := range resp.Cookies() {
		if r.URL.Host == b.proxy {
			b.vault.keep("cookie "+c.Name, c.Value)
		}
	}
	if to, err := url.Parse(resp.Header.Get("Location")); err == nil {
		for _, name := range []string{"code", "state", "nonce", "code_challenge", "id_token_hint"} {
			b.vault.keep(name, to.Query().Get(name))
		}
	}
	if r.URL.Host == b.proxy {
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		header := resp.Header.Clone()
		header.Del("Set-Cookie") // they are the browser's
		if r.URL.Path == "/oauth2/start" || r.URL.Path == "/oauth2/sign_out" {
			header.Del("Location") // what the provider is told through it
		}
		var fields bytes.Buffer
		_ = header.Write(&fields)
		b.vault.absent(b.t, r.Method+" "+r.URL.Path, fields.String()+string(body))
		resp.Body = io.NopCloser(bytes.NewReader(body))
	}
	return resp, nil
}

// A tape is a writer that many write to.
type tape struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *tape) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *tape) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// A canaryWorld is everything around a proxy whose every secret is known.
type canaryWorld struct {
	*vault
	t        *testing.T
	azure    *azuremltest.Azure
	digits   *azuremltest.Scoring // by key
	iris     *azuremltest.Scoring // by a token of the workspace
	wine     *azuremltest.Scoring // by a token of Entra
	stubborn *httptest.Server     // refuses every key, and says which
	provider *authntest.Provider
	spans    *collector
	log      *tape
	url      string
	admin    string
	environ  []string
	audit    string // the file
	browser  *http.Client
	stop     func()
}

const panicking = "panic please"

func newCanaryWorld(t *testing.T, trouble func(*canaryWorld), more ...string) *canaryWorld {
	t.Helper()
	w := &canaryWorld{t: t, vault: &vault{}, log: &tape{}, spans: collect(t)}
	callers, operators := listen(t), listen(t)
	w.url, w.admin = "http://"+callers.Addr().String(), "http://"+operators.Addr().String()
	w.startAzure()
	w.startProvider()
	w.stubborn = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("WWW-Authenticate", r.Header.Get("Authorization"))
		rw.Header().Set("Set-Cookie", "key="+r.Header.Get("Authorization"))
		rw.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprintf(rw, "%v is not good", r.Header)
	}))
	t.Cleanup(w.stubborn.Close)
	w.settings(more)
	if trouble != nil {
		trouble(w)
	}

	settings, err := config.Load(w.environ)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(settings, app.Options{Log: w.log, Listener: callers, AdminListener: operators, Observe: func(r *proxy.Record) {
		if r.UserAgent == panicking {
			panic("a mistake of ours, at " + r.Path)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.stop)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.browser = &http.Client{Jar: jar, Transport: &browserWatch{t, w.vault, callers.Addr().String()}}
	return w
}

func (w *canaryWorld) startAzure() {
	w.t.Helper()
	var err error
	w.azure, err = azuremltest.Start(azuremltest.Options{ClientSecret: "canary-principal/+&=secret-5f1a"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.azure.Close() })
	w.keep("the secret of the service principal", w.azure.ClientSecret())
	model := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.keep("what the model was called with", strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		_, _ = io.Copy(rw, r.Body)
	})
	add := func(s *azuremltest.Scoring, err error) *azuremltest.Scoring {
		if err != nil {
			w.t.Fatal(err)
		}
		return s
	}
	w.digits = add(w.azure.AddService(azuremltest.Service{Name: "digits", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: model}))
	w.iris = add(w.azure.AddService(azuremltest.Service{Name: "iris", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: model}))
	w.wine = add(w.azure.AddEndpoint(azuremltest.Endpoint{Name: "wine", Auth: azuremltest.Entra, Model: model}))
	for i, fault := range faults("who knows") {
		name := fmt.Sprint("trouble-", i)
		primary, secondary := add(w.azure.AddService(azuremltest.Service{Name: name, Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: model})).Keys()
		w.keep("a key that is never had", primary, secondary)
		w.azure.Fail("listkeys service/"+name, fault)
	}
	w.keys()
}

// keys keeps the keys of now.
func (w *canaryWorld) keys() {
	primary, secondary := w.digits.Keys()
	w.keep("a key of digits", primary, secondary)
}

const clientSecret = "canary-client/+&=secret-77c2"

func (w *canaryWorld) startProvider() {
	w.provider = startTB(w.t, authntest.Options{
		Users: []authntest.User{{Name: "ann", Password: "canary-password-of-ann"}}, Audiences: []string{"api"},
		Clients: []authntest.Client{{
			ID: "web", Secret: clientSecret, RedirectURIs: []string{w.url + "/oauth2/callback"}, PostLogoutURIs: []string{w.url + "/oauth2/sign_in"},
		}},
	})
	w.keep("the password", "canary-password-of-ann")
	w.provider.Misbehave(authntest.Wrap(authntest.TokenEndpoint, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.asked(r)
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			var given map[string]any
			_ = json.Unmarshal(answer.Body.Bytes(), &given)
			for _, name := range []string{"access_token", "id_token", "refresh_token"} {
				if token, ok := given[name].(string); ok {
					w.keep(name, token)
				}
			}
			for name, values := range answer.Header() {
				rw.Header()[name] = values
			}
			rw.WriteHeader(answer.Code)
			_, _ = rw.Write(answer.Body.Bytes())
		})
	}))
}

// asked keeps what a request for tokens holds, and leaves it as it was.
func (w *canaryWorld) asked(r *http.Request) (body string) {
	b, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(b))
	form, _ := url.ParseQuery(string(b))
	for _, name := range []string{"code", "code_verifier", "refresh_token", "client_secret"} {
		w.keep(name, form.Get(name))
	}
	w.keep("the client's authorization", strings.TrimPrefix(r.Header.Get("Authorization"), "Basic "))
	return string(b)
}

func (w *canaryWorld) settings(more []string) {
	w.t.Helper()
	dir := w.t.TempDir()
	w.audit = filepath.Join(dir, "audit.log")
	ca := filepath.Join(dir, "ca.pem")
	routes := filepath.Join(dir, "routes.yaml")
	cookies := newCookieSecret()
	w.keep("the cookie secret", cookies)
	if raw, err := base64.StdEncoding.DecodeString(cookies); err == nil {
		w.keep("the cookie secret, decoded", string(raw))
	}
	const key, other, otlp = "canary-static-key-1d9e", "canary-static-secondary-40b7", "canary-otlp-key-93aa"
	w.keep("the key of a route", key)
	w.keep("its other key", other)
	w.keep("the collector's key", otlp)
	w.keep("the client's secret", clientSecret)
	yaml := fmt.Sprintf(`
routes:
  - {name: digits, service: digits, identity_headers: [user]}
  - {name: iris, service: iris}
  - {name: wine, endpoint: wine}
  - {name: stubborn, url: %q, auth: key, key: %s, secondary_key: %s, public: true}
  - {name: gone, url: "http://127.0.0.1:1/score", auth: key, key: %s, public: true, rate_limit: {requests: 2, per: 1h}}
`, w.stubborn.URL+"/score", key, other, key)
	for i := range faults("") {
		yaml += fmt.Sprintf("  - {name: trouble-%d, service: trouble-%d, public: true}\n", i, i)
	}
	for file, content := range map[string][]byte{ca: w.azure.CAPEM(), routes: []byte(yaml)} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.environ = append(w.azure.Environ(), "AMLPROXY_CA_FILE="+ca, "AMLPROXY_ROUTES_FILE="+routes, "AMLPROXY_LOG_LEVEL=debug",
		"AMLPROXY_PUBLIC_URL="+w.url, "AMLPROXY_OIDC_ISSUER="+w.provider.Issuer(), "AMLPROXY_OIDC_CLIENT_ID=web", "AMLPROXY_OIDC_AUDIENCES=api",
		"AMLPROXY_OIDC_CLIENT_SECRET="+clientSecret, "AMLPROXY_OIDC_SCOPES=openid,profile,email,offline_access", "AMLPROXY_COOKIE_SECRET="+cookies,
		"AMLPROXY_SESSION_REFRESH=1s", "AMLPROXY_AUDIT_FILE="+w.audit, "AMLPROXY_DRAIN_DELAY=0s",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+w.spans.URL, "OTEL_EXPORTER_OTLP_HEADERS=x-api-key="+otlp)
	w.environ = append(w.environ, more...)
}

// call sends a request through the browser and returns the status.
func (w *canaryWorld) call(path string, fields ...string) int {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+path, http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	resp, err := w.browser.Do(r)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func (w *canaryWorld) wants(what, path string, status int, fields ...string) {
	w.t.Helper()
	if got := w.call(path, fields...); got != status {
		w.t.Errorf("%s: %s answered %d, want %d", what, path, got, status)
	}
}

func (w *canaryWorld) signIn() {
	w.t.Helper()
	resp, err := authntest.SignIn(w.t.Context(), w.browser, w.url+"/oauth2/start?rd=/oauth2/userinfo", "ann", "canary-password-of-ann")
	if err != nil {
		w.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("signing in: %s at %s", resp.Status, resp.Request.URL.Path)
	}
}

// told looks at what operators are told: the log, metrics, health.
func (w *canaryWorld) told() {
	w.t.Helper()
	w.absent(w.t, "the log", w.log.String())
	if audit, err := os.ReadFile(w.audit); err != nil {
		w.t.Error(err)
	} else {
		w.absent(w.t, "the audit file", string(audit))
	}
	for _, path := range []string{"/metrics", "/readyz", "/livez", "/startupz"} {
		_, body := get(w.t, http.DefaultClient, w.admin+path)
		w.absent(w.t, "admin "+path, body)
	}
}

// doctor returns what the command of that name says.
func (w *canaryWorld) doctor() string {
	w.t.Helper()
	settings, err := config.Load(w.environ)
	if err != nil {
		w.t.Fatal(err)
	}
	var said bytes.Buffer
	said.WriteString(strings.Join(append(settings.Warnings, settings.Notes...), "\n"))
	var checks []doctor.Check
	for _, half := range []func(*config.Settings, doctor.Options) ([]doctor.Check, func(), error){doctor.Upstream, doctor.Callers} {
		more, end, err := half(settings, doctor.Options{})
		if err != nil {
			w.t.Fatal(err)
		}
		defer end()
		checks = append(checks, more...)
	}
	if _, err := doctor.Run(w.t.Context(), &said, checks); err != nil {
		w.t.Error(err)
	}
	return said.String()
}

// TestNoSecretLeavesTheProxy: F41 and all that is promised of secrets. They are
// looked for in everything that is said, over normal use, rotations, and failures
// whose answers quote what they were asked with.
func TestNoSecretLeavesTheProxy(t *testing.T) {
	w := newCanaryWorld(t, nil)
	w.wants("nobody", "/models/digits", 401)
	w.signIn()
	for _, route := range []string{"digits", "iris", "wine"} {
		w.wants("in use", "/models/"+route, 200)
	}
	w.wants("in use", "/", 200, "Accept: text/html")
	w.wants("in use", "/oauth2/sign_in", 200)
	token, err := w.provider.AccessToken("web", "ann", "openid")
	if err != nil {
		t.Fatal(err)
	}
	w.keep("an access token", token)
	w.wants("by a token", "/models/digits", 200, "Authorization: Bearer "+token)
	w.wants("by a token that is not good", "/models/digits", 401, "Authorization: Bearer "+token[:len(token)-8]+"AAAAAAAA")
	w.wants("by another scheme", "/models/digits", 200, "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("ann:canary-password-of-ann")))
	w.told()

	w.rotations()
	w.refusals()
	w.strangers()
	w.troubleAtTheProvider()
	w.troubleInAzure()
	w.told()

	w.counted()
	w.absent(t, "doctor", w.doctor())
	w.wants("signing out", "/oauth2/sign_out", 200)
	w.stop()
	w.told()
	w.absent(t, "the log", w.log.String())
	if _, about := w.spans, w.spans.spans; len(about) < 5 {
		t.Errorf("only %d spans came", len(about))
	}
	w.absent(t, "the spans", w.spans.raw.String())
	if !strings.Contains(w.log.String(), `"level":"debug"`) || len(w.secrets) < 25 {
		t.Errorf("%d secrets were looked for in a log of %d bytes", len(w.secrets), len(w.log.String()))
	}
}

// counted: what went wrong, and what did not, is in the metrics.
func (w *canaryWorld) counted() {
	w.t.Helper()
	_, text := get(w.t, http.DefaultClient, w.admin+"/metrics")
	for _, series := range []string{
		`amlproxy_logins_total{outcome="ok"}`, `amlproxy_logins_total{outcome="forbidden"}`, `amlproxy_logins_total{outcome="unavailable"}`,
		`amlproxy_sessions_started_total`, `amlproxy_session_renewals_total{outcome="ok"}`,
		`amlproxy_provider_calls_total{call="discovery",outcome="ok"}`, `amlproxy_provider_calls_total{call="keys",outcome="ok"}`,
		`amlproxy_provider_calls_total{call="token",outcome="ok"}`, `amlproxy_provider_calls_total{call="token",outcome="refused"}`,
		`amlproxy_provider_calls_total{call="token",outcome="failed"}`, `amlproxy_workspace_calls_total{operation="identity",outcome="ok"}`,
		`amlproxy_workspace_calls_total{operation="keys",outcome="failed"}`, `amlproxy_workspace_calls_total{operation="token",outcome="ok"}`,
		`amlproxy_refusals_total{problem="credential-rejected",route="stubborn"}`, `amlproxy_refusals_total{problem="invalid-token",route="digits"}`,
		`amlproxy_limits_total{limit="rate",outcome="refused",route="gone"}`, `amlproxy_retries_total{outcome="ok",route="digits"}`,
		`amlproxy_spans_total`,
	} {
		if !strings.Contains(text, "\n"+series+" ") || strings.Contains(text, "\n"+series+" 0\n") {
			w.t.Errorf("%s is not counted", series)
		}
	}
}

// rotations: every credential is replaced, and the session renewed.
func (w *canaryWorld) rotations() {
	w.t.Helper()
	w.digits.RegenerateKey(azuremltest.Primary)
	w.keys()
	w.wants("rotated", "/models/digits", 200)
	w.digits.RegenerateKey(azuremltest.Secondary)
	w.digits.RegenerateKey(azuremltest.Primary)
	w.keys()
	w.wants("rotated", "/models/digits", 200)
	w.iris.RevokeTokens()
	w.wants("revoked", "/models/iris", 200)
	seenIn(w.t, w.admin, func(text string) bool {
		_ = w.call("/oauth2/userinfo")
		return !strings.Contains(text, `amlproxy_session_renewals_total{outcome="ok"} 0`)
	})
}

func seenIn(t *testing.T, admin string, ok func(text string) bool) {
	t.Helper()
	until(t, "a metric", func() bool {
		_, text := get(t, http.DefaultClient, admin+"/metrics")
		return ok(text)
	})
}

// refusals: everything that callers are refused for, as pages and for programs.
func (w *canaryWorld) refusals() {
	w.t.Helper()
	for _, accept := range []string{"Accept: text/html", "Accept: application/json"} {
		w.wants("a key that is refused", "/models/stubborn", 502, accept)
		w.wants("no model", "/models/none", 404, accept)
		_ = w.call("/oauth2/callback?code=canary-code-of-nobody&state=canary-state-of-nobody", accept)
		_ = w.call("/oauth2/callback?error=canary-error&state=x", accept)
	}
	w.keep("a code", "canary-code-of-nobody")
	w.keep("a state", "canary-state-of-nobody")
	w.wants("a model that is gone", "/models/gone", 502)
	w.wants("a model that is gone", "/models/gone", 502)
	w.wants("a limit", "/models/gone", 429)
	_ = w.call("/models/digits", "User-Agent: "+panicking)
	w.keep("a password in a query", "canary-in-the-query")
	_ = w.call("/models/digits?api-key=canary-in-the-query")
	_ = w.call("/models/digits", "X-Api-Key: canary-in-the-query")
}

// strangers: tokens with keys that nobody has, methods, paths and names that nobody
// uses add no series.
func (w *canaryWorld) strangers() {
	w.t.Helper()
	count := func() int {
		_, text := get(w.t, http.DefaultClient, w.admin+"/metrics")
		n := 0
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "amlproxy_") {
				n++
			}
		}
		return n
	}
	send := func() {
		name := strings.ToLower(rand.Text())
		forged, err := w.provider.Sign(map[string]any{"iss": w.provider.Issuer(), "aud": "api", "sub": name}, authntest.WithHeader("kid", name))
		if err != nil {
			w.t.Fatal(err)
		}
		w.keep("a forged token", forged)
		r, err := http.NewRequestWithContext(w.t.Context(), "M"+name[:8], w.url+"/models/digits/"+name, http.NoBody)
		if err != nil {
			w.t.Fatal(err)
		}
		r.Host, r.Header = name+".example", http.Header{"User-Agent": {name}, "Authorization": {"Bearer " + forged}, "Origin": {"https://" + name}}
		if resp, err := w.browser.Do(r); err == nil {
			_ = resp.Body.Close()
		}
		_ = w.call("/models/digits", "Authorization: Bearer "+forged)
	}
	send()
	before := count()
	for range 20 {
		send()
	}
	if after := count(); after != before {
		w.t.Errorf("%d series, %d before", after, before)
	}
}

// troubleAtTheProvider: it quotes what it was asked with, in every way there is.
func (w *canaryWorld) troubleAtTheProvider() {
	w.t.Helper()
	for _, status := range []int{400, 401, 500, 200} {
		undo := w.provider.Misbehave(authntest.Answer(authntest.TokenEndpoint, func(rw http.ResponseWriter, r *http.Request) {
			quoted := w.asked(r) + " " + fmt.Sprint(r.Header)
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(status)
			_ = json.NewEncoder(rw).Encode(map[string]string{"error": quoted, "error_description": quoted, "error_uri": quoted})
		}))
		fresh := *w.browser
		jar, err := cookiejar.New(nil)
		if err != nil {
			w.t.Fatal(err)
		}
		fresh.Jar = jar
		resp, err := authntest.SignIn(w.t.Context(), &fresh, w.url+"/oauth2/start", "ann", "canary-password-of-ann")
		if err == nil {
			_ = resp.Body.Close()
		}
		undo()
	}
}

// faults are ways to fail that break off in the middle of what is secret, or quote
// what the other side was told.
func faults(quoted string) []azuremltest.Fault {
	return []azuremltest.Fault{
		{Malformed: true},
		{Status: 500, Body: `{"error":"invalid_client","error_description":"AADSTS7000215: ` + quoted + `"}`},
		{Status: 401, Body: `{"error":{"code":"` + quoted + `","message":"` + quoted + `"}}`},
		{Status: 400, Body: quoted},
		{Status: 429, Body: quoted, RetryAfter: time.Hour},
	}
}

// troubleInAzure: routes whose keys cannot be had, and a doctor who finds a new
// trouble each time.
func (w *canaryWorld) troubleInAzure() {
	w.t.Helper()
	ops := []string{"authority token", "listkeys", "token"}
	for i, fault := range faults(w.azure.ClientSecret()) {
		w.wants("no key", fmt.Sprint("/models/trouble-", i), 503)
		w.azure.Fail("authority token", fault)
		w.azure.Fail("listkeys", faults("who knows")[i])
		w.azure.Fail("token", faults("who knows")[i])
		w.absent(w.t, "doctor, in trouble", w.doctor())
	}
	for _, op := range ops {
		w.azure.Mend(op)
	}
	w.digits.RegenerateKey(azuremltest.Both)
	w.keys()
	_ = w.call("/models/digits")
}

// What check says of settings that are wrong quotes none of them.
func TestNoSecretIsInWhatCheckSays(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "cert.pfx")
	if err := os.WriteFile(garbage, []byte("canary-file-content"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := &vault{}
	for i, name := range []string{
		"AMLPROXY_COOKIE_SECRET", "AMLPROXY_OIDC_CLIENT_SECRET", "AMLPROXY_REDIS_URL", "AML_PRINCIPAL_PASS", "AML_PRINCIPAL_CERT_PASSWORD",
		"AMLPROXY_ROUTES_0_KEY", "AMLPROXY_ROUTES_0_SECONDARY_KEY", "OTEL_EXPORTER_OTLP_HEADERS", "AMLPROXY_COOKIE_SECRETT", "AMLPROXY_ROUTES_9_KEY",
	} {
		value := fmt.Sprintf("canary-%d-value\x01of-a-secret", i)
		v.keep(name, value, strings.ReplaceAll(value, "\x01", ""))
		for _, value := range []string{value, strings.ReplaceAll(value, "\x01", ""), strings.ReplaceAll(value, "\x01", ",,=")} {
			_, err := config.Load([]string{
				name + "=" + value, "AML_PRINCIPAL_CERT_FILE=" + garbage, "AML_TENANT_ID=t", "AML_PRINCIPAL_ID=p",
				"OTEL_EXPORTER_OTLP_ENDPOINT=https://c.example", "AMLPROXY_ROUTES_0_NAME=m",
			})
			var mistakes *config.Error
			if !errors.As(err, &mistakes) {
				t.Fatalf("%s: %v", name, err)
			}
			v.absent(t, name, err.Error())
			if strings.Contains(err.Error(), "canary-") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A session store that is gone is named in many logs, and its password in none.
func TestNoSecretIsToldOfARedisThatIsGone(t *testing.T) {
	const password = "canary-redis-password-8e11"
	w := newCanaryWorld(t, func(w *canaryWorld) { // and Entra, which quotes who asks
		w.azure.Fail("authority token", faults(w.azure.ClientSecret())[1])
	}, "AMLPROXY_REDIS_URL=redis://user:"+password+"@127.0.0.1:1/0")
	w.keep("the password of Redis", password)
	if resp, err := authntest.SignIn(t.Context(), w.browser, w.url+"/oauth2/start", "ann", "canary-password-of-ann"); err == nil {
		_ = resp.Body.Close()
	}
	_ = w.call("/models/digits")
	w.told()
	w.absent(t, "doctor", w.doctor())
	w.stop()
	w.told()
	if !strings.Contains(w.log.String(), "the session store cannot be reached") {
		t.Errorf("nothing was said of it: %s", w.log.String())
	}
}
