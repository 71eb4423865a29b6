package authn

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
)

// maxRemembered bounds the tokens that are remembered, in some 20 MiB. Beyond it
// the one that was not used for longest is forgotten.
const maxRemembered = 16 << 10

// A memory holds what came of tokens that were found good: to check a signature
// takes a hundred times as long as to remember it. A token is checked once, however
// many requests bring it at the same time, and again when the provider's keys or
// the rules in force are others.
type memory struct {
	known   *lru.Cache[tokenName, verified]
	flights singleflight.Group
}

// A tokenName stands for a token, which itself is not kept.
type tokenName [sha256.Size]byte

func nameOf(token string) tokenName {
	var room [2 << 10]byte // most tokens are shorter
	return sha256.Sum256(append(room[:0], token...))
}

// verified is what is remembered of a token. It holds while the key set that
// vouched for it is the current one.
type verified struct {
	identity *Identity
	until    time.Time
	provider *provider
	keys     *held[[]key]
}

func newMemory() (*memory, error) {
	known, err := lru.New[tokenName, verified](maxRemembered)
	return &memory{known: known}, err
}

// get returns what is known of a token, if it holds under the rules in force.
func (m *memory) get(ctx context.Context, of tokenName, vocabulary string) (verified, bool) {
	v, ok := m.known.Get(of)
	if !ok || v.identity.Vocabulary != vocabulary || !time.Now().Before(v.until) {
		return verified{}, false
	}
	keys, err := v.provider.keys.get(ctx) // also what has them fetched anew in time
	return v, err == nil && keys == v.keys
}

// once verifies a token for all who bring it now. Whoever leaves takes nobody along.
func (m *memory) once(ctx context.Context, of tokenName, vocabulary string, verify func(context.Context) (verified, error)) (verified, error) {
	detached := context.WithoutCancel(ctx)
	// Who comes under other rules joins nobody: what the others get lacks what only
	// those rules name, and is whole to them.
	landed := m.flights.DoChan(string(of[:])+vocabulary, func() (any, error) {
		if v, ok := m.get(detached, of, vocabulary); ok { // somebody was faster
			return v, nil
		}
		v, err := guarded(func() (verified, error) { return verify(detached) })
		if err == nil {
			m.known.Add(of, v)
		}
		return v, err
	})
	select {
	case came := <-landed:
		v, ok := came.Val.(verified)
		if came.Err == nil && !ok {
			return v, fmt.Errorf("verifying a token brought %T", came.Val)
		}
		return v, came.Err
	case <-ctx.Done():
		return verified{}, unavailable(ctx.Err())
	}
}
