package authn

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A lease is a lock in Redis that ends by itself when its holder is gone.
type lease struct {
	client      *redis.Client
	key, holder string
}

// take reports whether the lease is this holder's now.
func (l lease) take(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	err := l.client.SetArgs(ctx, l.key, l.holder, redis.SetArgs{Mode: "NX", TTL: leaseTime}).Err()
	if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
		return false, storeFailed("taking a lease", err)
	}
	return err == nil, nil
}

// keep extends the lease until stop is called.
func (l lease) keep(ctx context.Context) (stop func()) {
	var done sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	done.Go(func() {
		ticker := time.NewTicker(leaseStep)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				l.ifMine(ctx, `return redis.call("pexpire", KEYS[1], ARGV[2])`)
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// release gives the lease back, even if ctx is over.
func (l lease) release(ctx context.Context, mine bool) {
	if mine {
		l.ifMine(context.WithoutCancel(ctx), `return redis.call("del", KEYS[1])`)
	}
}

// ifMine lets Redis do something if the lease is still this holder's. If that
// fails, the lease ends by itself.
func (l lease) ifMine(ctx context.Context, do string) {
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	script := `if redis.call("get", KEYS[1]) == ARGV[1] then ` + do + ` end return 0`
	_ = l.client.Eval(ctx, script, []string{l.key}, l.holder, leaseTime.Milliseconds()).Err()
}
