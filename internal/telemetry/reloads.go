package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// reloads are the metrics of settings and certificates that are read again.
type reloads struct {
	ok, mistake prometheus.Counter
	good, when  prometheus.Gauge
}

func (m *Metrics) newReloads() {
	all := m.counter("amlproxy_reloads_total",
		"Times that settings or certificates were read again because a file changed or SIGHUP came, by outcome: ok, mistake (nothing was taken over, see the log).", "outcome")
	m.reloads = reloads{ok: all.WithLabelValues("ok"), mistake: all.WithLabelValues("mistake")}
	m.reloads.good = m.gauge("amlproxy_reload_ok", "1, or 0 after a reading that found a mistake, until the next one that finds none.")
	m.reloads.when = m.gauge("amlproxy_reload_last_success_timestamp_seconds", "When settings or certificates were last taken over, the start included.")
	m.loaded()
}

func (m *Metrics) gauge(name, help string) prometheus.Gauge {
	m.rows = append(m.rows, row{name, gauge, help, nil})
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	m.register(g)
	return g
}

// Reloaded takes into account that settings or certificates were read again; err
// is the mistake, nil for none.
func (m *Metrics) Reloaded(err error) {
	if err != nil {
		m.reloads.mistake.Inc()
		m.reloads.good.Set(0)
		return
	}
	m.reloads.ok.Inc()
	m.loaded()
}

func (m *Metrics) loaded() {
	m.reloads.good.Set(1)
	m.reloads.when.Set(float64(time.Now().Unix()))
}
