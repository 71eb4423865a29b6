package authn

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"amlproxy/internal/secret"
)

const (
	redisPrefix = "amlproxy:"
	// leaseTime is how long a replica that was killed keeps the others from
	// renewing the session it had begun with; one that lives extends its lease.
	leaseTime = 5 * time.Second
	leaseStep = time.Second
	pollTime  = 25 * time.Millisecond
)

// inRedis is the keeper of sessions that all replicas share.
//
// The cookie holds the identifier and when the session began, sealed for that
// purpose. Redis holds the session under a hash of the identifier, sealed under
// that key's name for a third purpose: whoever reads Redis can neither read a
// session nor make a cookie of one, and whoever writes to it can make none up
// nor exchange two. How long a session is unused is counted by Redis.
//
// For each subject, and each session of the provider, Redis also holds which
// sessions there are, by their keys.
type inRedis struct {
	client *redis.Client
	cookie *sealer // of what the cookie holds
	value  *sealer // of what Redis holds
	name   string  // of the cookie
	lifetimes
}

func newInRedis(client *redis.Client, secrets []secret.Value, name string, l lifetimes) (*inRedis, error) {
	cookie, err := newSealer(secrets, "session identifier")
	if err != nil {
		return nil, err
	}
	value, err := newSealer(secrets, "stored session")
	if err != nil {
		return nil, err
	}
	return &inRedis{client: client, cookie: cookie, value: value, name: name, lifetimes: l}, nil
}

func redisKey(parts ...string) string {
	sum := keyOf(parts...)
	return redisPrefix + parts[0] + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}

func sessionKey(id string) string { return redisKey("session", id) }
func (o logout) redisKey() string {
	k := o.key()
	return redisPrefix + "of:" + base64.RawURLEncoding.EncodeToString(k[:])
}

func (held *session) index() []string {
	var all []string
	for _, which := range held.logouts() {
		all = append(all, which.redisKey())
	}
	return all
}

func (k *inRedis) begin(ctx context.Context, held *session) (string, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	now, end := time.Now(), held.created.Add(k.max)
	key := sessionKey(held.id)
	_, err := k.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, key, k.seal(held), k.left(held.created, now))
		for _, index := range held.index() {
			p.ZRemRangeByScore(ctx, index, "-inf", fmt.Sprint(now.Unix()))
			p.ZAdd(ctx, index, redis.Z{Score: float64(end.Unix()), Member: key})
			p.Expire(ctx, index, k.max)
		}
		return nil
	})
	if err != nil {
		return "", time.Time{}, storeFailed("keeping a session", err)
	}
	p := make(packer, 0, 64)
	p.text(held.id)
	p.instant(held.created)
	return k.cookie.seal(k.name, end, p), end, nil
}

func (k *inRedis) seal(held *session) string {
	return k.value.seal(sessionKey(held.id), held.created.Add(k.max), held.pack(true))
}

// left returns how long a session that is used now may go unused.
func (k *inRedis) left(created, now time.Time) time.Duration {
	return max(time.Second, min(k.idle, created.Add(k.max).Sub(now)))
}

func (k *inRedis) find(ctx context.Context, value string, now time.Time, _ bool) (*session, error) {
	plain, _, err := k.cookie.open(k.name, value)
	if err != nil {
		return nil, err
	}
	u := unpacker{rest: plain}
	id, created := u.text(), u.instant()
	if err := u.end(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	held, err := k.read(ctx, id, k.left(created, now))
	if err != nil {
		return nil, err
	}
	held.used = now
	return k.check(held, now)
}

var errGone = errors.New("Redis holds no such session (any more)")

// read returns a session. It is used now, and may go unused for as long as left
// says; zero changes nothing about that.
func (k *inRedis) read(ctx context.Context, id string, left time.Duration) (*session, error) {
	key := sessionKey(id)
	value, err := k.get(ctx, key, left)
	if errors.Is(err, redis.Nil) {
		return nil, errGone
	}
	if err != nil {
		return nil, storeFailed("reading a session", err)
	}
	plain, _, err := k.value.open(key, value)
	if err != nil {
		return nil, err
	}
	return unpackSession(plain)
}

// get reads a value and sets how long it stays, in one round trip. If the server
// has become a replica, the second is done again on its own: go-redis then takes
// a new connection, which leads to the new primary where a name does.
func (k *inRedis) get(ctx context.Context, key string, left time.Duration) (string, error) {
	if left == 0 {
		return k.client.Get(ctx, key).Result()
	}
	p := k.client.Pipeline()
	got := p.Get(ctx, key)
	stay := p.PExpire(ctx, key, left)
	_, err := p.Exec(ctx)
	if redis.IsReadOnlyError(stay.Err()) {
		if err = k.client.PExpire(ctx, key, left).Err(); err == nil {
			return k.client.Get(ctx, key).Result()
		}
	}
	return got.Val(), err
}

func (k *inRedis) end(ctx context.Context, held *session) error {
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	key := sessionKey(held.id)
	_, err := k.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, key)
		for _, index := range held.index() {
			p.ZRem(ctx, index, key)
		}
		return nil
	})
	if err != nil {
		return storeFailed("ending a session", err)
	}
	return nil
}

