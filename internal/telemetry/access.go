package telemetry

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"amlproxy/proxy"
)

// AccessLog returns a consumer of Records that writes one line each: at info,
// at error where the fault is ours or the upstream's. The health checks of a
// platform, a line every few seconds, are at debug.
func AccessLog(log *zap.Logger) func(proxy.Record) {
	log = log.Named("access")
	return func(r proxy.Record) {
		line := log.Check(levelOf(r), "request")
		if line == nil {
			return
		}
		line.Write(append(always(r), sometimes(r)...)...)
	}
}

func levelOf(r proxy.Record) zapcore.Level {
	switch {
	case r.Status >= 500:
		return zapcore.ErrorLevel
	case r.Endpoint == "livez" || r.Endpoint == "readyz":
		return zapcore.DebugLevel
	}
	return zapcore.InfoLevel
}

// always returns the fields that every line has.
func always(r proxy.Record) []zap.Field {
	return []zap.Field{
		zap.String("request_id", r.RequestID),
		zap.String("method", r.Method),
		zap.String("path", r.Path),
		zap.Int("status", r.Status),
		zap.Duration("duration", r.Duration),
		zap.Stringer("address", r.Address),
		zap.Int64("bytes_in", r.RequestBytes),
		zap.Int64("bytes_out", r.ResponseBytes),
	}
}

// sometimes returns the fields of what happened to this request only.
func sometimes(r proxy.Record) []zap.Field {
	var fields []zap.Field
	text := func(key, value string) {
		if value != "" {
			fields = append(fields, zap.String(key, value))
		}
	}
	text("route", r.Route)
	text("endpoint", r.Endpoint)
	text("problem", r.Problem)
	text("credential", string(r.Kind))
	text("upstream_request_id", r.UpstreamRequestID)
	if id := r.Identity; id != nil {
		text("issuer", id.Issuer)
		text("subject", id.Subject)
		text("client", id.Client)
		text("authenticated_by", string(id.Method))
	}
	if r.Sends > 0 {
		fields = append(fields, zap.Int("upstream_status", r.UpstreamStatus), zap.Duration("began", r.Began))
	}
	if r.Retried {
		fields = append(fields, zap.Bool("retried", true))
	}
	if r.Aborted {
		fields = append(fields, zap.Bool("aborted", true))
	}
	if r.Err != nil {
		fields = append(fields, zap.Error(r.Err))
	}
	return fields
}
