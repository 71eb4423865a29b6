package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"amlproxy/internal/demo"
	"amlproxy/upstream/azuremltest"
)

// beside starts another program than ours, and stops it when the test ends.
func beside(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd, out := exec.Command(name, args...), &output{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", name, out)
		}
	})
}

// own are the settings of a World as its operator would have them in .env, with
// the secrets and the workspace in files.
func own(t *testing.T, w *demo.World, public string) map[string]string {
	t.Helper()
	files := deployment(t)
	workspace := map[string]string{}
	lines := []string{"COMPOSE_PROFILES=models", "DEMO=0", "AMLPROXY_PUBLIC_URL=" + public}
	for _, setting := range w.Environ() {
		name, value, _ := strings.Cut(setting, "=")
		switch name {
		case "AMLPROXY_PUBLIC_URL":
		case "AMLPROXY_OIDC_CLIENT_SECRET":
			files["client-secret"] = value
		case "AMLPROXY_COOKIE_SECRET":
			files["cookie-secret"] = value
		case "AML_PRINCIPAL_PASS":
			files["principal-secret"] = value
			lines = append(lines, "PRINCIPAL_SECRET=./principal-secret", name+"_FILE=/run/secrets/principal-secret")
		case "AMLPROXY_SUBSCRIPTION_ID", "AMLPROXY_RESOURCE_GROUP", "AMLPROXY_WORKSPACE_NAME":
			workspace[strings.ToLower(strings.TrimPrefix(name, "AMLPROXY_"))] = value
		default:
			lines = append(lines, setting)
		}
	}
	config, err := json.Marshal(workspace)
	if err != nil {
		t.Fatal(err)
	}
	files["config.json"], files[".env"] = string(config), strings.Join(lines, "\n")+"\n"
	return files
}

