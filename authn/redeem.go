package authn

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/oauth2"
)

const (
	maxRedemptions = 500
	// redeemTime bounds a redemption; who waits for it waits no longer than for one
	// call. outcomeTime is how long what came of it serves copies of the answer.
	redeemTime  = 2 * callTimeout
	outcomeTime = 30 * time.Second
)

// redemptions are the answers of the provider that this process redeems or has
// just redeemed.
//
// A code works once, and a second use may cost what the first one brought (RFC
// 6749 section 4.1.2); but a browser brings it twice when somebody clicks twice,
// and leaves when somebody reloads. So an answer is redeemed once at a time,
// detached from the request that brought it, and what came of it serves whoever
// brings the same answer with the cookie of the flow that it belongs to: nobody
// but that browser.
type redemptions struct {
	mu  sync.Mutex
	all *simplelru.LRU[[sha256.Size]byte, *redemption]
	// underWay bounds what browsers leave behind that hang up at once: nobody has to
	// be signed in to begin a login.
	underWay int
}

// A redemption is what came of one answer so far.
type redemption struct {
	flight chan struct{} // closed at its end; nil when none is under way
	ended  time.Time     // when the last one did; zero before
	progress
	err error
}

// progress is how far a redemption came: what was done is not done again when
// the rest could not be.
type progress struct {
	token *oauth2.Token // of the code
	begun *session      // of whom it says
	made  kept          // the cookie of begun
}

func newRedemptions() *redemptions {
	all, _ := simplelru.NewLRU[[sha256.Size]byte, *redemption](maxRedemptions, nil) // fails for a size below 1 alone
	return &redemptions{all: all}
}

// signIn returns the session that an answer of the provider stands for.
func (l *Login) signIn(ctx context.Context, reply url.Values, fl *flow) (kept, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	all := l.redemptions
	all.mu.Lock()
	e := all.of(keyOf("answer", reply.Encode()), time.Now())
	if e.flight == nil && (e.ended.IsZero() || errors.Is(e.err, ErrUnavailable)) {
		if all.underWay == maxRedemptions {
			defer all.mu.Unlock()
			return kept{}, unavailable(errors.New("too many sign-ins are under way"))
		}
		l.launch(e, reply, fl)
	}
	flight := e.flight
	all.mu.Unlock()
	if flight != nil {
		select {
		case <-flight:
		case <-ctx.Done():
			return kept{}, unavailable(ctx.Err())
		}
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	return e.made, e.err
}

// of returns what is known of an answer, or a beginning.
func (all *redemptions) of(key [sha256.Size]byte, now time.Time) *redemption {
	for { // those at the end that are over make room first
		key, oldest, there := all.all.GetOldest()
		if !there || !oldest.over(now) {
			break
		}
		all.all.Remove(key)
	}
	e, there := all.all.Peek(key) // in the order of their beginnings
	if !there || e.over(now) {
		e = new(redemption)
		all.all.Add(key, e)
	}
	return e
}

func (e *redemption) over(now time.Time) bool {
	return e.flight == nil && now.Sub(e.ended) > outcomeTime
}

// launch redeems an answer; l.redemptions is locked.
func (l *Login) launch(e *redemption, reply url.Values, fl *flow) {
	flight, done := make(chan struct{}), e.progress
	e.flight = flight
	l.redemptions.underWay++
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), redeemTime)
		defer cancel()
		_, err := guarded(func() (struct{}, error) { return struct{}{}, l.redeemed(ctx, &done, reply, fl) })
		if l.told(err) == nil {
			l.sessions.tell(LoginEnded, OK)
			l.sessions.tell(SessionStarted, OK)
		}
		l.redemptions.mu.Lock()
		defer l.redemptions.mu.Unlock()
		defer close(flight)
		l.redemptions.underWay--
		e.flight, e.ended, e.progress, e.err = nil, time.Now(), done, err
	}()
}

// redeemed is the whole of a sign-in, in order: code, who it is, session. What it
// gets done is kept, even by a panic.
func (l *Login) redeemed(ctx context.Context, done *progress, reply url.Values, fl *flow) (err error) {
	if done.token == nil {
		if done.token, err = l.redeem(ctx, reply, fl.verifier); err != nil {
			return err
		}
	}
	if done.begun == nil {
		id, given, err := l.identity(ctx, done.token, fl)
		if err != nil {
			return err
		}
		done.begun = l.sessions.newSession(id, given)
	}
	done.made, err = l.sessions.keep(ctx, done.begun)
	return err
}
