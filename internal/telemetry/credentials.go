package telemetry

import (
	"go.uber.org/zap"

	"amlproxy/upstream"
)

// Where the cause of a failure is looked into: a line has no room for the rest.
const doctor = "amlproxy doctor says what is wrong, and the command that mends it"

// CredentialLog returns, for a route's backend with this number (from 0, as in the
// metrics), a consumer of upstream's Events. A failure is a warning: what is held
// goes on being used, and the fetch is tried again.
func CredentialLog(log *zap.Logger, route string, backend int) func(upstream.Event) {
	log = log.Named("credential").With(zap.String("route", route), zap.Int("backend", backend))
	return func(e upstream.Event) {
		fields := []zap.Field{
			zap.String("cause", string(e.Cause)), zap.Duration("duration", e.Duration), zap.String("kind", string(e.Kind)),
		}
		switch {
		case e.Err != nil:
			log.Warn("asking for a credential failed", append(fields, zap.Error(e.Err), zap.String("do", doctor))...)
		case e.Changed:
			log.Info("a new credential is in use", fields...)
		default:
			log.Debug("the credential in use was confirmed", fields...)
		}
	}
}
