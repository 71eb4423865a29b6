package main_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"amlproxy/internal/demo"
)

// written is what a command left behind.
type written struct {
	code           int
	stdout, stderr string
}

// command runs the binary to its end.
func command(t *testing.T, environ []string, args ...string) written {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env, cmd.Dir = append(environ, "PATH="+os.Getenv("PATH")), t.TempDir()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return written{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// newWorld is the demo's Azure without a proxy: a route with keys, one with
// tokens, one with Entra tokens, and one more.
func newWorld(t *testing.T, routes string) *demo.World {
	t.Helper()
	w, err := demo.NewWorld(demo.Place{PublicURL: "http://127.0.0.1:8080", Routes: routes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

const openRoute = "  - {name: open, url: 'http://127.0.0.1:1/score', auth: none, public: true}\n"

func TestTokenShowsTheCredentialThatWouldBeUsed(t *testing.T) {
	w := newWorld(t, openRoute)
	key, _ := w.Models[0].Scoring.Keys()
	for route, wants := range map[string][]string{
		"diabetes": {"service diabetes-aci", w.Models[0].Scoring.URL(), "kind        key", "…" + key[len(key)-4:], "expires     never", "refresh     20"},
		"digits":   {"service digits-aks", "kind        token", "expires     20"},
		"iris":     {"endpoint iris-online", "kind        entra", "expires     20"},
		"open":     {"http://127.0.0.1:1/score", "kind        none"},
	} {
		got := command(t, w.Environ(), "token", route)
		if got.code != 0 || got.stderr != "" {
			t.Errorf("%s: %+v", route, got)
		}
		for _, want := range wants {
			if !strings.Contains(got.stdout, want) {
				t.Errorf("%s: %q is not in:\n%s", route, want, got.stdout)
			}
		}
		if strings.Contains(got.stdout, key) || strings.Contains(got.stdout, "eyJ") {
			t.Errorf("%s: it is not masked:\n%s", route, got.stdout)
		}
	}
}

// $(amlproxy token ROUTE --reveal) is used in scripts: the value and nothing else.
func TestTokenRevealsTheBareValue(t *testing.T) {
	w := newWorld(t, openRoute)
	for n, route := range []string{"diabetes", "digits", "iris"} {
		got := command(t, w.Environ(), "token", route, "--reveal")
		value, rest, _ := strings.Cut(got.stdout, "\n")
		if got.code != 0 || rest != "" || strings.Contains(got.stderr, value) || !strings.Contains(got.stderr, "kind") {
			t.Errorf("%s: %d, standard error:\n%s", route, got.code, got.stderr)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.Models[n].Scoring.URL(), bytes.NewReader(w.Models[n].Sample()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+value)
		resp, err := trusting(t, w.Azure.CAPEM()).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: the endpoint answers %s to it", route, resp.Status)
		}
	}
	if got := command(t, w.Environ(), "token", "open", "--reveal"); got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "takes no credential") {
		t.Errorf("%+v", got)
	}
}

func TestKeysShow(t *testing.T) {
	w := newWorld(t, "")
	primary, secondary := w.Models[0].Scoring.Keys()
	masked := command(t, w.Environ(), "keys", "show", "diabetes")
	if masked.code != 0 || strings.Contains(masked.stdout, primary) || strings.Contains(masked.stdout, secondary) ||
		!strings.Contains(masked.stdout, "primary     …"+primary[len(primary)-4:]) || !strings.Contains(masked.stdout, "secondary   …"+secondary[len(secondary)-4:]) {
		t.Errorf("%+v", masked)
	}
	revealed := command(t, w.Environ(), "keys", "show", "diabetes", "--reveal")
	if revealed.code != 0 || !strings.Contains(revealed.stdout, "primary     "+primary+"\n") || !strings.Contains(revealed.stdout, "secondary   "+secondary+"\n") {
		t.Errorf("%+v", revealed)
	}
}

func TestMistakesAboutRoutesAndTheirExitCodes(t *testing.T) {
	w := newWorld(t, openRoute)
	noWorkspace := []string{
		"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_SERVICE=m", "AMLPROXY_ROUTES_0_PUBLIC=true",
		"AML_TENANT_ID=t", "AML_PRINCIPAL_ID=p", "AML_PRINCIPAL_PASS=canary-secret",
	}
	for _, c := range []struct {
		environ []string
		args    string
		code    int
		says    string
	}{
		{w.Environ(), "token", 2, "the name of one route"},
		{w.Environ(), "token a b", 2, "the name of one route"},
		{w.Environ(), "token iris2", 2, `"iris2"; there are: diabetes, digits, iris, open`},
		{w.Environ(), "token iris --backend 2", 2, "which is number 1"},
		{w.Environ(), "token iris --backend x", 2, "backend"},
		{w.Environ(), "token iris --unmask", 2, "unmask"},
		{w.Environ(), "keys", 2, "keys show or keys rotate"},
		{w.Environ(), "keys roll", 2, `"roll"`},
		{w.Environ(), "keys show", 2, "the name of one route"},
		{w.Environ(), "keys show nobody", 2, "there are: diabetes"},
		{w.Environ(), "keys rotate nobody", 2, "there are: diabetes"},
		{w.Environ(), "keys rotate diabetes --pause -1s", 2, "not negative"},
		{w.Environ(), "keys rotate diabetes --pause soon", 2, "--pause"},
		{w.Environ(), "keys show digits", 1, "amlproxy token digits"},
		{w.Environ(), "keys rotate digits", 1, "has no keys"},
		{w.Environ(), "keys show iris", 1, "Entra"},
		{w.Environ(), "keys rotate open", 1, "takes no credential"},
		{nil, "token iris", 2, "AMLPROXY_ROUTES"},
		{noWorkspace, "token m", 2, "config.json"},
	} {
		got := command(t, c.environ, strings.Fields(c.args)...)
		if got.code != c.code || got.stdout != "" || !strings.Contains(got.stderr, c.says) || strings.Contains(got.stderr, "canary") {
			t.Errorf("%s: want %d and %q: %+v", c.args, c.code, c.says, got)
		}
	}
}

// The built proxy under load, and the built command beside it.
func TestKeysRotateBesideARunningProxy(t *testing.T) {
	e := newEstate(t)
	token, model := e.jobToken(t), e.Models[0]
	primary, secondary := model.Scoring.Keys()
	var sent, failed atomic.Int64
	end := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				sent.Add(1)
				if got := e.call(t, http.MethodPost, "/models/diabetes", token, string(model.Sample())); got.status != http.StatusOK {
					failed.Add(1)
					t.Log(got.status, got.body)
				}
			}
		})
	}
	await(t, "it is under load", func() bool { return sent.Load() > 20 })
	got := command(t, e.Environ(), "keys", "rotate", "diabetes", "--pause", "300ms")
	after := sent.Load()
	await(t, "load after it", func() bool { return sent.Load() > after+20 })
	close(end)
	all.Wait()
	if got.code != 0 || !strings.Contains(got.stdout, "done: both keys are new") || got.stderr != "" {
		t.Errorf("%+v", got)
	}
	newPrimary, newSecondary := model.Scoring.Keys()
	if newPrimary == primary || newSecondary == secondary {
		t.Error("a key is the old one")
	}
	if failed.Load() != 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), sent.Load())
	}
	for _, key := range []string{primary, secondary, newPrimary, newSecondary} {
		if strings.Contains(got.stdout+got.stderr+e.proxy.err.String(), key) {
			t.Error("a key was printed")
		}
	}
}

// Ctrl-C between the steps: an error that says how far it came, exit code 1, and
// the next run completes.
func TestKeysRotateCanBeInterrupted(t *testing.T) {
	w := newWorld(t, "")
	scoring := w.Models[0].Scoring
	oldPrimary, oldSecondary := scoring.Keys()
	cmd := exec.Command(binary, "keys", "rotate", "diabetes", "--pause", "1h")
	out, stderr := &output{}, &output{}
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = append(w.Environ(), "PATH="+os.Getenv("PATH")), t.TempDir(), out, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "it waits", func() bool { return strings.Contains(out.String(), "waiting 1h") })
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "the secondary key was regenerated, the primary was not; it is safe to run this again") {
		t.Errorf("%d: %s", code, stderr)
	}
	primary, secondary := scoring.Keys()
	if primary != oldPrimary || secondary == oldSecondary {
		t.Error("another key is new than the secondary")
	}
	if got := command(t, w.Environ(), "keys", "rotate", "diabetes", "--pause", "10ms"); got.code != 0 {
		t.Errorf("%+v", got)
	}
}

// trusting returns a client that trusts ca alone.
func trusting(t *testing.T, ca []byte) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
