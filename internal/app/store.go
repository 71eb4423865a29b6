package app

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"amlproxy/authn"
	"amlproxy/internal/config"
	"amlproxy/proxy"
)

// newStore returns where replicas share sessions and limits, nil for nowhere.
func newStore(s *config.Settings, pool *x509.CertPool) (*authn.Redis, error) {
	if s.RedisURL.IsZero() {
		return nil, nil //nolint:nilnil // nothing is shared then
	}
	return authn.NewRedis(authn.RedisConfig{URL: s.RedisURL, Roots: pool})
}

// readStore says how the store of sessions stands, nil if there is none.
func readStore(store *authn.Redis, explain func(error) string) *proxy.StoreReading {
	if store == nil {
		return nil
	}
	if err := store.Ping(context.Background()); err != nil {
		return &proxy.StoreReading{State: "missing", Reason: explain(err)}
	}
	return &proxy.StoreReading{State: "ready"}
}

// redisLog takes what go-redis would write to standard error, beside the log and in
// a form of its own. Whatever fails is returned to whoever asked as well, so it is
// at debug.
type redisLog struct{ log *zap.Logger }

// Printf implements go-redis's Logging.
func (l redisLog) Printf(_ context.Context, format string, v ...any) {
	l.log.Debug(fmt.Sprintf(format, v...))
}

// logRedis has all of go-redis log to log: it has one logger for the process.
func logRedis(log *zap.Logger) { redis.SetLogger(redisLog{log.Named("redis")}) }
