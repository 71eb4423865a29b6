package proxy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
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

// A Limiter keeps buckets where other replicas take from them too. It is safe for
// concurrent use.
type Limiter interface {
	// Take takes one request from the bucket called key, which is made as limit
	// says (none of its fields is zero). It returns how long the caller must wait,
	// zero if the request may go on, and an error if that cannot be known now: the
	// proxy then counts by itself. A request waits for it, so it must return soon
	// whatever happened. The key says nothing about who it stands for.
	Take(ctx context.Context, key string, limit RateLimit) (time.Duration, error)
}

// maxBuckets bounds the buckets of a route. Beyond it the one that was idle for
// longest is forgotten, which is full again by then at any sensible rate.
const maxBuckets = 10_000

// limits holds the counters of one route.
type limits struct {
	most    int64         // at the same time; 0: no limit
	running *atomic.Int64 // outlives a change of routes, as the requests do
	meter   *meter        // nil: no rate limit
}

// newLimits returns the limits of a route. What the route of that name counted
// before is counted on, if its limit is the same.
func newLimits(p *Proxy, from *Route, before *limits) (*limits, error) {
	if from.MaxConcurrent < 0 {
		return nil, errors.New("max_concurrent: negative")
	}
	l := &limits{most: int64(from.MaxConcurrent), running: new(atomic.Int64)}
	if before != nil {
		l.running = before.running
	}
	if from.RateLimit == nil {
		return l, nil
	}
	limit, err := complete(*from.RateLimit)
	if err != nil {
		return nil, fmt.Errorf("rate_limit: %w", err)
	}
	if before != nil && before.meter != nil && before.meter.limit == limit {
		l.meter = before.meter
		return l, nil
	}
	l.meter, err = newMeter(p.limiter, from.Name, limit)
	return l, err
}

// limitsOf returns the limits of the route in force that has that name.
func (p *Proxy) limitsOf(name string) *limits {
	if t := p.table.Load(); t != nil && t.byName[name] != nil {
		return t.byName[name].limits
	}
	return nil
}

func complete(l RateLimit) (RateLimit, error) {
	if l.Requests <= 0 || l.Per <= 0 || l.Burst < 0 {
		return l, errors.New("requests and per must be positive")
	}
	l.Burst, l.By = cmp.Or(l.Burst, l.Requests), cmp.Or(l.By, ByUser)
	switch l.By {
	case ByUser, ByClient, ByRoute, ByAddress:
		return l, nil
	}
	return l, fmt.Errorf("by: %q is none of user, client, route, address", l.By)
}

// take asks for one more request of the caller. It returns how long the caller
// must wait; zero means that the request may go on.
func (l *limits) take(ctx context.Context, id *authn.Identity, from netip.Addr) time.Duration {
	if l.meter == nil {
		return 0
	}
	return l.meter.take(ctx, l.meter.key(id, from))
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

// A meter is the rate limit of one route, with its buckets.
type meter struct {
	limit  RateLimit
	route  string
	shared Limiter // nil: nobody else takes from the buckets

	rate    rate.Limit
	common  []byte                            // of all keys
	buckets *lru.Cache[bucket, *rate.Limiter] // those of this process
}

func newMeter(shared Limiter, route string, limit RateLimit) (*meter, error) {
	m := &meter{limit: limit, route: route, shared: shared, rate: rate.Limit(float64(limit.Requests) / limit.Per.Seconds())}
	m.common = parts(nil, route, string(limit.By), strconv.Itoa(limit.Requests), limit.Per.String(), strconv.Itoa(limit.Burst))
	var err error
	m.buckets, err = lru.New[bucket, *rate.Limiter](maxBuckets)
	return m, err
}

// take takes from the shared bucket, or from this process's own while that cannot
// be had: a limit that is kept by each replica alone is better than no model, and
// than no limit.
func (m *meter) take(ctx context.Context, key bucket) time.Duration {
	if m.shared != nil {
		if wait, err := m.shared.Take(ctx, base64.RawURLEncoding.EncodeToString(key[:]), m.limit); err == nil {
			return wait
		}
	}
	now := time.Now()
	r := m.bucket(key).ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now) // a refused request costs nothing
	}
	return wait
}

func (m *meter) bucket(key bucket) *rate.Limiter {
	if b, ok := m.buckets.Get(key); ok {
		return b
	}
	b := rate.NewLimiter(m.rate, m.limit.Burst)
	if other, ok, _ := m.buckets.PeekOrAdd(key, b); ok {
		return other // somebody was faster
	}
	return b
}

// A bucket is one by its name.
type bucket [16]byte

// key names the caller's bucket. It is a digest: of one length however long a
// subject is, and whoever lists the keys of a store reads no subject or address
// in them. It covers the limit, so that a changed one begins with full buckets.
func (m *meter) key(id *authn.Identity, from netip.Addr) bucket {
	var room [256]byte
	sum := sha256.Sum256(m.whose(append(room[:0], m.common...), id, from))
	return bucket(sum[:16])
}

// whose says who shares a bucket with the caller.
func (m *meter) whose(said []byte, id *authn.Identity, from netip.Addr) []byte {
	switch {
	case m.limit.By == ByRoute:
		return said
	case m.limit.By == ByAddress || id == nil:
		return parts(said, "address", network(from))
	case m.limit.By == ByClient && id.Client != "":
		return parts(said, "client", id.Issuer, id.Client)
	}
	return parts(said, "user", id.Issuer, id.Subject)
}

// parts appends words with their lengths, so that no two callers can be made to
// share a bucket (CVE-2026-71326).
func parts(said []byte, words ...string) []byte {
	for _, word := range words {
		said = append(strconv.AppendInt(said, int64(len(word)), 10), ':')
		said = append(said, word...)
	}
	return said
}

// network returns what one subscriber has: an IPv4 address, or an IPv6 /64.
func network(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
