package main_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"amlproxy/upstream/azuremltest"
)

// TestDoctor runs it as an operator does: the environment is all that it is told.
func TestDoctor(t *testing.T) {
	a, err := azuremltest.Start(azuremltest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	model := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scored") })
	fraud, err := a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Model: model})
	if err != nil {
		t.Fatal(err)
	}
	const ml = "Microsoft.MachineLearningServices/workspaces/"
	a.Hold(ml+"read", ml+"onlineEndpoints/read", ml+"onlineEndpoints/listKeys/action", "Microsoft.Authorization/permissions/read")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, a.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := append(a.Environ(), "AMLPROXY_CA_FILE="+ca,
		"AMLPROXY_ROUTES_0_NAME=fraud", "AMLPROXY_ROUTES_0_ENDPOINT=fraud", "AMLPROXY_ROUTES_0_PUBLIC=true")
	primary, secondary := fraud.Keys()

	for name, test := range map[string]struct {
		more []string
		code int
		says []string
	}{
		"healthy":        {nil, 0, []string{"ok    route fraud: scoring", " 0 warn, 0 failed, 0 skipped\n"}},
		"wrong secret":   {[]string{"AML_PRINCIPAL_PASS=hunter2hunter2"}, 1, []string{"FAIL  identity", "→ az ad app credential reset", "amlproxy: checks failed: 1"}},
		"wrong settings": {[]string{"AMLPROXY_LISTENN=:1"}, 2, []string{"AMLPROXY_LISTEN"}},
		"nobody can sign in": {
			[]string{
				"AMLPROXY_OIDC_ISSUER=http://127.0.0.1:1", "AMLPROXY_OIDC_CLIENT_ID=web", "AMLPROXY_PUBLIC_URL=http://localhost:8080",
				"AMLPROXY_COOKIE_SECRET=q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=",
			},
			1,
			[]string{"ok    route fraud: scoring", "ok    login: cookie", "FAIL  login: connection", "AMLPROXY_OIDC_ISSUER", "skip  login: discovery", "; nor keys, flow, scopes, redirect URI, client", "amlproxy: checks failed: 1"},
		},
		"a proxy in the way": {
			[]string{"AMLPROXY_AZURE_ARM_URL=https://management.test", "HTTPS_PROXY=http://127.0.0.1:1"},
			1,
			[]string{"skip  resource manager: dns", "FAIL  resource manager: connection", "http://127.0.0.1:1", "NO_PROXY"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			code, out := once(t, append(environ, test.more...), "doctor")
			if code != test.code {
				t.Errorf("exit %d, want %d:\n%s", code, test.code, out)
			}
			for _, want := range test.says {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in:\n%s", want, out)
				}
			}
			for _, secret := range []string{a.ClientSecret(), primary, secondary, "hunter2hunter2", "eyJ"} {
				if strings.Contains(out, secret) {
					t.Errorf("%.4s… is in:\n%s", secret, out)
				}
			}
		})
	}
	if code, out := once(t, nil, "doctor", "--help"); code != 0 || !strings.Contains(out, "exits with 1") {
		t.Errorf("help: exit %d:\n%s", code, out)
	}
	if fraud.Posts() != 0 {
		t.Errorf("the model was called %d times", fraud.Posts())
	}
}
