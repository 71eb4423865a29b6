package app

import (
	"fmt"
	"io"
	"os"

	"go.uber.org/zap"

	"amlproxy/internal/config"
	"amlproxy/internal/telemetry"
)

// newAudit returns what puts calls on record, nil if nothing should.
func newAudit(s *config.Settings, out io.Writer, metrics *telemetry.Metrics) *telemetry.Audit {
	if s.AuditFile == "" {
		return nil
	}
	if out == nil {
		out = os.Stdout
	}
	return telemetry.NewAudit(s.AuditFile, out, metrics.AuditLost)
}

func (a *App) beginAudit() error {
	if a.audit == nil {
		return nil
	}
	if err := a.audit.Begin(); err != nil {
		return fmt.Errorf("AMLPROXY_AUDIT_FILE=%s: %w", a.settings.AuditFile, err)
	}
	return nil
}

func (a *App) endAudit() {
	if a.audit == nil {
		return
	}
	if err := a.audit.End(); err != nil {
		a.log.Error("the audit could not be written to its end", zap.Error(err))
	}
}
