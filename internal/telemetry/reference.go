package telemetry

import (
	"fmt"
	"strings"
)

// A row describes a metric of ours. Whatever is registered leaves one behind.
type row struct {
	name, kind, help string
	labels           []string
}

// What a metric is to Prometheus.
const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// Reference returns the table of all metrics, in Markdown. docs/metrics.md is
// this text, and a test keeps it so.
func Reference() (string, error) {
	m, err := NewMetrics()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("# Metrics\n\n<!-- Written by `go test ./internal/telemetry -update`; do not edit. -->\n\n" +
		"Prometheus finds them at `/metrics` on the admin listener (`AMLPROXY_ADMIN_LISTEN`), and nowhere else.\n\n" +
		"`route` is the name of a route in the settings; it is empty for requests that found none and for the proxy's own endpoints.\n" +
		"`backend` is the place of one of its backends in the settings, from 0.\n" +
		"Nothing that a caller can write becomes a label, so the number of series depends on the settings alone.\n\n" +
		"`deploy/grafana/amlproxy.json` is a dashboard of them and `deploy/prometheus/alerts.yml` has alerts; both take every replica as an instance of one job, `amlproxy`.\n\n" +
		"| name | type | labels | meaning |\n|---|---|---|---|\n")
	for _, r := range m.rows {
		labels := "–"
		if len(r.labels) > 0 {
			labels = "`" + strings.Join(r.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.name, r.kind, labels, r.help)
	}
	b.WriteString("\nBesides: `go_*` and `process_*`, the runtime and the process as Prometheus' Go client reports them; `go_build_info`, of which modules;\n" +
		"`promhttp_metric_handler_errors_total`, scrapes that could not tell everything.\n")
	return b.String(), nil
}
