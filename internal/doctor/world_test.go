package doctor_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"amlproxy/internal/config"
	"amlproxy/internal/doctor"
	"amlproxy/upstream/azuremltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// model answers every call that was admitted. No doctor calls it.
var model = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scored") })

var description = []byte(`{"swagger":"2.0"}`)

// A world is an Azure with one endpoint of each kind, in order from top to bottom,
// and the settings that point at it, which a test then breaks.
type world struct {
	*azuremltest.Azure
	settings map[string]string
	options  doctor.Options
	names    map[string]string // what resolves, and where it then is
	roots    []byte
	secrets  []string

	fraud, churn, spam *azuremltest.Scoring // v2: key, Entra token, workspace token
	diabetes, iris     *azuremltest.Scoring // v1 on AKS: key, workspace token
	llama              *azuremltest.Scoring // serverless
}

const ml = "Microsoft.MachineLearningServices/workspaces/"

// enough is what the identity needs for these endpoints.
var enough = []string{
	ml + "read", ml + "services/aks/listkeys/action",
	ml + "onlineEndpoints/read", ml + "onlineEndpoints/listKeys/action", ml + "onlineEndpoints/token/action", ml + "onlineEndpoints/score/action",
	ml + "serverlessEndpoints/read", ml + "serverlessEndpoints/listKeys/action",
	"Microsoft.Authorization/permissions/read",
}

func newWorld(t *testing.T, o azuremltest.Options) *world {
	t.Helper()
	a, err := azuremltest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	a.Hold(enough...)
	w := &world{Azure: a, settings: map[string]string{}, names: map[string]string{}, roots: a.CAPEM(), secrets: []string{a.ClientSecret()}}
	scoring := func(s *azuremltest.Scoring, err error) *azuremltest.Scoring {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		primary, secondary := s.Keys()
		w.secrets = append(w.secrets, primary, secondary)
		return s
	}
	w.fraud = scoring(a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Model: model, Swagger: description}))
	w.churn = scoring(a.AddEndpoint(azuremltest.Endpoint{Name: "churn", Auth: azuremltest.Entra, Model: model}))
	w.spam = scoring(a.AddEndpoint(azuremltest.Endpoint{Name: "spam", Auth: azuremltest.Token, Model: model, Swagger: description}))
	w.diabetes = scoring(a.AddService(azuremltest.Service{Name: "diabetes-aks", Compute: azuremltest.AKS, Model: model, Swagger: description}))
	w.iris = scoring(a.AddService(azuremltest.Service{Name: "iris-aks", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: model}))
	w.llama = scoring(a.AddServerless(azuremltest.Serverless{Name: "llama", Model: model, Swagger: description}))
	for _, setting := range a.Environ() {
		name, value, _ := strings.Cut(setting, "=")
		w.settings[name] = value
	}
	w.route("fraud", "ENDPOINT=fraud")
	w.route("churn", "ENDPOINT=churn")
	w.route("spam", "ENDPOINT=spam")
	w.route("diabetes", "SERVICE=diabetes-aks")
	w.route("iris", "SERVICE=iris-aks")
	w.route("llama", "SERVERLESS=llama")
	primary, secondary := w.diabetes.Keys()
	w.route("byhand", "URL="+w.diabetes.URL(), "AUTH=key", "KEY="+primary, "SECONDARY_KEY="+secondary)
	return w
}

// route adds a route, or replaces the one of that name.
func (w *world) route(name string, settings ...string) {
	n := 0
	for ; w.settings[fmt.Sprintf("AMLPROXY_ROUTES_%d_NAME", n)] != ""; n++ {
		if w.settings[fmt.Sprintf("AMLPROXY_ROUTES_%d_NAME", n)] == name {
			break
		}
	}
	prefix := fmt.Sprintf("AMLPROXY_ROUTES_%d_", n)
	maps.DeleteFunc(w.settings, func(name, _ string) bool { return strings.HasPrefix(name, prefix) })
	w.settings[prefix+"NAME"], w.settings[prefix+"PUBLIC"] = name, "true"
	for _, setting := range settings {
		key, value, _ := strings.Cut(setting, "=")
		w.settings[prefix+key] = value
	}
}

// only removes all routes but the one that is given.
func (w *world) only(name string, settings ...string) {
	maps.DeleteFunc(w.settings, func(name, _ string) bool { return strings.HasPrefix(name, "AMLPROXY_ROUTES_") })
	w.route(name, settings...)
}

// says makes the workspace answer something else about an endpoint.
func (w *world) says(t *testing.T, op string, body map[string]any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	w.Fail(op, azuremltest.Fault{Body: string(text)})
}

