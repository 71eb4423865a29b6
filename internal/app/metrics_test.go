package app_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"amlproxy/upstream/azuremltest"
)

// The whole: an Azure, a proxy made from settings, and what Prometheus sees of a
// rotation. The secrets that Azure and the settings hold are not part of it.
func TestARotationShowsInTheMetricsAndNoSecretDoes(t *testing.T) {
	azure, err := azuremltest.Start(azuremltest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer azure.Close()
	sent := make(chan string, 1) // what the model was called with
	model := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent <- r.Header.Get("Authorization")
		_, _ = io.Copy(w, r.Body)
	})
	digits, err := azure.AddService(azuremltest.Service{Name: "digits", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: model})
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, azure.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, append(azure.Environ(), "AMLPROXY_CA_FILE="+ca,
		"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_SERVICE=digits", "AMLPROXY_ROUTES_0_PUBLIC=true"))
	defer func() { r.stop(); <-r.done }()

	secrets := []string{azure.ClientSecret()}
	call := func() {
		t.Helper()
		if status, body := get(t, http.DefaultClient, r.url+"/models/m"); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		primary, secondary := digits.Keys()
		secrets = append(secrets, primary, secondary, strings.TrimPrefix(<-sent, "Bearer "))
	}
	call()
	seen(t, r, `amlproxy_credential_usable{backend="0",route="m"} 1`,
		`amlproxy_credential_info{backend="0",kind="key",route="m"} 1`,
		`amlproxy_credential_fetches_total{backend="0",cause="start",outcome="changed",route="m"} 1`,
		`amlproxy_retries_total{outcome="ok",route="m"} 0`)

	digits.RegenerateKey(azuremltest.Primary)
	digits.RegenerateKey(azuremltest.Secondary)
	call()
	text := seen(t, r, `amlproxy_credential_fetches_total{backend="0",cause="rejected",outcome="changed",route="m"} 1`,
		`amlproxy_credential_fetch_duration_seconds_count{backend="0",route="m"} 2`,
		`amlproxy_retries_total{outcome="ok",route="m"} 1`,
		`amlproxy_requests_in_flight{route="m"} 0`,
		`amlproxy_workspace_calls_total{operation="keys",outcome="ok"} 2`,
		`amlproxy_workspace_calls_total{operation="identity",outcome="ok"} 1`,
		`amlproxy_workspace_calls_total{operation="other",outcome="ok"} 0`,
		`amlproxy_workspace_call_duration_seconds_count{operation="keys"} 2`,
		`amlproxy_provider_calls_total{call="token",outcome="ok"} 0`,
		`amlproxy_requests_total{code="2xx",route="m"} 2`)
	for i, secret := range secrets {
		if secret == "" || strings.Contains(text, secret) {
			t.Errorf("secret %d is in the metrics, or is none", i)
		}
	}
}

// seen waits until all lines are in a scrape, and returns it: a Record is made
// after the last byte of the answer was written.
func seen(t *testing.T, r *running, lines ...string) (text string) {
	t.Helper()
	for _, line := range lines {
		until(t, line, func() bool {
			var status int
			status, text = get(t, http.DefaultClient, r.admin+"/metrics")
			return status == http.StatusOK && strings.Contains(text, "\n"+line+"\n")
		})
	}
	return text
}

// Callers learn nothing of the other routes, of their load or of the runtime.
func TestMetricsAreForTheOperatorAlone(t *testing.T) {
	r := run(t, public("http://127.0.0.1:1/score"))
	defer func() { r.stop(); <-r.done }()
	seen(t, r, `amlproxy_requests_total{code="2xx",route="m"} 0`)
	for _, path := range []string{"/metrics", "/metrics/", "/models/m/metrics"} {
		if status, body := get(t, http.DefaultClient, r.url+path); status != http.StatusNotFound || strings.Contains(body, "amlproxy_") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
