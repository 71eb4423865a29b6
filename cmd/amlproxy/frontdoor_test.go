package main_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"amlproxy/authn/authntest"
	"amlproxy/internal/demo"
)

// TestFrontDoors starts nginx and Caddy as docs/forward-auth.md configures them, in
// front of an app that signs nobody in by itself, and signs people in to it.
func TestFrontDoors(t *testing.T) {
	for program, d := range map[string]door{
		"nginx": {
			marker: "nginx", listens: "127.0.0.1:8443", fields: []string{"X-Forwarded-User"}, onlyRoute: true,
			config: func(block, dir string) string {
				return "daemon off;\nuser root;\npid " + dir + "/nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n" +
					"client_body_temp_path " + dir + ";\nproxy_temp_path " + dir + ";\nfastcgi_temp_path " + dir + ";\nuwsgi_temp_path " + dir + ";\nscgi_temp_path " + dir + ";\n" + block + "}\n"
			},
			args: func(file string) []string { return []string{"-c", file} },
		},
		"caddy": {
			marker: "caddy", listens: "127.0.0.1:8444", fields: []string{"X-Auth-Request-User"},
			config: func(block, _ string) string { return "{\n\tadmin off\n\tauto_https off\n}\n" + block },
			args:   func(file string) []string { return []string{"run", "--adapter", "caddyfile", "--config", file} },
		},
	} {
		t.Run(program, func(t *testing.T) {
			at, w := d.open(t, program)
			for who, status := range map[int]int{0: http.StatusOK, 2: map[bool]int{true: http.StatusForbidden, false: http.StatusOK}[d.onlyRoute]} {
				d.passes(t, at, w, w.People[who], status)
			}
			got, _ := visit(t, &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, at+"/report/7")
			if got.StatusCode != http.StatusFound || got.Header.Get("Location") != "/oauth2/start?rd=/report/7" {
				t.Errorf("nobody is sent to %s: %s", got.Header.Get("Location"), got.Status)
			}
		})
	}
}

// A door is a program with the block of the documentation that configures it.
type door struct {
	marker, listens string
	fields          []string // what the app is told about the caller
	onlyRoute       bool     // it asks for the rule of a route
	config          func(block, dir string) string
	args            func(file string) []string
}

// open starts the program, with the proxy and an app behind it.
func (d *door) open(t *testing.T, program string) (at string, w *demo.World) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("make deps installs %s: %v", program, err)
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = r.Header.Write(w) }))
	t.Cleanup(app.Close)
	front, behind := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	if w, err = demo.NewWorld(demo.Place{PublicURL: "http://" + front}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	start(t, append(w.Environ(), "AMLPROXY_LISTEN="+behind, "AMLPROXY_ADMIN_LISTEN=127.0.0.1:0", "AMLPROXY_TRUSTED_PROXIES=127.0.0.1"), "serve")
	ready(t, http.DefaultClient, "http://"+behind+"/readyz")

	dir := t.TempDir()
	var block string
	for _, f := range fencesOf(t) {
		if f.marker == d.marker {
			block = strings.NewReplacer("127.0.0.1:8080", behind, "127.0.0.1:3000", app.Listener.Addr().String(), d.listens, front).Replace(f.code)
		}
	}
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte(d.config(block, dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	beside(t, path, d.args(file)...)
	ready(t, http.DefaultClient, "http://"+front+"/oauth2/sign_in")
	return "http://" + front, w
}

// passes signs somebody in through the door and lets him try the app, with a name
// that is not his.
func (d *door) passes(t *testing.T, at string, w *demo.World, who demo.Account, want int) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	person := &http.Client{Jar: jar}
	arrived, err := authntest.SignIn(t.Context(), person, at+"/oauth2/start?rd=/oauth2/sign_in", who.Name, who.Secret)
	if err != nil {
		t.Fatal(err)
	}
	_ = arrived.Body.Close()
	got, told := visit(t, person, at+"/report/7")
	if got.StatusCode != want {
		t.Fatalf("%s: %s, want %d\n%s", who.Name, got.Status, want, told)
	}
	if want != http.StatusOK {
		return
	}
	for _, name := range d.fields {
		if !strings.Contains(told, "\n"+name+": user-"+who.Name+"\r\n") {
			t.Errorf("%s: the app is told\n%s", who.Name, told)
		}
	}
	model := w.Models[0]
	resp, err := person.Post(at+"/models/"+model.Name(), "application/json", strings.NewReader(string(model.Sample())))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); who.Name == "alice" && squeeze(string(body)) != squeeze(string(model.Expected())) {
		t.Errorf("the model answers %s: %s", who.Name, body)
	}
}

func visit(t *testing.T, client *http.Client, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"X-Forwarded-User", "X-Auth-Request-User", "X-Auth-Request-Email"} {
		req.Header.Set(name, "somebody else")
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, "\n" + string(body)
}