func (k *inRedis) endAll(ctx context.Context, which logout) ([]secret.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	index := which.redisKey()
	keys, err := k.client.ZRange(ctx, index, 0, -1).Result()
	if err != nil || len(keys) == 0 {
		return nil, k.endedAll(err)
	}
	var values *redis.SliceCmd
	_, err = k.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		values = p.MGet(ctx, keys...)
		p.Del(ctx, keys...)
		members := make([]any, len(keys))
		for i, key := range keys {
			members[i] = key
		}
		p.ZRem(ctx, index, members...) // and none that was added since
		return nil
	})
	if err != nil {
		return nil, k.endedAll(err)
	}
	return k.refreshTokens(keys, values.Val()), nil
}

func (k *inRedis) endedAll(err error) error {
	if err != nil {
		return storeFailed("ending sessions", err)
	}
	return nil
}

// refreshTokens reads them from values that were sealed under keys.
func (k *inRedis) refreshTokens(keys []string, values []any) []secret.Value {
	var all []secret.Value
	for i, value := range values {
		sealed, _ := value.(string) // nil for a session that is over
		plain, _, err := k.value.open(keys[i], sealed)
		if err != nil {
			continue
		}
		if held, err := unpackSession(plain); err == nil && !held.tokens.Refresh.IsZero() {
			all = append(all, held.tokens.Refresh)
		}
	}
	return all
}

func (k *inRedis) used(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	n, err := k.client.Exists(ctx, redisKey("jti", name)).Result()
	if err != nil {
		return false, storeFailed("looking for a logout token", err)
	}
	return n > 0, nil
}

func (k *inRedis) use(ctx context.Context, name string, until time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	if err := k.client.Set(ctx, redisKey("jti", name), "1", max(time.Second, time.Until(until))).Err(); err != nil {
		return storeFailed("remembering a logout token", err)
	}
	return nil
}

// renew lets one replica ask, under a lease; the others wait for what it writes.
func (k *inRedis) renew(ctx context.Context, held *session, ask func(context.Context, *session) (*session, error)) (*session, error) {
	lease := lease{client: k.client, key: redisKey("lease", held.id), holder: rand.Text()}
	for {
		mine, err := lease.take(ctx)
		if err != nil {
			return nil, err
		}
		// What the last holder wrote counts, whether or not this one holds it now.
		now, err := k.read(ctx, held.id, 0)
		if err != nil || now.turn > held.turn {
			lease.release(ctx, mine)
			return now, k.checked(now, err)
		}
		if mine {
			return k.renewUnder(ctx, lease, now, ask)
		}
		select {
		case <-ctx.Done():
			return nil, storeFailed("waiting for another replica to renew a session", ctx.Err())
		case <-time.After(pollTime):
		}
	}
}

// checked completes what was read of a session that another replica renewed.
func (k *inRedis) checked(now *session, err error) error {
	if err != nil {
		return err
	}
	_, err = k.check(now, time.Now())
	return err
}

func (k *inRedis) renewUnder(ctx context.Context, lease lease, held *session, ask func(context.Context, *session) (*session, error)) (*session, error) {
	held.used = time.Now()
	held, err := k.check(held, held.used)
	if err != nil {
		lease.release(ctx, true)
		return nil, err
	}
	stop := lease.keep(ctx)
	renewed, err := ask(ctx, held)
	stop()
	write := func(ctx context.Context) error {
		switch {
		case renewed != nil:
			return k.write(ctx, renewed)
		case !errors.Is(err, ErrUnavailable):
			return k.end(ctx, held)
		}
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if write(ctx) == nil {
		lease.release(ctx, true)
	} else {
		go insist(ctx, lease, write)
	}
	return renewed, err
}

// insist writes a renewed session once Redis is back: its refresh token may be
// the only one that works. Until then this process remembers the session.
func insist(ctx context.Context, lease lease, write func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, graceTime)
	defer cancel()
	ticker := time.NewTicker(leaseStep / 4)
	defer ticker.Stop()
	for ctx.Err() == nil && write(ctx) != nil {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	lease.release(ctx, true)
}

// write keeps a renewed session, unless it was ended meanwhile.
func (k *inRedis) write(ctx context.Context, held *session) error {
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	err := k.client.SetArgs(ctx, sessionKey(held.id), k.seal(held), redis.SetArgs{Mode: "XX", TTL: k.left(held.created, time.Now())}).Err()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}