// frontDoor starts an nginx with the configuration of docker-compose.yml. Only
// addresses and places differ from those in a container.
func frontDoor(t *testing.T, port string, replicas []string) {
	t.Helper()
	dir := t.TempDir()
	places := map[string]*strings.Replacer{
		"nginx.conf": strings.NewReplacer("/tmp/", dir+"/",
			"server proxy:8080 resolve ", "server "+replicas[0]+" ", "max_fails=1 fail_timeout=5s;",
			"max_fails=1 fail_timeout=5s; server "+replicas[1]+" max_fails=1 fail_timeout=5s;"),
		"http.conf": strings.NewReplacer("listen 8080", "listen 127.0.0.1:"+port),
	}
	for name, r := range places {
		content, err := os.ReadFile("../../deploy/nginx/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if r.Replace(string(content)) == string(content) {
			t.Errorf("%s has nothing to replace", name)
		}
		name = strings.Replace(name, "http.conf", "front.conf", 1)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(r.Replace(string(content))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	directives := "daemon off;"
	if os.Getuid() == 0 {
		directives += "user root;" // whose the folder is
	}
	beside(t, "nginx", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-g", directives)
}

// TestComposeRuns runs what docker-compose.yml describes, without containers: a
// real nginx and a real Redis with their configuration, and two replicas with the
// environment that the file gives them.
func TestComposeRuns(t *testing.T) {
	port, store := freePort(t), freePort(t)
	public := "http://127.0.0.1:" + port
	w, err := demo.NewWorld(demo.Place{PublicURL: public, Routes: "  - name: ticks\n    service: ticks-aci\n    access: {clients: [batch-job]}\n"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	heard := make(chan struct{})
	ticks := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, "first\n")
		_ = http.NewResponseController(rw).Flush()
		select {
		case <-heard:
			_, _ = io.WriteString(rw, "second\n")
		case <-r.Context().Done():
		}
	})
	if _, err := w.Azure.AddService(azuremltest.Service{Name: "ticks-aci", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: ticks}); err != nil {
		t.Fatal(err)
	}

	p := compose(t, own(t, w, public))
	redis, _ := p.GetService("redis")
	beside(t, redis.Command[0], append(redis.Command[1:], "--port", store, "--bind", "127.0.0.1", "--dir", t.TempDir())...)
	nginx, _ := p.GetService("nginx")
	here := strings.NewReplacer("redis:6379", "127.0.0.1:"+store, nginx.Networks["front"].Ipv4Address, "127.0.0.1")
	environ := environment(t, p, "proxy")
	for i := range environ {
		environ[i] = here.Replace(environ[i])
	}
	var replicas []*process
	var addresses []string
	for range 2 {
		address := "127.0.0.1:" + freePort(t)
		replicas = append(replicas, start(t, append(slices.Clone(environ), "AMLPROXY_LISTEN="+address, "AMLPROXY_ADMIN_LISTEN=127.0.0.1:0"), "serve"))
		addresses = append(addresses, address)
		ready(t, http.DefaultClient, "http://"+address+"/readyz")
	}
	frontDoor(t, port, addresses)
	ready(t, http.DefaultClient, public+"/readyz")

	token := clientToken(t, w)
	e := &estate{World: w, url: public, client: &http.Client{Timeout: 30 * time.Second}}
	everyModel := func(t *testing.T) {
		for _, m := range w.Models {
			if got := e.call(t, http.MethodPost, "/models/"+m.Name(), token, string(m.Sample())); got.status != 200 || strings.TrimSpace(got.body) != string(m.Expected()) {
				t.Errorf("%s: %d %s", m.Name(), got.status, got.body)
			}
		}
	}
	t.Run("calls", everyModel)
	t.Run("a body larger than nginx would take, and a call after it", func(t *testing.T) {
		m := w.Models[0]
		large := strings.Repeat(" ", 3<<20) + string(m.Sample())
		for _, body := range []string{large, string(m.Sample())} {
			if got := e.call(t, http.MethodPost, "/models/"+m.Name(), token, body); got.status != 200 || strings.TrimSpace(got.body) != string(m.Expected()) {
				t.Errorf("%d %s", got.status, got.body)
			}
		}
	})
	t.Run("a stream", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, public+"/models/ticks", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := e.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewReader(resp.Body)
		if line, err := lines.ReadString('\n'); line != "first\n" || err != nil {
			t.Fatalf("%q %v", line, err)
		}
		close(heard) // only now, so nobody on the way waited for more
		if line, err := lines.ReadString('\n'); line != "second\n" || err != nil {
			t.Errorf("%q %v", line, err)
		}
	})
	t.Run("a session, at both", func(t *testing.T) {
		person := signedIn(t, public, w.People[0])
		for range 6 {
			if status, body := userinfo(t, person, public); status != http.StatusOK {
				t.Errorf("%d %s", status, body)
			}
		}
		for i, r := range replicas { // the log is written behind the answers
			await(t, fmt.Sprintf("replica %d tells that it was asked", i), func() bool { return strings.Contains(r.err.String(), "/oauth2/userinfo") })
		}
	})
	t.Run("a replica stops", func(t *testing.T) {
		if err := replicas[0].stop(); err != nil {
			t.Error(err)
		}
		everyModel(t)
		everyModel(t)
	})
}

// clientToken gets a bearer token for the machine client.
func clientToken(t *testing.T, w *demo.World) string {
	t.Helper()
	return demoToken(t, w.Provider.Issuer()+"/oauth/token", w.Job.Secret)
}

// TestComposeEndsTLS: with FRONT=https nginx takes the certificate and the key
// from where docker-compose.yml mounts them.
func TestComposeEndsTLS(t *testing.T) {
	files, dir, c := deployment(t), t.TempDir(), issue(t, "models.example.com")
	files[".env"] += "\nFRONT=https\nTLS_CERT=" + c.certFile + "\nTLS_KEY=" + c.keyFile + "\n"
	p := compose(t, files)
	places := []string{"/tmp/", dir + "/", "server proxy:8080 resolve ", "server 127.0.0.1:8080 "}
	for _, name := range []string{"tls-cert", "tls-key"} {
		places = append(places, "/run/secrets/"+name, p.Secrets[name].File)
	}
	for source, name := range map[string]string{"nginx": "nginx.conf", "front": "front.conf"} {
		content, err := os.ReadFile(p.Configs[source].File)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.NewReplacer(places...).Replace(string(content))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "nginx", "-t", "-p", dir, "-c", filepath.Join(dir, "nginx.conf")).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
