package azuremltest_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"amlproxy/upstream/azuremltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs an Azure for one test.
func start(t *testing.T, o azuremltest.Options) *azuremltest.Azure {
	t.Helper()
	a, err := azuremltest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// client returns one that trusts that Azure alone.
func client(t *testing.T, a *azuremltest.Azure) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.CAPEM()) {
		t.Fatal("no certificate in CAPEM")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ExpectContinueTimeout: 5 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// A reply is an answer that has been read to its end.
type reply struct {
	*http.Response
	body string
}

// field returns one string of a JSON object, down a path of names.
func (r reply) field(t *testing.T, path ...string) string {
	t.Helper()
	var at any
	if err := json.Unmarshal([]byte(r.body), &at); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
	for _, name := range path {
		at = at.(map[string]any)[name]
	}
	text, _ := at.(string)
	return text
}

// do sends a request, with a bearer token unless that is empty.
func do(t *testing.T, c *http.Client, method, address, token, body string) reply {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, address, reader)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return send(t, c, r)
}

func send(t *testing.T, c *http.Client, r *http.Request) reply {
	t.Helper()
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response, string(text)}
}

// askToken asks the authority for a token as the principal.
func askToken(t *testing.T, c *http.Client, a *azuremltest.Azure, change url.Values) reply {
	t.Helper()
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {a.ClientID()}, "client_secret": {a.ClientSecret()},
		"scope": {a.ARMAudience() + "/.default"},
	}
	for name, values := range change {
		form[name] = values
	}
	response, err := c.PostForm(a.AuthorityURL()+a.Tenant()+"/oauth2/v2.0/token", form)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response, string(text)}
}

// accessToken returns a token of the authority for a scope.
func accessToken(t *testing.T, c *http.Client, a *azuremltest.Azure, scope string) string {
	t.Helper()
	r := askToken(t, c, a, url.Values{"scope": {scope}})
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", r.Status, r.body)
	}
	return r.field(t, "access_token")
}

// echo is a model that answers with its input.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })

var swagger = []byte(`{"swagger":"2.0"}`)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
