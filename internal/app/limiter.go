package app

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	redisrate "github.com/go-redis/redis_rate/v10"
	"go.uber.org/zap"

	"amlproxy/proxy"
)

const (
	// limitTime is how long a request waits for Redis to count it.
	limitTime = 100 * time.Millisecond
	// limitPause is how long nobody asks Redis after it failed; then one request
	// does, and the others follow when that one was answered.
	limitPause = time.Second
)

// A limiter keeps the buckets of all replicas in Redis.
type limiter struct {
	redis *redisrate.Limiter
	told  func(error) // of the first failure, and with nil of the first success after it
	alone func()      // is told of each request that was not counted

	// retry is when Redis may be asked again, in nanoseconds since began; 0: it
	// answers. A wall clock that is set back would make a second hours of it.
	retry atomic.Int64
	began time.Time
}

// errLimitPause stands for a failure that was seen a moment ago.
var errLimitPause = fmt.Errorf("redis was not asked: it failed less than %s ago", limitPause)

// Take implements [proxy.Limiter]. It does not end with the request: a caller that
// leaves would look like a Redis that does not answer.
func (l *limiter) Take(ctx context.Context, key string, limit proxy.RateLimit) (time.Duration, error) {
	retry := l.retry.Load()
	if !l.mayAsk(retry) {
		l.alone()
		return 0, errLimitPause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limitTime)
	defer cancel()
	got, err := l.redis.Allow(ctx, "amlproxy:"+key, redisrate.Limit{Rate: limit.Requests, Burst: limit.Burst, Period: limit.Per})
	if err != nil {
		if l.retry.Swap(int64(time.Since(l.began)+limitPause)) == 0 {
			l.told(err)
		}
		l.alone()
		return 0, err
	}
	if retry != 0 && l.retry.Swap(0) != 0 {
		l.told(nil)
	}
	return max(got.RetryAfter, 0), nil // -1: it may go on
}

// mayAsk lets everybody ask Redis while it answers, and one request a pause while
// it does not.
func (l *limiter) mayAsk(retry int64) bool {
	if retry == 0 {
		return true
	}
	now := time.Since(l.began)
	return now >= time.Duration(retry) && l.retry.CompareAndSwap(retry, int64(now+limitPause))
}

// newLimiter returns what shares the rate limits with other replicas, nil if
// nothing does.
func (a *App) newLimiter() proxy.Limiter {
	if a.store == nil {
		return nil
	}
	log := a.log.Named("limits")
	return &limiter{redis: redisrate.NewLimiter(a.store.Client()), began: time.Now(), alone: a.metrics.LimitAlone, told: func(err error) {
		if err != nil {
			log.Warn("rate limits are kept by this replica alone until Redis counts again", zap.Error(err))
			return
		}
		log.Info("rate limits are shared again")
	}}
}
