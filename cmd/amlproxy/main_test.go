package main_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the program as it is shipped: these tests start nothing else.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "amlproxy-test-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "amlproxy")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building amlproxy: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// A process is a running amlproxy.
type process struct {
	cmd  *exec.Cmd
	out  *output // standard output
	err  *output // standard error
	done chan error
}

// output collects what a process writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs the binary with args and nothing but environ, and stops it when the
// test ends.
func start(t *testing.T, environ []string, args ...string) *process {
	t.Helper()
	return launch(t, environ, binary, args...)
}

// launch is start by way of another command.
func launch(t *testing.T, environ []string, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), out: &output{}, err: &output{}, done: make(chan error, 1)}
	p.cmd.Env, p.cmd.Dir = append(environ, "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir()), t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Errorf("amlproxy %v: %v", args, err)
		}
		if t.Failed() {
			t.Logf("amlproxy %v wrote:\n%s%s", args, p.out, p.err)
		}
	})
	return p
}

// ended reports whether the process did, by itself or after a signal.
func (p *process) ended() bool {
	select {
	case err := <-p.done:
		p.done <- err
		return true
	default:
		return false
	}
}

// stop asks the process to end, as an orchestrator does, and returns how it did.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.done:
		p.done <- err
		return err
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		return fmt.Errorf("still there 30 s after SIGTERM")
	}
}

// await polls until ok, or fails the test with what.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}

// ready waits until url answers 200.
func ready(t *testing.T, client *http.Client, url string) {
	t.Helper()
	await(t, url+" answers 200", func() bool {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		resp, err := client.Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// once runs the binary to its end and returns its exit code and all it wrote.
func once(t *testing.T, environ []string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env, cmd.Dir = append(environ, "PATH="+os.Getenv("PATH")), t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestExitCodes(t *testing.T) {
	public := []string{
		"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_URL=https://models.example/score",
		"AMLPROXY_ROUTES_0_AUTH=none", "AMLPROXY_ROUTES_0_PUBLIC=true",
	}
	for name, test := range map[string]struct {
		environ []string
		args    []string
		code    int
		says    string
	}{
		"version":                {nil, []string{"version"}, 0, "amlproxy "},
		"version as a flag":      {nil, []string{"--version"}, 0, "amlproxy "},
		"help":                   {nil, []string{"--help"}, 0, "healthcheck"},
		"check":                  {public, []string{"check"}, 0, "1 route\n"},
		"check without settings": {nil, []string{"check"}, 2, "AMLPROXY_ROUTES"},
		"check, misspelt":        {append(public, "AMLPROXY_LISTENN=:1"), []string{"check"}, 2, "AMLPROXY_LISTEN"},
		"serve without settings": {nil, []string{"serve"}, 2, "AMLPROXY_ROUTES"},
		"no command":             {nil, nil, 2, "AMLPROXY_ROUTES"},
		"unknown command":        {nil, []string{"srve"}, 2, `"srve"`},
		"unknown flag":           {nil, []string{"demo", "--lisen", "x"}, 2, "--lisen"},
		"nobody to ask":          {append(public, "AMLPROXY_ADMIN_LISTEN=127.0.0.1:1"), []string{"healthcheck"}, 1, "asking the proxy"},
		"port taken":             {append(public, "AMLPROXY_LISTEN=192.0.2.1:1"), []string{"serve"}, 1, "AMLPROXY_LISTEN"},
		"demo, bad address":      {nil, []string{"demo", "--listen", "192.0.2.1:1"}, 1, "--listen"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out := once(t, test.environ, test.args...)
			if code != test.code || !strings.Contains(out, test.says) {
				t.Errorf("exit %d, want %d and %q in:\n%s", code, test.code, test.says, out)
			}
			if strings.Contains(out, "panic") || strings.Contains(out, "goroutine ") {
				t.Errorf("it panicked:\n%s", out)
			}
		})
	}
}
