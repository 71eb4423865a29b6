package authn

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A remote is one document of a provider: fetched when it is first asked for,
// then held.
//
// One fetch runs at a time, detached from whoever asked, with its own deadline:
// callers wait for it on their own contexts, and one who leaves takes nobody
// along. A document once held is never lost to a failure; when it is older than
// stale it is fetched anew in the background. While there is none, failures are
// remembered for a moment, so a dead provider costs each caller nothing.
type remote[T any] struct {
	fetch func(context.Context) (T, error)
	stale time.Duration
	again *rate.Limiter     // on fetches that a caller provokes although one is held
	same  func(a, b T) bool // nil: no version is the same as the last one

	mu     sync.Mutex
	held   *held[T]
	since  time.Time // when held was asked for
	err    error     // of the last fetch
	failed int       // fetches in a row
	next   time.Time // not before, after failures
	flight chan struct{}
}

// held is one fetched version; its address is its identity.
type held[T any] struct{ value T }

// refetch is how long to wait after n failures in a row. It stays short, because
// nobody can sign in meanwhile: login is to work within 5 s of the provider's return.
func refetch(n int) time.Duration { return min(time.Duration(n)*time.Second, 2*time.Second) }

// get returns the document, from memory if there is one.
func (r *remote[T]) get(ctx context.Context) (*held[T], error) {
	r.mu.Lock()
	due := r.held == nil || time.Since(r.since) > r.stale
	if due && r.flight == nil && !time.Now().Before(r.next) {
		r.launch()
	}
	if r.held != nil {
		defer r.mu.Unlock()
		return r.held, nil
	}
	if r.flight == nil {
		defer r.mu.Unlock()
		return nil, r.err
	}
	return r.wait(ctx)
}

// newer returns a version other than old, fetching it if the bucket allows. It
// may return old itself: with the error of the last fetch if that failed, else
// old is as new as the bucket allows to know.
func (r *remote[T]) newer(ctx context.Context, old *held[T]) (*held[T], error) {
	r.mu.Lock()
	if r.held != old {
		defer r.mu.Unlock()
		return r.held, nil
	}
	if r.flight == nil {
		if !r.again.Allow() {
			defer r.mu.Unlock()
			return r.held, r.err
		}
		r.launch()
	}
	if _, err := r.wait(ctx); err != nil {
		return old, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held, r.err
}

// wait unlocks r and waits for the fetch under way.
func (r *remote[T]) wait(ctx context.Context) (*held[T], error) {
	flight := r.flight
	r.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-flight:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil {
		return nil, r.err
	}
	return r.held, nil
}

// launch starts a fetch; r is locked.
func (r *remote[T]) launch() {
	flight, asked := make(chan struct{}), time.Now()
	r.flight = flight
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		value, err := guarded(func() (T, error) { return r.fetch(ctx) })
		r.mu.Lock()
		defer r.mu.Unlock()
		defer close(flight)
		r.flight, r.err = nil, err
		if err != nil {
			r.failed++
			r.next = time.Now().Add(refetch(r.failed))
			return
		}
		r.since, r.failed = asked, 0
		if r.held == nil || r.same == nil || !r.same(r.held.value, value) {
			r.held = &held[T]{value}
		}
	}()
}
