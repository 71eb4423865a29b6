package authntest_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"go.uber.org/goleak"
	"golang.org/x/oauth2"

	"amlproxy/authn/authntest"
)

// op logs every refusal to the default logger.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

const audience = "api://models"

// A party is a relying party with a provider and a browser: x/oauth2 and go-oidc,
// as package authn uses them.
type party struct {
	provider *authntest.Provider
	oauth2   *oauth2.Config
	verifier *oidc.IDTokenVerifier
	browser  *http.Client
	// callbacks are the requests that the browser made to the redirect URI.
	callbacks chan url.Values
}

func newParty(t *testing.T, change ...func(*authntest.Options)) *party {
	t.Helper()
	p := &party{callbacks: make(chan url.Values, 10)}
	callback := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/callback" && r.ParseForm() == nil {
			p.callbacks <- r.Form
		}
	}))
	t.Cleanup(callback.Close)
	o := authntest.Options{
		Users: []authntest.User{
			{Name: "alice", Password: "wonderland", FullName: "Alice Liddell", Email: "alice@example.com", EmailVerified: true, Groups: []string{"ml-users", "ml-admins"}, Roles: []string{"Reader"}},
			{Name: "eve", Password: "apple"},
		},
		Clients: []authntest.Client{
			{ID: "web", Secret: "s3cret", RedirectURIs: []string{callback.URL + "/callback"}, PostLogoutURIs: []string{callback.URL + "/bye"}},
			{ID: "other", Secret: "t0p", RedirectURIs: []string{callback.URL + "/callback"}},
			{ID: "app", RedirectURIs: []string{callback.URL + "/callback"}},
			{ID: "batch-job", Secret: "hunter2", ServiceAccount: true, Groups: []string{"ml-users"}, Scopes: []string{"score", "describe"}},
		},
		Audiences: []string{audience},
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	if p.provider, err = authntest.Start(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.provider.Close(); err != nil {
			t.Error(err)
		}
	})
	p.browser = newBrowser(t)
	found, err := oidc.NewProvider(p.context(t), p.provider.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	p.verifier = found.Verifier(&oidc.Config{ClientID: "web"})
	p.oauth2 = &oauth2.Config{
		ClientID: "web", ClientSecret: "s3cret", Endpoint: found.Endpoint(),
		RedirectURL: callback.URL + "/callback", Scopes: []string{"openid", "profile", "email"},
	}
	return p
}

func newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport}
}

func (p *party) context(t *testing.T) context.Context {
	return oidc.ClientContext(t.Context(), p.browser)
}

// signIn takes the browser through a login and returns the authorization response.
func (p *party) signIn(t *testing.T, options ...oauth2.AuthCodeOption) url.Values {
	t.Helper()
	r, err := authntest.SignIn(t.Context(), p.browser, p.oauth2.AuthCodeURL("the-state", options...), "alice", "wonderland")
	if err != nil {
		t.Fatal(err)
	}
	text := body(t, r)
	if strings.Contains(text, "<script>") {
		return p.relayed(t, text)
	}
	select {
	case response := <-p.callbacks:
		return response
	default:
		t.Fatalf("no authorization response, but %s: %s", r.Status, text)
		return nil
	}
}

// relayed posts what a page of the response mode form_post holds, as its script does.
func (p *party) relayed(t *testing.T, text string) url.Values {
	t.Helper()
	action := regexp.MustCompile(`<form method="post" action="([^"]*)">`).FindStringSubmatch(text)
	if action == nil {
		t.Fatalf("no form to post in\n%s", text)
	}
	fields := url.Values{}
	for _, m := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`).FindAllStringSubmatch(text, -1) {
		fields.Add(html.UnescapeString(m[1]), html.UnescapeString(m[2]))
	}
	r, err := p.browser.PostForm(html.UnescapeString(action[1]), fields)
	if err != nil {
		t.Fatal(err)
	}
	body(t, r)
	return <-p.callbacks
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	return string(b)
}

func header(t *testing.T, token string) map[string]any {
	t.Helper()
	encoded, _, _ := strings.Cut(token, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	var h map[string]any
	if err := json.Unmarshal(decoded, &h); err != nil {
		t.Fatal(err)
	}
	return h
}

func (p *party) refresh(t *testing.T, token string) (*oauth2.Token, error) {
	t.Helper()
	return p.oauth2.TokenSource(p.context(t), &oauth2.Token{RefreshToken: token}).Token()
}

func (p *party) userinfo(t *testing.T, token string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.provider.Issuer()+"/userinfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := p.browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	text := body(t, answer)
	if answer.StatusCode != http.StatusOK {
		return answer.StatusCode, nil
	}
	var info map[string]any
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, info
}

var (
	errNot200 = errors.New("the answer is not 200")
	errNoCode = errors.New("the answer has no code")
)
