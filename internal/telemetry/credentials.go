package telemetry

import (
	"go.uber.org/zap"

	"amlproxy/upstream"
)

// CredentialLog returns, for the backend of one route, a consumer of upstream's
// Events. A failure is a warning: what is held goes on being used, and the fetch
// is tried again.
func CredentialLog(log *zap.Logger, route string) func(upstream.Event) {
	log = log.Named("credential").With(zap.String("route", route))
	return func(e upstream.Event) {
		fields := []zap.Field{
			zap.String("cause", string(e.Cause)), zap.Duration("duration", e.Duration), zap.String("kind", string(e.Kind)),
		}
		switch {
		case e.Err != nil:
			log.Warn("asking for a credential failed", append(fields, zap.Error(e.Err))...)
		case e.Changed:
			log.Info("a new credential is in use", fields...)
		default:
			log.Debug("the credential in use was confirmed", fields...)
		}
	}
}
