package main_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestDemo starts the demo as a visitor does and pastes what it prints.
func TestDemo(t *testing.T) {
	address := "127.0.0.1:" + freePort(t)
	p := start(t, nil, "demo", "--listen", address)
	await(t, "the demo says how to end it", func() bool { return strings.Contains(p.out.String(), "Ctrl-C") })
	banner := p.out.String()
	ready(t, http.DefaultClient, "http://"+address+"/readyz")

	for _, account := range []string{"alice / ", "bob ", "eve "} {
		if !strings.Contains(banner, account) {
			t.Errorf("no account %q in\n%s", account, banner)
		}
	}
	var script []string
	for line := range strings.Lines(banner) {
		if strings.HasPrefix(line, "curl ") || strings.HasPrefix(line, "TOKEN=") {
			script = append(script, line+"\necho; echo ---\n")
		}
	}
	if len(script) != 5 {
		t.Fatalf("%d lines to paste, want 5:\n%s", len(script), banner)
	}
	shell := exec.CommandContext(t.Context(), "sh", "-c", strings.Join(script, ""))
	shell.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, err := shell.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Split(string(out), "---")
	for i, want := range []string{`HTTP/1.1 401[\s\S]*application/problem\+json[\s\S]*login_url`, `^\s*$`, `"result":\s*\[\d`, `"result":\s*\[\d`, `"result":\s*\["[a-z]+"`} {
		if !regexp.MustCompile(want).MatchString(answers[i]) {
			t.Errorf("line %d printed %s\nwant %s", i+1, answers[i], want)
		}
	}
}

func TestDemoOnATakenPort(t *testing.T) {
	l := listen(t)
	defer l.Close()
	code, out := once(t, nil, "demo", "--listen", l.Addr().String())
	if code != 1 || !strings.Contains(out, l.Addr().String()) || !strings.Contains(out, "--listen") {
		t.Error(fmt.Sprint("exit ", code, ": ", out))
	}
}
