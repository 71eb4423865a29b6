package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// losses count what was given up so that requests could go on.
type losses struct {
	logLines, auditLines, sharedLimits prometheus.Counter
}

func (m *Metrics) newLosses() {
	m.losses = losses{
		logLines: m.counter("amlproxy_log_lines_dropped_total",
			"Lines of the log, the access log included, that were dropped because they could not be written, or not fast enough.").WithLabelValues(),
		auditLines: m.counter("amlproxy_audit_lines_lost_total",
			"Lines of the audit that say how a call ended and could not be written. Calls whose beginning cannot be written are refused (amlproxy_refusals_total, problem audit-unavailable).").WithLabelValues(),
		sharedLimits: m.counter("amlproxy_limit_fallbacks_total",
			"Requests whose rate limit this replica kept alone because Redis did not answer.").WithLabelValues(),
	}
}

// WatchLog counts the lines that a logger of [NewLogger] drops, also those that it
// dropped before.
func (m *Metrics) WatchLog(log *zap.Logger) {
	if c, ok := log.Core().(*core); ok {
		c.sink.watch(func(lines int64) { m.losses.logLines.Add(float64(lines)) })
	}
}

// LimitAlone counts a request whose limit replicas should share and did not.
func (m *Metrics) LimitAlone() { m.losses.sharedLimits.Inc() }

// AuditLost counts a line of the audit that could not be written and stopped no
// request.
func (m *Metrics) AuditLost(lines int64) { m.losses.auditLines.Add(float64(lines)) }
