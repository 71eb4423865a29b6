package doctor_test

import (
	"bytes"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"amlproxy/authn/authntest"
	"amlproxy/internal/config"
	"amlproxy/internal/doctor"
)

// A town is a provider that people sign in at, another that issues bearer tokens
// alone, and the settings that name both, which a test then breaks.
type town struct {
	world
	login, bearer *authntest.Provider
}

const callback = "https://models.example.com/oauth2/callback"

func newTown(t *testing.T) *town {
	t.Helper()
	certified := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	t.Cleanup(certified.Close)
	start := func(o authntest.Options) *authntest.Provider {
		o.Issuer, o.TLS = "https://127.0.0.1:0", certified.TLS
		p, err := authntest.Start(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		return p
	}
	w := &town{
		login: start(authntest.Options{Clients: []authntest.Client{
			{ID: "web", Secret: "provider-secret", RedirectURIs: []string{callback}}, {ID: "elsewhere", Secret: "provider-secret", RedirectURIs: []string{"https://other.example.com/cb"}},
		}}),
		bearer: start(authntest.Options{}),
	}
	w.names = map[string]string{}
	w.roots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certified.Certificate().Raw})
	w.secrets = []string{"provider-secret", "another-secret"}
	w.settings = map[string]string{
		"AMLPROXY_OIDC_ISSUER": w.login.Issuer(), "AMLPROXY_OIDC_CLIENT_ID": "web", "AMLPROXY_OIDC_CLIENT_SECRET": "provider-secret",
		"AMLPROXY_PUBLIC_URL": "https://models.example.com", "AMLPROXY_COOKIE_SECRET": "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=",
		"AMLPROXY_BEARER_ISSUERS_0_URL": w.bearer.Issuer(), "AMLPROXY_BEARER_ISSUERS_0_AUDIENCES": "api://models",
		"AMLPROXY_ROUTES_0_NAME": "m", "AMLPROXY_ROUTES_0_URL": "http://127.0.0.1:1/score", "AMLPROXY_ROUTES_0_AUTH": "none",
	}
	return w
}

// examine runs this half of the doctor.
func (w *town) examine(t *testing.T) (int, []line) {
	t.Helper()
	var environ []string
	if w.roots != nil {
		ca := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(ca, w.roots, 0o600); err != nil {
			t.Fatal(err)
		}
		environ = append(environ, "AMLPROXY_CA_FILE="+ca)
	}
	for name, value := range w.settings {
		environ = append(environ, name+"="+value)
	}
	settings, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	o := w.options
	o.Lookup, o.Tune = w.lookup, func(tr *http.Transport) { tr.DialContext = w.dial }
	checks, end, err := doctor.Callers(settings, o)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	var out bytes.Buffer
	failed, err := doctor.Run(t.Context(), &out, checks)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", out.String())
	w.wantNoSecret(t, out.String())
	return failed, parse(t, out.String())
}
