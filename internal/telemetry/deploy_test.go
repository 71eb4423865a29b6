package telemetry_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"amlproxy/authn"
	"amlproxy/proxy"
	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
)

// What deploy/ asks Prometheus for, by where it is asked.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	var dashboard struct {
		Panels []struct {
			ID          int
			Type, Title string
			Description string
			Targets     []struct{ Expr string }
		}
	}
	content, err := os.ReadFile(filepath.Join("..", "..", "deploy", "grafana", "amlproxy.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$__rate_interval", "5m", "$job", "amlproxy", "$instance", ".*", "$route", ".*")
	ids := make(map[int]bool)
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Type != "row" && (p.Title == "" || p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %d %q says nothing, or is there twice", p.ID, p.Title)
		}
		ids[p.ID] = true
		for i, target := range p.Targets {
			all[fmt.Sprintf("panel %q %d", p.Title, i)] = variables.Replace(target.Expr)
		}
	}
	for name, r := range alerts(t) {
		all["alert "+name] = r.Expr
	}
	if len(all) < 50 {
		t.Errorf("only %d expressions are found", len(all))
	}
	return all
}

type alert struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) map[string]alert {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alert } }
	content, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]alert)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			all[r.Alert] = r
		}
	}
	return all
}

// promtool runs Prometheus' own; see scripts/promtool.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	tool := os.Getenv("PROMTOOL")
	if tool == "" {
		tool = "promtool"
	}
	cmd := exec.CommandContext(t.Context(), tool, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestAlertsFireWhenTheyShould(t *testing.T) {
	dir := filepath.Join("..", "..", "deploy", "prometheus")
	promtool(t, dir, "check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")
	promtool(t, dir, "test", "rules", "alerts_test.yml")
	for name, r := range alerts(t) {
		if r.Annotations["summary"] == "" || r.Annotations["action"] == "" || !slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) {
			t.Errorf("%s does not say what it is, how bad and what to do: %+v", name, r)
		}
	}
}

// What the dashboard asks is PromQL.
func TestPanelsAskWhatPrometheusUnderstands(t *testing.T) {
	var rules strings.Builder
	rules.WriteString("groups:\n- name: g\n  rules:\n")
	n := 0
	for where, expr := range expressions(t) {
		if strings.HasPrefix(where, "panel") {
			n++
			fmt.Fprintf(&rules, "  - record: panel:%d\n    expr: %q\n", n, expr)
		}
	}
	file := filepath.Join(t.TempDir(), "panels.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, ".", "check", "rules", file)
}

var (
	selector = regexp.MustCompile(`\b((?:amlproxy|go|process|up)(?:_[a-z_]+)?)\b(\{[^}]*\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|on|without) \(([^)]*)\)`)
)

// Every selector finds a series, and every label that is grouped by is one.
func TestWhatDeployAsksForExists(t *testing.T) {
	series := everySeries(t)
	asked := make(map[string]bool)
	for where, expr := range expressions(t) {
		labels := map[string]bool{"job": true, "instance": true}
		for _, s := range selector.FindAllStringSubmatch(grouping.ReplaceAllString(expr, ""), -1) {
			asked[s[1]] = true
			found := false
			for _, one := range series {
				if one["__name__"] == s[1] && matches(one, s[2]) {
					found = true
					for label := range one {
						labels[label] = true
					}
				}
			}
			if !found {
				t.Errorf("%s: there is no %s%s", where, s[1], s[2])
			}
		}
		for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(g[1], ",") {
				if !labels[strings.TrimSpace(label)] {
					t.Errorf("%s: there is no label %q", where, label)
				}
			}
		}
	}
	for _, one := range series { // and nothing of ours is forgotten
		name := one["__name__"]
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")
		if strings.HasPrefix(name, "amlproxy_") && !asked[name] && !asked[base+"_bucket"] && !slices.Contains(unasked, name) {
			t.Errorf("neither the dashboard nor an alert has %s", name)
			asked[name] = true
		}
	}
}

// unasked are of use when one asks for them: a panel would add nothing.
var unasked = []string{"amlproxy_credential_info", "amlproxy_reload_last_success_timestamp_seconds"}

func matches(series map[string]string, matchers string) bool {
	for _, m := range matcher.FindAllStringSubmatch(matchers, -1) {
		if m[1] == "job" || m[1] == "instance" { // Prometheus adds them
			continue
		}
		value := series[m[1]]
		is := value == m[3]
		if strings.HasSuffix(m[2], "~") {
			is = regexp.MustCompile("^(?:" + m[3] + ")$").MatchString(value)
		}
		if is == strings.HasPrefix(m[2], "!") {
			return false
		}
	}
	return true
}

// everySeries returns what a proxy with one route shows.
func everySeries(t *testing.T) []map[string]string {
	t.Helper()
	m, url := newMetrics(t, "digits")
	for _, call := range authn.Calls() {
		m.Provider.Expect(string(call))
	}
	for _, op := range azureml.Operations() {
		m.Workspace.Expect(string(op))
	}
	m.Build("v1")
	m.Event("digits", 0)
	m.Watch("digits", 0, func() upstream.Status {
		return upstream.Status{Kind: upstream.Token, Fetched: time.Now(), Expires: time.Now()}
	})
	m.Loads(func() []proxy.Load { return []proxy.Load{{Route: "digits"}} })
	all := []map[string]string{{"__name__": "up"}}
	for line := range strings.Lines(fetch(t, url)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(line[:strings.LastIndexByte(line, ' ')], "{")
		one := map[string]string{"__name__": name}
		for _, pair := range matcher.FindAllStringSubmatch(rest, -1) {
			one[pair[1]] = pair[3]
		}
		all = append(all, one)
	}
	return all
}
