package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"amlproxy/internal/demo"
	"amlproxy/internal/soak"
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
	operators := regexp.MustCompile(`Metrics (http://127\.0\.0\.1:\d+/metrics)\n`).FindStringSubmatch(banner)
	if operators == nil {
		t.Fatalf("no metrics in\n%s", banner)
	}
	scrape, err := http.Get(operators[1])
	if err != nil {
		t.Fatal(err)
	}
	defer scrape.Body.Close()
	if body, err := io.ReadAll(scrape.Body); err != nil || !strings.Contains(string(body), "amlproxy_build_info") {
		t.Errorf("%v, the metrics are %.200q", err, body)
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

// TestDemoInAContainer has the two settings that the image has: a published port
// leads to all addresses, and the health check asks the operator's listener.
func TestDemoInAContainer(t *testing.T) {
	port, admin := freePort(t), freePort(t)
	environ := []string{"AMLPROXY_LISTEN=:" + port, "AMLPROXY_ADMIN_LISTEN=:" + admin}
	p := start(t, environ, "demo")
	ready(t, http.DefaultClient, "http://localhost:"+port+"/readyz")
	await(t, "the demo says where it is", func() bool { return strings.Contains(p.out.String(), "Open    http://localhost:"+port) })
	for _, person := range []string{"alice", "bob"} {
		password := regexp.MustCompile(person + ` +/ (\S+)`).FindStringSubmatch(p.out.String())[1]
		client := signedIn(t, "http://localhost:"+port, demo.Account{Name: person, Secret: password})
		if status, body := userinfo(t, client, "http://localhost:"+port); status != http.StatusOK || !strings.Contains(body, person) {
			t.Errorf("%s: %d %s", person, status, body)
		}
	}
	if code, out := once(t, append(environ, "AMLPROXY_ROUTES_FILE=being-written.yaml"), "healthcheck"); code != 0 {
		t.Errorf("exit %d: %s", code, out)
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

var (
	printedAccount = regexp.MustCompile(`(?m)^    (\S+) +/ (\S+)`)
	printedTally   = regexp.MustCompile(`rotations (\d+), requests (\d+), retries (\d+), failures (\d+)`)
)

// TestDemoChaos lets the demo take a credential away every 4 s while eight
// callers, half with sessions and half with bearer tokens, call every model. Not
// one answer may be anything but 200.
func TestDemoChaos(t *testing.T) {
	rotations := 3
	if soak.On() {
		rotations = 6 // half a minute
	}
	address := "127.0.0.1:" + freePort(t)
	p := start(t, nil, "demo", "--chaos", "--listen", address)
	await(t, "the demo says how to end it", func() bool { return strings.Contains(p.out.String(), "Ctrl-C") })
	banner := p.out.String()
	secrets := map[string]string{}
	for _, found := range printedAccount.FindAllStringSubmatch(banner, -1) {
		secrets[found[1]] = found[2]
	}
	bodies := regexp.MustCompile(`-d '([^']*)' (http://\S+/models/\S+)`).FindAllStringSubmatch(banner, -1)[1:]
	token := demoToken(t, banner, secrets[demo.ClientJob])

	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 8 {
		client, bearer := http.DefaultClient, token
		if i%2 == 0 {
			client, bearer = signedIn(t, "http://"+address, demo.Account{Name: "alice", Secret: secrets["alice"]}), ""
		}
		all.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				one := bodies[n%len(bodies)]
				if status, body := demoCall(t, client, one[2], bearer, one[1]); status != http.StatusOK {
					t.Errorf("%s answered %d %s", one[2], status, body)
					return
				}
			}
		})
	}
	await(t, "enough rotations", func() bool { return strings.Count(p.out.String(), "chaos:") >= rotations+1 })
	cancel()
	all.Wait()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	await(t, "the total", func() bool { return strings.Contains(p.out.String(), "chaos: in all:") })
	await(t, "the end", p.ended) // a second signal would not wait for it
	told := printedTally.FindAllStringSubmatch(p.out.String(), -1)
	last := told[len(told)-1]
	if last[4] != "0" || last[3] == "0" {
		t.Errorf("the demo counted: %s", last[0])
	}
	soak.Note(t, "F17", "the demo takes a credential away every 4 s, 8 callers", "0 failures", last[0])
}

// demoToken gets a bearer token from the provider that the banner names.
func demoToken(t *testing.T, banner, secret string) string {
	t.Helper()
	endpoint := regexp.MustCompile(`http://\S+/oauth/token`).FindString(banner)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader("grant_type=client_credentials"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(demo.ClientJob, secret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		t.Fatal(resp.Status, err)
	}
	return answer.AccessToken
}

func demoCall(t *testing.T, client *http.Client, url, bearer, body string) (int, string) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(answer)
}
