package app_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"amlproxy/internal/app"
	"amlproxy/internal/config"
	"amlproxy/proxy"
)

// public returns the settings of one public route to address.
func public(address string, more ...string) []string {
	return append([]string{
		"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_URL=" + address, "AMLPROXY_ROUTES_0_AUTH=none", "AMLPROXY_ROUTES_0_PUBLIC=true",
	}, more...)
}

// running is an App that runs.
type running struct {
	url, admin string
	stop       context.CancelFunc
	done       chan error
}

func run(t *testing.T, environ []string) *running {
	t.Helper()
	settings, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	callers, operators := listen(t), listen(t)
	a, err := app.New(settings, app.Options{Log: io.Discard, Listener: callers, AdminListener: operators})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r := &running{"://" + callers.Addr().String(), "http://" + operators.Addr().String(), stop, make(chan error, 1)}
	r.url = map[bool]string{true: "https", false: "http"}[settings.TLSCertFile != ""] + r.url
	go func() { r.done <- a.Run(ctx) }()
	t.Cleanup(stop)
	return r
}

// serveUntilTheEnd runs a until the test ends.
func serveUntilTheEnd(t testing.TB, a *app.App) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	var of net.ListenConfig
	of.SetMultipathTCP(false) // as serve listens
	l, err := of.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// get returns the status and the body, 0 if there was no answer.
func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}

func TestAStopLetsRequestsFinishAndLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	reached, release := make(chan struct{}), make(chan struct{})
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(reached)
		<-release
		_, _ = io.WriteString(w, "scored")
	}))
	defer model.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	r := run(t, public(model.URL+"/score"))

	type answer struct {
		status int
		body   string
	}
	first := make(chan answer, 1)
	go func() {
		status, body := get(t, client, r.url+"/models/m")
		first <- answer{status, body}
	}()
	<-reached
	if status, _ := get(t, client, r.admin+"/readyz"); status != http.StatusOK {
		t.Errorf("ready before the stop: %d", status)
	}
	r.stop()
	until(t, "readiness goes first", func() bool {
		status, _ := get(t, client, r.admin+"/readyz")
		return status == http.StatusServiceUnavailable
	})
	if status, _ := get(t, client, r.admin+"/livez"); status != http.StatusOK {
		t.Errorf("live while draining: %d", status)
	}
	close(release)
	if got := <-first; got != (answer{http.StatusOK, "scored"}) {
		t.Errorf("the request under way got %+v", got)
	}
	if err := <-r.done; err != nil {
		t.Error(err)
	}
}

func TestAStopDoesNotWaitForEver(t *testing.T) {
	model := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer model.Close()
	client := &http.Client{Transport: &http.Transport{}}
	r := run(t, public(model.URL+"/score", "AMLPROXY_DRAIN_TIMEOUT=50ms"))
	first := make(chan int, 1)
	go func() { status, _ := get(t, client, r.url+"/models/m"); first <- status }()
	time.Sleep(50 * time.Millisecond)
	r.stop()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	if status := <-first; status != 0 {
		t.Errorf("a request that was cut got %d", status)
	}
}

// A route without a credential is reported and takes nothing else out of service.
func TestReadinessSaysWhichRouteIsMissing(t *testing.T) {
	model := httptest.NewServer(http.NotFoundHandler())
	defer model.Close()
	routes := filepath.Join(t.TempDir(), "routes.yaml")
	content := fmt.Sprintf("routes:\n  - {name: here, url: %q, auth: none, public: true}\n  - {name: gone, service: s, public: true}\n", model.URL+"/score")
	if err := os.WriteFile(routes, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, []string{
		"AMLPROXY_ROUTES_FILE=" + routes,
		"AMLPROXY_SUBSCRIPTION_ID=s", "AMLPROXY_RESOURCE_GROUP=g", "AMLPROXY_WORKSPACE_NAME=w",
		"AML_TENANT_ID=t", "AML_PRINCIPAL_ID=p", "AML_PRINCIPAL_PASS=canary-secret",
		"AZURE_AUTHORITY_HOST=https://127.0.0.1:1/", "AMLPROXY_AZURE_ARM_URL=https://127.0.0.1:1",
		"AMLPROXY_AZURE_ARM_AUDIENCE=https://arm.test", "AMLPROXY_AZURE_DISABLE_INSTANCE_DISCOVERY=true",
	})
	defer func() { r.stop(); <-r.done }()
	var reading proxy.Readiness
	until(t, "gone failed once", func() bool {
		status, body := get(t, http.DefaultClient, r.admin+"/readyz")
		if status != http.StatusOK {
			return false
		}
		if err := json.Unmarshal([]byte(body), &reading); err != nil {
			t.Fatal(err)
		}
		return reading.Routes[0].State == "ready" && reading.Routes[1].Reason != "its credential is being fetched"
	})
	if got := reading.Routes[1]; got.Name != "gone" || got.State != "missing" {
		t.Errorf("%+v", got)
	}
	if status, body := get(t, http.DefaultClient, r.url+"/models/gone"); status != http.StatusServiceUnavailable {
		t.Errorf("a route without a credential answered %d %s", status, body)
	}
	if status, _ := get(t, http.DefaultClient, r.url+"/models/here"); status != http.StatusNotFound { // the model's own
		t.Errorf("the other route answered %d", status)
	}
}

func TestNewCertificatesAreServedWithoutARestart(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write := func(serial int64) {
		certPEM, keyPEM := selfSigned(t, serial)
		for file, content := range map[string][]byte{cert: certPEM, key: keyPEM} {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(1)
	r := run(t, public("http://127.0.0.1:1/score", "AMLPROXY_TLS_CERT_FILE="+cert, "AMLPROXY_TLS_KEY_FILE="+key))
	defer func() { r.stop(); <-r.done }()
	serial := func() int64 {
		conn, err := tls.Dial("tcp", r.url[len("https://"):], &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return 0
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	until(t, "the first certificate is served", func() bool { return serial() == 1 })
	if err := os.WriteFile(cert, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // longer than a look at the files is remembered
	if got := serial(); got != 1 {
		t.Errorf("a broken file replaced the certificate: %d", got)
	}
	write(2)
	until(t, "the second certificate is served", func() bool { return serial() == 2 })
}

func selfSigned(t *testing.T, serial int64) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}
