package authn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"amlproxy/internal/secret"
)

// redisTime is how long a request waits for Redis altogether, so that it is
// answered within a second whatever happened to Redis.
const redisTime = 500 * time.Millisecond

// RedisConfig is what NewRedis needs.
type RedisConfig struct {
	// URL is redis://[user:password@]host[:port][/database], or rediss:// for TLS.
	URL   secret.Value
	Roots *x509.CertPool // of the server's certificate; nil: the system's
}

// Redis is where replicas share sessions. A server of version 6.0 or later will
// do. It is safe for concurrent use.
type Redis struct {
	client *redis.Client

	mu    sync.Mutex // held while it is asked
	asked time.Time
	said  error // then
}

// NewRedis returns a Redis. It does not touch the network: Redis may be down, and
// is found when it is back. Close it.
func NewRedis(cfg RedisConfig) (*Redis, error) {
	o, err := redis.ParseURL(cfg.URL.Reveal())
	if err != nil {
		return nil, errors.New("the URL of Redis is malformed") // the cause repeats it, password and all
	}
	if o.TLSConfig != nil {
		o.TLSConfig.RootCAs = cfg.Roots
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = redisTime, redisTime, redisTime, redisTime
	o.ContextTimeoutEnabled = true
	o.DialerRetries, o.MaxRetries = 1, 1
	o.MinRetryBackoff, o.MaxRetryBackoff = time.Millisecond, 10*time.Millisecond
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.Dialer = dialer(o.TLSConfig)
	return &Redis{client: redis.NewClient(o)}, nil
}

// Close ends all connections.
func (r *Redis) Close() error { return r.client.Close() }

// Client returns the connections, for what else replicas share there. They are
// closed with r.
func (r *Redis) Client() *redis.Client { return r.client }

// pingTime is how long an answer of Ping counts.
const pingTime = time.Second

// Ping says whether Redis is there. It asks once a second at most, whoever wants to
// know, and answers within half a second.
func (r *Redis) Ping(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.asked.IsZero() && time.Since(r.asked) < pingTime {
		return r.said
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redisTime) // others hear the answer, too
	defer cancel()
	r.said = r.client.Ping(ctx).Err()
	r.asked = time.Now()
	return r.said
}

// dialer returns what opens connections. One that cannot be opened is returned
// all the same and fails when it is used: after some failures to dial, go-redis
// fails everything and looks only once a second whether the server is back.
func dialer(secure *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	plain := net.Dialer{Timeout: redisTime, KeepAlive: 30 * time.Second}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var conn net.Conn
		var err error
		if secure == nil {
			conn, err = plain.DialContext(ctx, network, address)
		} else {
			conn, err = (&tls.Dialer{NetDialer: &plain, Config: secure}).DialContext(ctx, network, address)
		}
		if err != nil {
			return failed{err: err}, nil //nolint:nilerr // see above
		}
		return conn, nil
	}
}

// failed is a connection that could not be opened.
type failed struct {
	net.TCPConn // of which nothing is used
	err         error
}

func (f failed) Read([]byte) (int, error)         { return 0, f.err }
func (f failed) Write([]byte) (int, error)        { return 0, f.err }
func (f failed) Close() error                     { return nil }
func (f failed) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (f failed) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (f failed) SetDeadline(time.Time) error      { return nil }
func (f failed) SetReadDeadline(time.Time) error  { return nil }
func (f failed) SetWriteDeadline(time.Time) error { return nil }

// storeFailed says that Redis did not do what it was asked for.
func storeFailed(doing string, err error) *Error {
	return &Error{Kind: ErrUnavailable, Store: true, Detail: "the session store cannot be reached", Err: fmt.Errorf("%s: %w", doing, brief(err))}
}
