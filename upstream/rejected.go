package upstream

import (
	"context"
	"time"
)

// Rejected implements [Backend]. What is new is preferred over what is held:
//
//   - another 401 already brought another generation: that one;
//   - a fetch, for which at most two seconds are waited: what it changed;
//   - the fetch failed, takes longer, is not allowed now or brought nothing new:
//     the other key of the pair, so that one retry survives the regeneration of
//     either key and of both.
//
// Fetches that a 401 causes take from a bucket, 5 at once and then one in ten
// seconds, and pause once a replacement was itself refused: rapid rotations are
// survived, and a model that answers 401 by itself cannot drain the workspace's
// rate limit.
func (c *Cache) Rejected(ctx context.Context, t Target) (Target, error) {
	if t.replacement {
		c.mu.Lock()
		defer c.mu.Unlock()
		// One that others were let in with has been taken away since: that is the next
		// rotation, and nothing to pause for.
		if t.Generation == c.current.Load().generation() && !t.proven.Load() {
			c.refused()
		}
		return Target{}, ErrNoReplacement
	}
	wait, cancel := context.WithTimeout(ctx, rejectedWait)
	defer cancel()
	for asked := false; ; {
		next, f := c.replace(t, asked)
		if f == nil {
			return next.insteadOf(t)
		}
		if f.wait(wait) != nil {
			break
		}
		asked = asked || f.anew
	}
	if ctx.Err() != nil {
		return Target{}, context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.otherKey(t).insteadOf(t)
}

// replace returns the target to use instead of t, or the flight to wait for
// before asking again. asked says that the caller has waited for a flight that
// asked everything anew: whoever was rejected together asks once together.
func (c *Cache) replace(t Target, asked bool) (Target, *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.replaced(t):
		return c.current.Load().target, nil
	case c.flight != nil:
		return Target{}, c.flight
	case asked || !c.mayFetch():
		return c.otherKey(t), nil
	}
	return Target{}, c.fetch(CauseRejected)
}

// mayFetch takes from the bucket, if no pause is on. mu is held.
func (c *Cache) mayFetch() bool {
	now := time.Now()
	return !c.closed && !now.Before(c.notAgain) && !now.Before(c.notBefore) && c.rejected.AllowN(now, 1)
}

// otherKey puts the other key of the pair in use, unless t has been replaced in
// the meantime, and returns what is in use now. mu is held.
func (c *Cache) otherKey(t Target) Target {
	// With a key that others were let in with, the next 401 may ask again as soon as
	// the bucket lets it.
	if !c.replaced(t) && !c.swap() && !t.proven.Load() {
		c.refused()
	}
	return c.current.Load().target
}

// swap puts the other key of the pair in use, if there is one. mu is held.
func (c *Cache) swap() bool {
	s := c.current.Load()
	if s.other.IsZero() || s.other.Equal(s.target.Credential) {
		return false
	}
	c.current.Store(s.swapped())
	return true
}

// refused notes that there was nothing that the endpoint would take. The pause
// before the next fetch doubles, once per pause however many requests it met. mu
// is held.
func (c *Cache) refused() {
	now := time.Now()
	if now.Before(c.notAgain) {
		return
	}
	c.refusals++
	c.notAgain = now.Add(doubled(firstPause, c.refusals, refusedCap))
}

// replaced reports whether requests use something else than t now. Generations do
// not tell: when one key of a pair gave way to the other and that one to the first
// again, the newest generation is what was just refused. mu is held.
func (c *Cache) replaced(t Target) bool { return !c.current.Load().target.same(t) }

// Suspect is told that the endpoint broke off an upload with t without an answer,
// which may be its way of refusing t. It reports whether requests use something
// else now. Unlike a 401 this is no proof: it takes a fetch from the same bucket,
// but the other key is tried only instead of one that nobody was let in with, and
// nothing is paused for.
func (c *Cache) Suspect(ctx context.Context, t Target) bool {
	ctx, cancel := context.WithTimeout(ctx, rejectedWait)
	defer cancel()
	for asked := false; ; {
		f, replaced := c.suspect(t, asked)
		if f == nil || f.wait(ctx) != nil {
			return replaced
		}
		asked = asked || f.anew
	}
}

// suspect returns the flight to wait for before asking again, or nil and whether t
// was replaced.
func (c *Cache) suspect(t Target, asked bool) (f *flight, replaced bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.replaced(t):
		return nil, true
	case c.flight != nil:
		return c.flight, false
	case !asked && c.mayFetch():
		return c.fetch(CauseSuspect), false
	}
	return nil, !t.proven.Load() && c.swap()
}

// insteadOf marks t as the replacement of rejected, if it is one.
func (t Target) insteadOf(rejected Target) (Target, error) {
	if t.same(rejected) {
		return Target{}, ErrNoReplacement
	}
	t.replacement = true
	return t, nil
}
