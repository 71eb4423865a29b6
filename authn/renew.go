package authn

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	maxRenewals = 10_000
	graceTime   = time.Minute
	// siblingTime is how long a session in a cookie is served after the provider
	// refused its refresh token, at most: another replica may have used it, and its
	// cookie be on the way. No process knows whether there is another.
	siblingTime = 10 * time.Second
)

// A source asks the provider for newer claims of a session; Login is one. Its
// errors wrap ErrUnavailable if the provider could not be asked or not say; the
// session is then returned all the same if it has a new refresh token. Any other
// error says that the provider ended the session.
type source func(ctx context.Context, held *session) (*session, error)

// renewals are the sessions that this process renews or has renewed.
//
// A session is renewed once at a time, detached from the request that asked
// first: whoever leaves loses nothing and takes nobody along. A refresh token
// may work once only, and a second use end the session everywhere (RFC 9700
// section 4.14.2); so what came of it is remembered until a minute after some
// request brought the new cookie, and serves requests that were sent with the
// old one.
type renewals struct {
	lifetimes
	mercy time.Duration // how long a session goes on that the provider refused

	mu  sync.Mutex
	all *simplelru.LRU[string, *renewal]
}

// A renewal is what came of one session so far.
type renewal struct {
	flight chan struct{} // closed at its end; nil when none is under way

	latest *session  // the newest version; nil if none was renewed
	seen   time.Time // when a request first carried it

	refused bool
	turn    uint64 // that was refused
	at      time.Time

	failed int       // times in a row
	next   time.Time // not before
}

func newRenewals(l lifetimes, mercy time.Duration) *renewals {
	all, _ := simplelru.NewLRU[string, *renewal](maxRenewals, nil) // fails for a size below 1 alone
	return &renewals{lifetimes: l, mercy: mercy, all: all}
}

// due reports whether the claims of held should be renewed, and can be.
func (s *Sessions) due(held *session, now time.Time) bool {
	return s.source != nil && !held.young && held.renewable() && older(held.claimed, now, s.refresh)
}

// current returns the newest version of a session: held itself, or a copy of what
// came of it. It waits for the provider if the claims of held are too old, but not when
// the provider failed before: then they serve until it is back.
func (s *Sessions) current(ctx context.Context, held *session, now time.Time) (*session, error) {
	if s.source == nil || !held.renewable() {
		return held, nil
	}
	all := s.renewals
	all.mu.Lock()
	e := all.of(held, s.due(held, now), now)
	if e == nil {
		all.mu.Unlock()
		return held, nil
	}
	newest := e.newest(held)
	wait := false
	if s.due(newest, now) && !e.refuses(newest) {
		wait = e.failed == 0
		if e.flight == nil && !now.Before(e.next) {
			s.launch(e, newest.as(newest.used))
		}
	}
	flight := e.flight
	all.mu.Unlock()
	if wait && flight != nil {
		select {
		case <-flight:
		case <-ctx.Done():
			return nil, unavailable(ctx.Err())
		}
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	newest = e.newest(held)
	if e.refuses(newest) && time.Since(e.at) >= all.mercy {
		return nil, caused(invalid("the session has ended"), errors.New("the identity provider ended session "+held.label()))
	}
	if newest != held {
		newest = newest.as(newest.used)
	}
	return newest, nil
}

// of returns what is known of held; if nothing is, nil, or a beginning. It is
// also told that way that a browser has the latest cookie.
func (all *renewals) of(held *session, begin bool, now time.Time) *renewal {
	e, there := all.all.Get(held.id)
	switch {
	case there && all.over(e, now):
		all.all.Remove(held.id)
		e = nil
	case there && e.latest != nil && held.turn == e.latest.turn && e.seen.IsZero():
		e.seen = now
	}
	if e == nil && begin {
		for { // those at the end that are over make room first
			_, oldest, there := all.all.GetOldest()
			if !there || !all.over(oldest, now) {
				break
			}
			all.all.RemoveOldest()
		}
		e = new(renewal)
		all.all.Add(held.id, e)
	}
	return e
}

// over reports whether nothing is lost if e is forgotten.
func (all *renewals) over(e *renewal, now time.Time) bool {
	switch {
	case e.flight != nil || now.Before(e.next):
		return false
	case e.refused: // its cookie comes again until it has expired
		return now.Sub(e.at) > all.idle
	case e.latest == nil:
		return now.Sub(e.next) > graceTime
	}
	return !e.seen.IsZero() && now.Sub(e.seen) > graceTime || !now.Before(all.expires(e.latest))
}

func (e *renewal) newest(held *session) *session {
	if e.latest != nil && e.latest.turn > held.turn {
		return e.latest
	}
	return held
}

// latest returns the newest version of held that this process knows.
func (all *renewals) latest(held *session) *session {
	all.mu.Lock()
	defer all.mu.Unlock()
	if e, there := all.all.Peek(held.id); there {
		return e.newest(held)
	}
	return held
}

func (e *renewal) refuses(held *session) bool { return e.refused && held.turn <= e.turn }

// launch renews held, which nobody else has; s.renewals is locked.
func (s *Sessions) launch(e *renewal, held *session) {
	flight := make(chan struct{})
	e.flight = flight
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		renewed, err := guarded(func() (*session, error) { return s.keeper.renew(ctx, held, s.source) })
		s.renewed(err)
		s.renewals.mu.Lock()
		defer s.renewals.mu.Unlock()
		defer close(flight)
		e.landed(held, renewed, err, time.Now())
	}()
}

// landed takes in how a flight ended.
func (e *renewal) landed(held, renewed *session, err error, now time.Time) {
	e.flight = nil
	if renewed != nil && renewed.turn > held.turn {
		e.latest, e.seen = renewed, time.Time{}
	}
	switch {
	case err == nil:
		e.failed = 0
	case errors.Is(err, ErrUnavailable):
		e.failed++
		e.next = now.Add(backOff(e.failed))
	default:
		e.refused, e.turn, e.at = true, e.newest(held).turn, now
	}
}

// backOff is how long to wait after n failures in a row: 5 s, then double that,
// up to 5 minutes, less up to a fifth by chance, so that sessions that failed
// together do not come back together.
func backOff(n int) time.Duration {
	d := min(5*time.Second<<min(n-1, 10), 5*time.Minute)
	var chance [1]byte
	_, _ = rand.Read(chance[:])
	return d - d/5*time.Duration(chance[0])/256
}
