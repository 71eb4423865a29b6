package upstream

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"amlproxy/internal/secret"
)

const (
	fetchTimeout  = time.Minute      // one fetch, all its calls together; each call has a shorter deadline of its own
	rejectedWait  = 2 * time.Second  // how long a rejected request waits for something new
	rejectedBurst = 5                // fetches caused by 401 at once ...
	rejectedEvery = 10 * time.Second // ... and then one in so long
)

// A Cache is a [Backend] over a [Source]: it keeps the lease, renews it ahead of
// time, and settles what a 401 means. The zero value is of no use; see [Cached].
type Cache struct {
	source  Source
	observe func(Event)

	// current is read on every request, without a lock. It is replaced only
	// under mu.
	current atomic.Pointer[snapshot]
	waits   atomic.Uint64 // requests that had to wait for a credential

	mu        sync.Mutex
	flight    *flight       // the one fetch under way
	timer     *time.Timer   // fires at the next planned renewal
	failures  int           // of fetches in a row
	notBefore time.Time     // after a failed fetch, none starts before
	lastErr   error         // of the last fetch, nil after a good one
	rejected  *rate.Limiter // fetches caused by 401
	refusals  int           // replacements answered 401 in a row
	notAgain  time.Time     // after a refused replacement, no 401 causes a fetch before
	resting   bool
	closed    bool

	ctx    context.Context //nolint:containedctx // ends every fetch at Close; no request's context is stored
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// A snapshot is one immutable state of the cache.
type snapshot struct {
	lease   *Lease
	target  Target
	other   secret.Value // the key of the pair that is not in use
	fetched time.Time
	renewAt time.Time // zero: no renewal is planned
}

// usable reports whether the credential can still be used.
func (s *snapshot) usable(now time.Time) bool {
	return s != nil && (s.lease.Expires.IsZero() || now.Before(s.lease.Expires))
}

// A flight is one fetch under way.
type flight struct {
	anew    bool          // asks everything anew
	rejects uint64        // the generation that was rejected; 0: none
	done    chan struct{} // closed when the result has been taken over
}

// Cause says why the source was asked.
type Cause string

// The causes of a fetch.
const (
	CauseStart    Cause = "start"    // nothing usable is held
	CauseDue      Cause = "due"      // a renewal, planned ahead
	CauseRejected Cause = "rejected" // the endpoint answered 401
	CauseSuspect  Cause = "suspect"  // it broke off an upload without an answer
)

// An Event tells an observer of a fetch that ended.
type Event struct {
	Cause    Cause
	Kind     Kind // of the lease now held; empty when there is none
	Changed  bool // whether requests now use something else than before
	Duration time.Duration
	Err      error
}

// Cached returns a Cache over source. It does nothing until it is warmed or
// asked. observe, which may be nil, is told of every fetch; it must not block.
// Close ends what the Cache started.
func Cached(source Source, observe func(Event)) *Cache {
	if observe == nil {
		observe = func(Event) {}
	}
	c := &Cache{
		source:   source,
		observe:  observe,
		rejected: rate.NewLimiter(rate.Every(rejectedEvery), rejectedBurst),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Warm starts the first fetch, so that the first request need not wait for it.
func (c *Cache) Warm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.Load() == nil && c.flight == nil {
		c.fetch(CauseStart)
	}
}

// Rest stops planned renewals: from now on a credential is fetched only for a
// request that needs one.
func (c *Cache) Rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resting = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

// Close stops renewals, cancels a fetch under way and waits for it. Target goes
// on answering with what is held.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
	return nil
}

// Target implements [Backend].
func (c *Cache) Target(ctx context.Context) (Target, error) {
	now := time.Now()
	s := c.current.Load()
	if !s.usable(now) {
		return c.await(ctx)
	}
	// The timer runs on the monotonic clock, which stands still while a machine
	// sleeps; the wall clock then says here that a renewal is due.
	if !s.renewAt.IsZero() && now.After(s.renewAt) {
		c.due()
	}
	return s.target, nil
}

// Usable reports whether a request could be sent now, without waiting.
func (c *Cache) Usable() bool { return c.current.Load().usable(time.Now()) }

// due starts a planned renewal, unless one runs or a failed one says to wait.
func (c *Cache) due() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flight == nil && !time.Now().Before(c.notBefore) {
		c.fetch(CauseDue)
	}
}

