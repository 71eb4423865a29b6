package app_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"amlproxy/internal/app"
	"amlproxy/internal/config"
	"amlproxy/upstream/azuremltest"
)

// reloading runs a proxy as serve does, with a routes file that a test rewrites.
type reloading struct {
	t       *testing.T
	file    string
	url     string
	admin   string
	log     *logs
	environ []string
	hangup  chan os.Signal
}

func newReloading(t *testing.T, yaml string, environ ...string) *reloading {
	t.Helper()
	return newReloadingAt(t, "http://127.0.0.1:0", yaml, environ...)
}

// newReloadingAt is newReloading at an address that settings name.
func newReloadingAt(t *testing.T, at, yaml string, environ ...string) *reloading {
	t.Helper()
	r := &reloading{t: t, file: filepath.Join(t.TempDir(), "routes.yaml"), log: &logs{}}
	r.write(yaml)
	r.environ = append(environ, "AMLPROXY_ROUTES_FILE="+r.file, "AMLPROXY_ADMIN_LISTEN=127.0.0.1:0")
	load := func() (*config.Settings, error) { return config.Load(r.environ) }
	settings, err := load()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", strings.TrimPrefix(at, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	operators := listen(t)
	r.hangup = make(chan os.Signal)
	a, err := app.New(settings, app.Options{Log: r.log, Listener: l, AdminListener: operators, Load: load, Hangup: r.hangup})
	if err != nil {
		t.Fatal(err)
	}
	serveUntilTheEnd(t, a)
	r.url, r.admin = "http://"+l.Addr().String(), "http://"+operators.Addr().String()
	return r
}

// write replaces the file whole, as editors and platforms do.
func (r *reloading) write(yaml string) {
	r.t.Helper()
	next := r.file + ".next"
	if err := os.WriteFile(next, []byte(yaml), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(next, r.file); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reloading) status(path string) int {
	r.t.Helper()
	status, _ := get(r.t, http.DefaultClient, r.url+path)
	return status
}

func TestRoutesAreTakenOverWhenTheirFileChanges(t *testing.T) {
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scored") }))
	defer model.Close()
	one := func(name string) string {
		return fmt.Sprintf("  - {name: %s, url: %q, auth: none, public: true}\n", name, model.URL+"/score")
	}
	r := newReloading(t, "routes:\n"+one("first"))
	if got := r.status("/models/first"); got != http.StatusOK {
		t.Fatal(got)
	}
	r.write("routes:\n" + one("first") + one("second"))
	until(t, "the new route is served", func() bool { return r.status("/models/second") == http.StatusOK })

	r.write("routes:\n" + one("third") + "  - {name: broken, urll: x}\n")
	until(t, "the mistake is logged", func() bool { return strings.Contains(r.log.String(), "not taken over") })
	if !strings.Contains(r.log.String(), r.file+":3:20: urll is not a known key") {
		t.Errorf("without its place: %s", lineWith(r.log.String(), "not taken over"))
	}
	if got := r.metric("amlproxy_reloads_total{outcome=\"mistake\"}") + r.metric("amlproxy_reload_ok"); got != "10" {
		t.Errorf("no metric says so: %s", got)
	}
	if r.status("/models/second") != http.StatusOK || r.status("/models/third") != http.StatusNotFound {
		t.Error("a file with a mistake was taken over in part")
	}

	r.write("routes:\n" + one("second"))
	until(t, "the removed route is gone", func() bool { return r.status("/models/first") == http.StatusNotFound })
	if got := r.metric("amlproxy_reloads_total{outcome=\"ok\"}") + r.metric("amlproxy_reload_ok"); got != "21" {
		t.Errorf("what the metrics say is %s", got)
	}
}

// metric returns the value of a series.
func (r *reloading) metric(series string) string {
	r.t.Helper()
	_, all := get(r.t, http.DefaultClient, r.admin+"/metrics")
	return strings.TrimPrefix(lineWith(all, series+" "), series+" ")
}

// A reload costs no credential: what did not change keeps its own.
func TestARouteThatDidNotChangeKeepsItsCredential(t *testing.T) {
	azure, err := azuremltest.Start(azuremltest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer azure.Close()
	model := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scored") })
	for _, name := range []string{"a", "b"} {
		if _, err := azure.AddService(azuremltest.Service{Name: name, Compute: azuremltest.AKS, Auth: azuremltest.Key, Model: model}); err != nil {
			t.Fatal(err)
		}
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, azure.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newReloading(t, "routes:\n  - {name: a, service: a, public: true}\n", append(azure.Environ(), "AMLPROXY_CA_FILE="+ca)...)
	until(t, "a is served", func() bool { return r.status("/models/a") == http.StatusOK })
	azure.ResetCalls()
	r.write("routes:\n  - {name: a, service: a, public: true, timeout: 20s}\n  - {name: b, service: b, public: true}\n")
	until(t, "b is served", func() bool { return r.status("/models/b") == http.StatusOK })
	if calls := azure.Calls(); calls["listkeys service/a"] != 0 || calls["listkeys service/b"] != 1 || calls["workspace"] != 0 {
		t.Errorf("asked again for what is held: %v", calls)
	}
}

// A route with two backends: when the first, in a named workspace, cannot be
// reached, the second is called with its own key.
func TestBackendsInOrder(t *testing.T) {
	azure, err := azuremltest.Start(azuremltest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer azure.Close()
	first, err := azure.AddService(azuremltest.Service{
		Name: "s", Compute: azuremltest.AKS, Auth: azuremltest.Key,
		Model: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "first") }),
	})
	if err != nil {
		t.Fatal(err)
	}
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer key-of-the-second" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = io.WriteString(w, "second")
	}))
	defer second.Close()
	dir := t.TempDir()
	ca, routes := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "routes.yaml")
	yaml := fmt.Sprintf(`workspaces:
  north: {subscription_id: %s, resource_group: %s, workspace_name: %s}
routes:
  - name: m
    public: true
    backends:
      - {service: s, workspace: north}
      - {url: %q, auth: key, key: key-of-the-second}
`, azure.SubscriptionID(), azure.ResourceGroup(), azure.WorkspaceName(), second.URL+"/score")
	for file, content := range map[string][]byte{ca: azure.CAPEM(), routes: []byte(yaml)} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	environ := []string{"AMLPROXY_CA_FILE=" + ca, "AMLPROXY_ROUTES_FILE=" + routes}
	for _, setting := range azure.Environ() {
		if !strings.Contains(setting, "SUBSCRIPTION_ID") && !strings.Contains(setting, "RESOURCE_GROUP") && !strings.Contains(setting, "WORKSPACE_NAME") {
			environ = append(environ, setting)
		}
	}
	r := run(t, environ)
	defer func() { r.stop(); <-r.done }()
	answers := func(want string) func() bool {
		return func() bool {
			status, body := get(t, http.DefaultClient, r.url+"/models/m")
			return status == http.StatusOK && body == want
		}
	}
	until(t, "the first backend answers", answers("first"))
	if err := first.Vanish(); err != nil {
		t.Fatal(err)
	}
	until(t, "the second backend answers", answers("second"))
}