// A line is one result, with the hints below it.
type line struct{ state, check, detail, hints string }

// examine runs the doctor and returns how many checks failed, and the lines.
func (w *world) examine(t *testing.T) (int, []line) {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, w.roots, 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{"AMLPROXY_CA_FILE=" + ca}
	for name, value := range w.settings {
		environ = append(environ, name+"="+value)
	}
	settings, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	o := w.options
	o.Lookup, o.Tune = w.lookup, func(tr *http.Transport) {
		tr.DialContext = w.dial
		if w.options.Tune != nil {
			w.options.Tune(tr)
		}
	}
	checks, end, err := doctor.Upstream(settings, o)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	var out bytes.Buffer
	failed, err := doctor.Run(t.Context(), &out, checks)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", out.String())
	w.wantNoSecret(t, out.String())
	return failed, parse(t, out.String())
}

const unresolvable = "silent.test"

// lookup knows the names of the world alone.
func (w *world) lookup(_ context.Context, host string) ([]string, error) {
	if host == unresolvable {
		return nil, &net.DNSError{Err: "the name server is silent", Name: host, IsTimeout: true}
	}
	if _, known := w.names[host]; !known {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []string{"192.0.2.1"}, nil
}

func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(address); err == nil && w.names[host] != "" {
		address = w.names[host]
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// wantNoSecret looks for whatever can be used by who reads the output.
func (w *world) wantNoSecret(t *testing.T, out string) {
	t.Helper()
	for _, secret := range append(w.secrets, "eyJ", "Bearer") {
		if strings.Contains(out, secret) {
			t.Errorf("%.6s… is in the output", secret)
		}
	}
}

// parse reads the output back: it is made to be read in columns.
func parse(t *testing.T, out string) []line {
	t.Helper()
	all := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	var lines []line
	for _, text := range all[:len(all)-1] {
		if hint, ok := strings.CutPrefix(text, "      → "); ok && len(lines) > 0 {
			lines[len(lines)-1].hints += hint + "\n"
			continue
		}
		check, detail, ok := strings.Cut(text[min(6, len(text)):], "  ")
		if !ok {
			t.Fatalf("no columns: %q", text)
		}
		why, others, _ := strings.Cut(strings.TrimSpace(detail), "; nor ") // skipped for the same reason
		lines = append(lines, line{strings.TrimSpace(text[:4]), check, why, ""})
		thing, _, _ := strings.Cut(check, ": ")
		for name := range strings.SplitSeq(others, ", ") {
			if name != "" {
				lines = append(lines, line{"skip", thing + ": " + name, why, ""})
			}
		}
	}
	var count [4]int
	for _, l := range lines {
		count[slices.Index([]string{"ok", "warn", "FAIL", "skip"}, l.state)]++
	}
	if want := fmt.Sprintf("%d ok, %d warn, %d failed, %d skipped", count[0], count[1], count[2], count[3]); all[len(all)-1] != want {
		t.Errorf("the last line is %q, not %q", all[len(all)-1], want)
	}
	return lines
}

// A want is a line that is not ok, and what it has to say.
type want struct{ state, check, detail, hint string }

// wantLines fails unless exactly these lines are neither ok nor skipped, and as
// many checks failed as said so.
func wantLines(t *testing.T, failed int, lines []line, wants ...want) {
	t.Helper()
	expected := 0
	for _, want := range wants {
		at := slices.IndexFunc(lines, func(l line) bool { return l.check == want.check })
		switch {
		case at < 0:
			t.Errorf("there is no check %q", want.check)
		case lines[at].state != want.state || !strings.Contains(lines[at].detail, want.detail) || !strings.Contains(lines[at].hints, want.hint):
			t.Errorf("want %+v\ngot  %+v", want, lines[at])
		case want.state == "FAIL" && lines[at].hints == "":
			t.Errorf("nothing to do about %+v", lines[at])
		}
		if want.state == "FAIL" {
			expected++
		}
	}
	for _, l := range lines {
		named := slices.ContainsFunc(wants, func(w want) bool { return w.check == l.check })
		if !named && l.state != "ok" && l.state != "skip" {
			t.Errorf("more than was wanted: %+v", l)
		}
	}
	if failed != expected {
		t.Errorf("%d failed, not %d", failed, expected)
	}
}

// client trusts what the doctor trusts.
func (w *world) client(t *testing.T) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.roots)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
}

// nowhere returns an address on this machine where nothing listens.
func nowhere(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
