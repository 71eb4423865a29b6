package authn

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Over reports of each of ids whether the session that it came of is over: it was
// signed out of, here or everywhere, the provider ended it, or nobody used it for
// too long. It is for what goes on longer than a request that was let in once, an
// answer that streams or a WebSocket; being asked about is no use of a session.
// Identities that came of no session are never over.
//
// With Redis all replicas agree, and it is one round trip for up to a thousand
// sessions; without, it is what this process knows. An error says that Redis could
// not be asked: then nothing is known of anybody.
func (s *Sessions) Over(ctx context.Context, ids []*Identity) ([]bool, error) {
	held := make([]*session, 0, len(ids))
	for _, id := range ids {
		if id != nil && id.session != nil {
			held = append(held, id.session)
		}
	}
	s.uses.watch(held)
	gone, err := s.keeper.over(ctx, held)
	if err != nil {
		return nil, err
	}
	over := make([]bool, len(ids))
	next := 0
	for i, id := range ids {
		if id != nil && id.session != nil {
			over[i] = gone[next] || s.renewals.refuses(id.session)
			next++
		}
	}
	return over, nil
}

// vouch returns the identity of a session as a request gets it. The session is that
// request's alone: nothing is copied, since every request comes here.
func (s *Sessions) vouch(held *session) *Identity {
	held.tokens = Tokens{Session: held.tokens.Session} // Over needs no other
	id := s.known(held.identity)
	id.session, id.Idle = held, s.expires(held)
	s.uses.note(held)
	return id
}

// refuses reports whether the provider would not renew held, and no other version
// of it is on the way.
func (all *renewals) refuses(held *session) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	e, there := all.all.Peek(held.id)
	return there && e.refuses(held) && time.Since(e.at) >= all.mercy
}

// uses remember when sessions that are asked about were last used, since what a
// cookie says is as old as the request that brought it.
type uses struct {
	any atomic.Bool // spares requests the lock
	mu  sync.Mutex
	of  map[string]time.Time
}

// watch remembers the sessions held, and forgets all others.
func (u *uses) watch(held []*session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	next := make(map[string]time.Time, len(held))
	for _, one := range held {
		next[one.id] = later(one.used, u.of[one.id])
	}
	u.of = next
	u.any.Store(len(next) > 0)
}

// note is told of each session that a request carries.
func (u *uses) note(held *session) {
	if !u.any.Load() {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if last, there := u.of[held.id]; there {
		u.of[held.id] = later(last, held.used)
	}
}

func (u *uses) last(held *session) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return later(held.used, u.of[held.id])
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (k *inCookies) over(_ context.Context, held []*session) ([]bool, error) {
	over := make([]bool, len(held))
	for i, one := range held {
		now := *one
		now.used = k.uses.last(one)
		over[i] = k.ended.has(one) || !time.Now().Before(k.expires(&now))
	}
	return over, nil
}

// atOnce is how many sessions are asked about in one round trip.
const atOnce = 1000

// over asks only whether there is such a session: Redis forgets it when it has not
// been used for too long, and asking is no use.
func (k *inRedis) over(ctx context.Context, held []*session) ([]bool, error) {
	over := make([]bool, 0, len(held))
	for part := range slices.Chunk(held, atOnce) {
		found, err := k.exist(ctx, part)
		if err != nil {
			return nil, storeFailed("asking whether sessions are over", err)
		}
		for _, one := range found {
			over = append(over, one.Val() == 0)
		}
	}
	return over, nil
}

func (k *inRedis) exist(ctx context.Context, held []*session) ([]*redis.IntCmd, error) {
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	found := make([]*redis.IntCmd, len(held))
	_, err := k.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, one := range held {
			found[i] = p.Exists(ctx, sessionKey(one.id))
		}
		return nil
	})
	return found, err
}
