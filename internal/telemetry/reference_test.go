package telemetry_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"amlproxy/internal/telemetry"
	"amlproxy/proxy"
	"amlproxy/upstream"
)

// The flag is registered where the test binary's own are: it rewrites the reference.
var update = flag.Bool("update", false, "write docs/metrics.md")

func TestReferenceIsUpToDate(t *testing.T) {
	want, err := telemetry.Reference()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join("..", "..", "docs", "metrics.md")
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what is registered (%v): go test ./internal/telemetry -update", name, err)
	}
}

// What the reference lists is what Prometheus is sent: names, types and meanings.
func TestTheReferenceListsWhatIsScraped(t *testing.T) {
	reference, err := telemetry.Reference()
	if err != nil {
		t.Fatal(err)
	}
	m, url := newMetrics(t)
	m.Build("v1")
	m.Event("digits", 0)
	m.Provider.Expect("other")
	m.Workspace.Expect("other")
	m.Loads(func() []proxy.Load { return []proxy.Load{{Route: "digits"}} })
	m.Watch("digits", 0, func() upstream.Status {
		return upstream.Status{Kind: upstream.Token, Fetched: time.Now(), Expires: time.Now()}
	})
	m.Record(&proxy.Record{Route: "digits", Status: 404, Problem: "not-found"})
	text, rows := fetch(t, url), strings.Count(reference, "\n| `amlproxy_")
	if n := strings.Count(text, "# TYPE amlproxy_"); n != rows || n == 0 {
		t.Errorf("%d metrics are scraped, %d are in the reference", n, rows)
	}
	for row := range strings.Lines(reference) {
		if cells := strings.Split(row, " | "); strings.HasPrefix(row, "| `amlproxy_") {
			name, kind, help := strings.Trim(cells[0], "| `"), cells[1], strings.TrimSuffix(cells[3], " |\n")
			if !strings.Contains(text, "# TYPE "+name+" "+kind+"\n") || !strings.Contains(text, "# HELP "+name+" "+help+"\n") {
				t.Errorf("not scraped so: %s", row)
			}
		}
	}
}

func TestTheReferenceOfLogsIsUpToDate(t *testing.T) {
	name, want := filepath.Join("..", "..", "docs", "logs.md"), telemetry.LogReference()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != want {
		t.Errorf("%s is not what lines hold (%v): go test ./internal/telemetry -update", name, err)
	}
}