// await waits, on the caller's own context, for the one fetch that everybody
// without a usable lease waits for.
func (c *Cache) await(ctx context.Context) (Target, error) {
	c.mu.Lock()
	if s := c.current.Load(); s.usable(time.Now()) {
		c.mu.Unlock()
		return s.target, nil
	}
	if c.flight == nil && time.Now().Before(c.notBefore) {
		defer c.mu.Unlock()
		return Target{}, c.unavailable()
	}
	f := c.flight
	if f == nil {
		f = c.fetch(CauseStart)
	}
	c.mu.Unlock()

	c.waits.Add(1)
	if err := f.wait(ctx); err != nil {
		return Target{}, err
	}
	if s := c.current.Load(); s.usable(time.Now()) {
		return s.target, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return Target{}, c.unavailable()
}

// wait returns nil when the flight has landed, whatever it brought.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// unavailable says why there is no credential and when to ask again. mu is held.
func (c *Cache) unavailable() error {
	cause := c.lastErr
	if cause == nil {
		cause = errors.New("the source answered with an expired lease")
	}
	after := max(time.Until(c.notBefore), time.Second)
	return &RetryAfterError{After: after, Err: fmt.Errorf("%w: %w", ErrNoCredential, cause)}
}

// fetch starts the one fetch. mu is held and no flight is under way. After
// Close the flight returned has landed already.
func (c *Cache) fetch(cause Cause) *flight {
	s := c.current.Load()
	f := &flight{anew: cause == CauseRejected || cause == CauseSuspect, done: make(chan struct{})}
	if cause == CauseRejected {
		f.rejects = s.generation()
	}
	if c.closed {
		close(f.done)
		return f
	}
	var held *Lease
	if s != nil && !f.anew {
		held = s.lease
	}
	c.flight = f
	c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, fetchTimeout)
		defer cancel()
		start := time.Now()
		lease, err := ask(ctx, c.source, held)
		c.land(f, cause, lease, err, time.Since(start))
	})
	return f
}

// ask fetches. A panic of the source is its failure: it runs on no request's
// goroutine, and would end the process.
func ask(ctx context.Context, source Source, held *Lease) (lease *Lease, err error) {
	defer func() {
		if p := recover(); p != nil {
			lease, err = nil, fmt.Errorf("the source panicked: %v\n%s", p, debug.Stack())
		}
	}()
	if lease, err = source.Fetch(ctx, held); err != nil {
		return nil, err
	}
	return lease, lease.check(time.Now())
}

// land takes over what a fetch brought and plans the next one.
func (c *Cache) land(f *flight, cause Cause, lease *Lease, err error, took time.Duration) {
	c.mu.Lock()
	now := time.Now()
	before := c.current.Load()
	after := before
	c.lastErr = err
	if err == nil {
		after = before.succeed(lease, f.rejects != 0 && f.rejects == before.generation(), now)
		c.current.Store(after)
		c.failures, c.notBefore = 0, time.Time{}
	} else {
		c.failures++
		c.notBefore = now.Add(backOff(c.failures, err))
	}
	c.plan(after, now)
	c.flight = nil
	event := Event{Cause: cause, Duration: took, Err: err, Changed: before.generation() != after.generation()}
	if after != nil {
		event.Kind = after.lease.Kind
	}
	if event.Changed {
		c.refusals, c.notAgain = 0, time.Time{}
	}
	c.mu.Unlock()
	close(f.done)
	if c.ctx.Err() == nil {
		c.observe(event)
	}
}

// plan sets the timer for the next fetch: when it is due, or when the pause
// after a failure is over. mu is held.
func (c *Cache) plan(s *snapshot, now time.Time) {
	next := c.notBefore
	if next.IsZero() && s != nil {
		next = s.renewAt
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	if next.IsZero() || c.closed || c.resting {
		return
	}
	c.timer = time.AfterFunc(max(next.Sub(now), 0), c.due)
}
