package upstream

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync/atomic"
	"time"

	"amlproxy/internal/secret"
)

const (
	firstPause  = time.Second      // after a failed fetch
	longestWait = 30 * time.Second // between failed fetches
	refusedCap  = time.Minute      // between fetches after refused replacements
)

// check refuses a lease that would send a request nowhere, or without the
// credential that its kind promises.
func (l *Lease) check(now time.Time) error {
	switch {
	case l == nil:
		return errors.New("the source returned no lease")
	case l.Scoring == nil || l.Scoring.Host == "" || (l.Scoring.Scheme != "http" && l.Scoring.Scheme != "https"):
		return errors.New("the source returned no scoring address")
	case l.Scoring.User != nil || l.Scoring.RawQuery != "" || l.Scoring.Fragment != "":
		return errors.New("the scoring address carries a user, a query or a fragment")
	case l.Kind != None && l.Primary.IsZero():
		return fmt.Errorf("the source returned an empty %s", l.Kind)
	case !l.Expires.IsZero() && !now.Before(l.Expires):
		return fmt.Errorf("the source returned an expired %s: is this machine's clock right?", l.Kind)
	}
	return nil
}

// succeed returns the snapshot that follows s once lease was fetched.
//
// A key that is in use and still one of the pair stays in use, so the
// regeneration of the other key changes nothing. After a rejection the key in
// use is what was rejected: then whichever key is new is taken, and if none is,
// everything stays as it was and [Cache.Rejected] turns to the other key.
func (s *snapshot) succeed(lease *Lease, rejected bool, now time.Time) *snapshot {
	use, other := lease.Primary, lease.Secondary
	if s != nil && s.lease.Kind == lease.Kind && !other.IsZero() && s.prefersSecondary(lease, rejected) {
		use, other = other, use
	}
	next := &snapshot{lease: lease, other: other, fetched: now, renewAt: renewalTime(lease, now)}
	next.target = Target{
		Scoring: lease.Scoring, Description: lease.Description, Deployment: lease.Deployment,
		Kind: lease.Kind, Credential: use, Generation: s.generation(),
	}
	if s != nil && next.target.same(s.target) {
		next.target.proven = s.target.proven
		return next
	}
	next.target.Generation++
	next.target.proven = new(atomic.Bool)
	return next
}

// prefersSecondary reports whether the secondary key of a fetched pair is the
// one to use after s.
func (s *snapshot) prefersSecondary(fetched *Lease, rejected bool) bool {
	inUse := s.target.Credential
	if !rejected {
		return inUse.Equal(fetched.Secondary)
	}
	isNew := func(key secret.Value) bool { return !key.Equal(inUse) && !key.Equal(s.other) }
	if isNew(fetched.Primary) {
		return false
	}
	return isNew(fetched.Secondary) || inUse.Equal(fetched.Secondary)
}

// swapped returns the snapshot in which the other key of the pair is in use.
func (s *snapshot) swapped() *snapshot {
	next := *s
	next.target.Credential, next.other = s.other, s.target.Credential
	next.target.Generation++
	next.target.proven = new(atomic.Bool)
	return &next
}

// generation is 0 while nothing is held.
func (s *snapshot) generation() uint64 {
	if s == nil {
		return 0
	}
	return s.target.Generation
}

// same reports whether t and u send a request to the same place with the same
// credential.
func (t Target) same(u Target) bool {
	return t.Kind == u.Kind && t.Deployment == u.Deployment && t.Credential.Equal(u.Credential) &&
		sameURL(t.Scoring, u.Scoring) && sameURL(t.Description, u.Description)
}

func sameURL(a, b *url.URL) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.String() == b.String()
}

// renewalTime is when a lease fetched now is to be renewed: ahead of its refresh
// time by up to a tenth of the way there, at random, so that neither replicas nor
// routes ask in step. A lease that says to refresh at once is not believed more
// often than every 30 seconds, or half of its remaining life if that is less.
func renewalTime(lease *Lease, now time.Time) time.Time {
	if lease.Refresh.IsZero() {
		return time.Time{}
	}
	wait := lease.Refresh.Sub(now)
	wait -= jitter(wait / 10)
	least := 30 * time.Second
	if !lease.Expires.IsZero() {
		least = min(least, lease.Expires.Sub(now)/2)
	}
	return now.Add(max(wait, least, time.Second)).Round(0) // by the wall clock: see Cache.Target
}

// backOff is the pause after so many failed fetches in a row: doubling, with
// jitter, and no shorter than the answer asked for.
func backOff(failures int, err error) time.Duration {
	pause := doubled(firstPause, failures, longestWait)
	pause -= jitter(pause / 4)
	var asked *RetryAfterError
	if errors.As(err, &asked) {
		pause = max(pause, asked.After)
	}
	return pause
}

// doubled returns first, doubled for each time after the first, up to limit.
func doubled(first time.Duration, times int, limit time.Duration) time.Duration {
	for ; times > 1 && first < limit; times-- {
		first *= 2
	}
	return min(first, limit)
}

// jitter returns a duration in [0, d].
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d + 1) // spreads load; nothing depends on its being unpredictable
}
