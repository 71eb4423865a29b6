package authn

import (
	"context"
	"fmt"
	"time"

	"amlproxy/internal/secret"
)

// inCookies is the keeper of sessions that are in their cookies. Nobody shares
// it: what it knows besides is in this process.
type inCookies struct {
	sealer *sealer
	name   string
	lifetimes
	ended *ended
	uses  *uses
}

func (k *inCookies) begin(_ context.Context, held *session) (string, time.Time, error) {
	expires := k.expires(held)
	return k.sealer.seal(k.name, expires, held.pack(false)), expires, nil
}

func (k *inCookies) find(_ context.Context, value string, now time.Time, whole bool) (*session, error) {
	var held *session
	var malformed error
	young := func(claimed time.Time) bool { return !whole && !older(claimed, now, k.refresh) }
	if err := k.sealer.read(k.name, value, func(plain []byte) { held, malformed = unpackUnless(plain, young) }); err != nil {
		return nil, err
	}
	if malformed != nil {
		return nil, malformed
	}
	if k.ended.has(held) {
		return nil, fmt.Errorf("session %s was ended", held.label())
	}
	return k.check(held, now)
}

func (k *inCookies) renew(ctx context.Context, held *session, ask func(context.Context, *session) (*session, error)) (*session, error) {
	return ask(ctx, held)
}

func (k *inCookies) end(_ context.Context, held *session) error {
	k.ended.add(held)
	return nil
}

// endAll knows no refresh token: they are in cookies that did not come.
func (k *inCookies) endAll(_ context.Context, which logout) ([]secret.Value, error) {
	k.ended.addAll(which)
	return nil, nil
}

func (k *inCookies) used(_ context.Context, name string) (bool, error) {
	return k.ended.used(name), nil
}

func (k *inCookies) use(_ context.Context, name string, until time.Time) error {
	k.ended.use(name, until)
	return nil
}