// logs collects what the proxy logs.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A workspace's file may say another place, and a workspace be written elsewhere in
// the routes file: the one needs credentials of that place, the other none.
func TestAWorkspaceThatMovedIsAskedAndOneThatDidNotIsNot(t *testing.T) {
	azure, err := azuremltest.Start(azuremltest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer azure.Close()
	model := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scored") })
	if _, err := azure.AddService(azuremltest.Service{Name: "a", Compute: azuremltest.AKS, Auth: azuremltest.Key, Model: model}); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	ca, place := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "config.json")
	says := func(workspace string) {
		t.Helper()
		said := fmt.Sprintf(`{"subscription_id": %q, "resource_group": %q, "workspace_name": %q}`, azure.SubscriptionID(), azure.ResourceGroup(), workspace)
		if err := os.WriteFile(place, []byte(said), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	says("elsewhere")
	if err := os.WriteFile(ca, azure.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	yaml := fmt.Sprintf("workspaces:\n  north: {config: %q}\nroutes:\n  - {name: a, service: a, workspace: north, public: true}\n", place)
	r := newReloading(t, yaml, append(azure.Environ(), "AMLPROXY_CA_FILE="+ca)...)
	until(t, "a has no credential", func() bool { return r.status("/models/a") == http.StatusServiceUnavailable })
	says(azure.WorkspaceName())
	until(t, "a is served from where the file says", func() bool { return r.status("/models/a") == http.StatusOK })

	azure.ResetCalls()
	r.write("# A line more.\n" + yaml + "  - {name: b, service: a, workspace: north, public: true}\n")
	until(t, "b is served", func() bool { return r.status("/models/b") == http.StatusOK })
	if calls := azure.Calls(); calls["listkeys service/a"] != 1 || calls["workspace"] != 0 {
		t.Errorf("asked again for what is held: %v", calls)
	}
}
