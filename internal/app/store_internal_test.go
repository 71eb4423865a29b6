package app

import (
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestRedisLogsWhereAllElseDoes: go-redis writes to standard error by itself.
func TestRedisLogsWhereAllElseDoes(t *testing.T) {
	core, seen := observer.New(zap.DebugLevel)
	logRedis(zap.New(core))
	defer logRedis(zap.NewNop())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // nothing listens there
	client := redis.NewClient(&redis.Options{Addr: l.Addr().String(), DialTimeout: time.Second, MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = client.Close() }()
	for range 200 { // after some failures it says so
		_ = client.Ping(t.Context()).Err()
	}
	lines := seen.FilterLoggerName("redis").All()
	if len(lines) == 0 {
		t.Fatal("go-redis said nothing")
	}
	for _, line := range lines {
		if line.Level != zap.DebugLevel {
			t.Errorf("%v: %s", line.Level, line.Message)
		}
	}
}
