package app_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"amlproxy/authn/authntest"
	"amlproxy/upstream/azuremltest"
)

// Secrets are read from files, and taken over when those change: who is signed in
// stays it as long as the secret of his session is there.
func TestSecretsAreTakenOverWhenTheirFileChanges(t *testing.T) {
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	}))
	defer model.Close()
	front := listen(t)
	public := "http://" + front.Addr().String()
	_ = front.Close()
	options := authntest.Options{
		Users:   []authntest.User{{Name: "ann", Password: "pass"}},
		Clients: []authntest.Client{{ID: "web", Secret: "right-secret", RedirectURIs: []string{public + "/oauth2/callback"}}},
	}
	provider, err := authntest.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	defer provider.Close()
	f := newFolder(t)
	older, newer := newCookieSecret(), newCookieSecret()
	r := newReloadingAt(t, public,
		fmt.Sprintf("routes: [{name: m, url: %q, auth: key, key_file: %q}]", model.URL+"/score", f.put("key", []byte("first-key"))),
		"AMLPROXY_OIDC_ISSUER="+provider.Issuer(), "AMLPROXY_OIDC_CLIENT_ID=web", "AMLPROXY_PUBLIC_URL="+public,
		"AMLPROXY_COOKIE_SECRET_FILE="+f.put("cookie", []byte(older)),
		"AMLPROXY_OIDC_CLIENT_SECRET_FILE="+f.put("client", []byte("wrong-secret")))
	signIn := func() (*http.Client, int) {
		jar, _ := cookiejar.New(nil)
		client := &http.Client{Jar: jar}
		resp, err := authntest.SignIn(t.Context(), client, public+"/oauth2/start?rd=/livez", "ann", "pass")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return client, resp.StatusCode
	}
	if _, status := signIn(); status == http.StatusOK {
		t.Fatal("signed in with the wrong client secret")
	}
	f.put("client", []byte("right-secret"))
	r.taken(1) // by itself
	ann, status := signIn()
	if status != http.StatusOK {
		t.Fatal(status)
	}
	calls := func(client *http.Client) string {
		status, body := get(t, client, r.url+"/models/m")
		return fmt.Sprint(status, " ", body)
	}
	if got := calls(ann); got != "200 Bearer first-key" {
		t.Fatal(got)
	}
	f.put("key", []byte("second-key"))
	r.hangup <- syscall.SIGHUP
	until(t, "the key counts", func() bool { return calls(ann) == "200 Bearer second-key" })

	f.put("cookie", []byte("no secret"))
	r.hangup <- syscall.SIGHUP
	until(t, "the mistake is logged", func() bool { return strings.Contains(r.log.String(), "COOKIE_SECRET_FILE: is not base64") })
	f.put("cookie", []byte(newer+","+older))
	r.hangup <- syscall.SIGHUP
	r.taken(3)
	if got := calls(ann); got != "200 Bearer second-key" {
		t.Errorf("whose secret is there still: %s", got)
	}
	late, _ := signIn()
	f.put("cookie", []byte(newer))
	r.hangup <- syscall.SIGHUP
	until(t, "the older secret is gone", func() bool { return !strings.HasPrefix(calls(ann), "200") })
	if got := calls(late); !strings.HasPrefix(got, "200") {
		t.Errorf("whose secret is there still: %s", got)
	}
	for _, secret := range []string{older, newer, "right-secret", "wrong-secret", "first-key", "second-key"} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

// taken waits until settings were taken over n times since the start.
func (r *reloading) taken(n int) {
	r.t.Helper()
	until(r.t, fmt.Sprint("taken over ", n, " times"), func() bool {
		time.Sleep(20 * time.Millisecond)
		return r.metric(`amlproxy_reloads_total{outcome="ok"}`) == fmt.Sprint(n)
	})
}

// The proxy's own secret in Azure is exchanged, and roots that everything is
// called with are: what was held stays, and what could not be had is.
func TestThePrincipalAndTheRootsAreTakenOver(t *testing.T) {
	azure, err := azuremltest.Start(azuremltest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer azure.Close()
	model := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scored") })
	if _, err := azure.AddEndpoint(azuremltest.Endpoint{Name: "a", Auth: azuremltest.Key, Model: model}); err != nil {
		t.Fatal(err)
	}
	f := newFolder(t)
	environ := []string{"AMLPROXY_CA_FILE=" + f.put("ca.pem", newPKI(t, "nobody").pem)}
	for _, setting := range azure.Environ() {
		if secret, ok := strings.CutPrefix(setting, "AML_PRINCIPAL_PASS="); ok {
			setting = "AML_PRINCIPAL_PASS_FILE=" + f.put("pass", []byte("expired"+secret))
		}
		environ = append(environ, setting)
	}
	r := newReloading(t, "routes:\n  - {name: a, endpoint: a, public: true}\n", environ...)
	until(t, "nobody is trusted", func() bool {
		_, body := get(t, http.DefaultClient, r.admin+"/readyz")
		return strings.Contains(body, "unknown authority")
	})
	f.put("ca.pem", azure.CAPEM())
	r.hangup <- syscall.SIGHUP
	until(t, "the secret is refused", func() bool {
		r.status("/models/a")
		_, body := get(t, http.DefaultClient, r.admin+"/readyz")
		return strings.Contains(body, "invalid_client")
	})
	f.put("pass", []byte(azure.ClientSecret()))
	r.hangup <- syscall.SIGHUP
	r.taken(2)
	until(t, "the model is called", func() bool { return r.status("/models/a") == http.StatusOK })
	f.put("pass", []byte("wrong-again"))
	r.hangup <- syscall.SIGHUP
	r.taken(3)
	if got := r.status("/models/a"); got != http.StatusOK {
		t.Errorf("what was held is lost: %d", got)
	}
}

// What cannot be taken over is named, and what is named in a file that is gone is
// a mistake.
func TestWhatNeedsARestartIsNamed(t *testing.T) {
	model := httptest.NewServer(http.NotFoundHandler())
	defer model.Close()
	r := newReloading(t, fmt.Sprintf("routes: [{name: m, url: %q, auth: none, public: true}]", model.URL+"/score"), "AMLPROXY_IDLE_TIMEOUT=60s")
	r.environ = append(r.environ[1:], "AMLPROXY_IDLE_TIMEOUT=50s") // as no environment can change, but files will
	r.hangup <- syscall.SIGHUP
	until(t, "it is named", func() bool {
		return strings.Contains(lineWith(r.log.String(), "need a restart"), `"AMLPROXY_IDLE_TIMEOUT"`)
	})
	if err := os.Remove(r.file); err != nil {
		t.Fatal(err)
	}
	until(t, "the file is missed", func() bool { return strings.Contains(r.log.String(), "ROUTES_FILE: names a file that cannot be read") })
	r.write(fmt.Sprintf("routes: [{name: n, url: %q, auth: none, public: true}]", model.URL+"/score"))
	r.hangup <- syscall.SIGHUP
	until(t, "it is back", func() bool {
		status, _ := get(t, http.DefaultClient, r.url+"/models/n")
		return status == 404 && r.metric("amlproxy_reload_ok") == "1"
	})
}
