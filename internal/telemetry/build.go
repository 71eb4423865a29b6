package telemetry

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

func (m *Metrics) newBuild() {
	const name, help = "amlproxy_build_info", "Always 1; the version of this program, and of Go that built it."
	labels := []string{"version", "goversion"}
	m.rows = append(m.rows, row{name, gauge, help, labels})
	m.build = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	m.register(m.build)
}

// Build says of which version this program is.
func (m *Metrics) Build(version string) {
	m.build.Reset()
	m.build.WithLabelValues(version, runtime.Version()).Set(1)
}
