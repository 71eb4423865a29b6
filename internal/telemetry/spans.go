package telemetry

import "github.com/prometheus/client_golang/prometheus"

// spans are the metrics of traces.
type spans struct{ made, sent, lost prometheus.Counter }

func (m *Metrics) newSpans() {
	m.spans.made = m.counter("amlproxy_spans_total",
		"Spans that were made of requests; without traces, none. What was neither sent nor lost waits, or found no room in the queue.").WithLabelValues()
	exported := m.counter("amlproxy_spans_exported_total", "Spans by what came of sending them (sent, lost).", "outcome")
	m.spans.sent, m.spans.lost = exported.WithLabelValues("sent"), exported.WithLabelValues("lost")
}
