package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"amlproxy/authn"
)

// maxBuckets bounds the buckets of a route. Beyond it the one that was idle for
// longest is forgotten, which is full again by then at any sensible rate.
const maxBuckets = 10_000

// limits holds the counters of one route.
type limits struct {
	most    int64 // at the same time; 0: no limit
	running atomic.Int64

	by      LimitBy // empty: no rate limit
	rate    rate.Limit
	burst   int
	buckets *lru.Cache[string, *rate.Limiter]
}

func newLimits(from *RateLimit, most int) (*limits, error) {
	if most < 0 {
		return nil, errors.New("max_concurrent: negative")
	}
	l := &limits{most: int64(most)}
	if from == nil {
		return l, nil
	}
	if from.Requests <= 0 || from.Per <= 0 || from.Burst < 0 {
		return nil, errors.New("rate_limit: requests and per must be positive")
	}
	l.rate = rate.Limit(float64(from.Requests) / from.Per.Seconds())
	l.burst, l.by = from.Burst, from.By
	if l.burst == 0 {
		l.burst = from.Requests
	}
	switch l.by {
	case ByUser, ByClient, ByRoute, ByAddress:
	case "":
		l.by = ByUser
	default:
		return nil, fmt.Errorf("rate_limit: by: %q is none of user, client, route, address", l.by)
	}
	var err error
	l.buckets, err = lru.New[string, *rate.Limiter](maxBuckets)
	return l, err
}

// take asks for one more request of the caller. It returns how long the caller
// must wait; zero means that the request may go on.
func (l *limits) take(now time.Time, id *authn.Identity, from netip.Addr) time.Duration {
	if l.by == "" {
		return 0
	}
	r := l.bucket(l.key(id, from)).ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now) // a refused request costs nothing
	}
	return wait
}

func (l *limits) bucket(key string) *rate.Limiter {
	if b, ok := l.buckets.Get(key); ok {
		return b
	}
	b := rate.NewLimiter(l.rate, l.burst)
	if other, ok, _ := l.buckets.PeekOrAdd(key, b); ok {
		return other // somebody was faster
	}
	return b
}

// key names the caller's bucket. Its parts carry their length, so that no two
// callers can be made to share one (CVE-2026-71326).
func (l *limits) key(id *authn.Identity, from netip.Addr) string {
	switch {
	case l.by == ByRoute:
		return ""
	case l.by == ByAddress || id == nil:
		return "a" + network(from)
	case l.by == ByClient && id.Client != "":
		return "c" + parts(id.Issuer, id.Client)
	}
	return "u" + parts(id.Issuer, id.Subject)
}

func parts(a, b string) string { return strconv.Itoa(len(a)) + ":" + a + b }

// network returns what one subscriber has: an IPv4 address, or an IPv6 /64.
func network(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// enter takes a place among the requests that run at the same time; leave gives
// it back, and must follow exactly once if ok.
func (l *limits) enter() (ok bool) {
	if l.running.Add(1) > l.most && l.most > 0 {
		l.running.Add(-1)
		return false
	}
	return true
}

func (l *limits) leave() { l.running.Add(-1) }
