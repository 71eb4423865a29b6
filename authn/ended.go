package authn

import (
	"crypto/sha256"
	"slices"
	"strconv"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxEnded bounds what one process remembers of each kind, in some 5 MiB. Beyond
// it the oldest is forgotten.
const maxEnded = 50_000

// A logout says which sessions are over: the one that the provider calls by
// that name, or all of a subject.
type logout struct{ issuer, subject, session string }

// key returns a name for what is over, of fixed length. The parts are put
// together so that they cannot be shifted into each other (CVE-2023-35941).
func (o logout) key() [sha256.Size]byte {
	kind, name := "sub", o.subject
	if o.session != "" {
		kind, name = "sid", o.session
	}
	return keyOf(kind, o.issuer, name)
}

func keyOf(parts ...string) [sha256.Size]byte {
	var all []byte
	for _, p := range parts {
		all = append(strconv.AppendInt(all, int64(len(p)), 10), ':')
		all = append(all, p...)
	}
	return sha256.Sum256(all)
}

// ended is what one process knows of sessions that are over before their time,
// although a seal still says otherwise. Sign-outs are kept apart from what a
// provider says, so that nobody can push the second out with the first.
type ended struct {
	ids     *lru.Cache[[sha256.Size]byte, struct{}]
	logouts *lru.Cache[[sha256.Size]byte, time.Time] // when; sessions begun later are others
	// later are sessions that this process began after such a logout, and when: the
	// clock that their seal was stamped by may have been set back since the logout.
	later *lru.Cache[[sha256.Size]byte, time.Time]

	mu   sync.Mutex
	seen *lru.Cache[[sha256.Size]byte, time.Time] // logout tokens, and until when they could come again
}

func newEnded() (*ended, error) {
	e := new(ended)
	var err error
	if e.ids, err = lru.New[[sha256.Size]byte, struct{}](maxEnded); err != nil {
		return nil, err
	}
	if e.logouts, err = lru.New[[sha256.Size]byte, time.Time](maxEnded); err != nil {
		return nil, err
	}
	if e.later, err = lru.New[[sha256.Size]byte, time.Time](maxEnded); err != nil {
		return nil, err
	}
	e.seen, err = lru.New[[sha256.Size]byte, time.Time](maxEnded)
	return e, err
}

func (e *ended) add(held *session)   { e.ids.Add(keyOf("id", held.id), struct{}{}) }
func (e *ended) addAll(which logout) { e.logouts.Add(which.key(), time.Now()) }

// has reports whether held is over.
func (e *ended) has(held *session) bool {
	if e.ids.Len() > 0 && e.ids.Contains(keyOf("id", held.id)) {
		return true
	}
	if e.logouts.Len() == 0 {
		return false
	}
	return slices.ContainsFunc(held.logouts(), func(which logout) bool {
		at, there := e.logouts.Peek(which.key())
		return there && !e.after(held, at, time.Now())
	})
}

// after reports whether held began after a logout. One that began in the future did
// so before the clock was set back, and nobody knows how long before.
func (e *ended) after(held *session, logout, now time.Time) bool {
	if began, known := e.later.Peek(keyOf("id", held.id)); known && began.After(logout) { // by the monotonic clock
		return true
	}
	return held.created.After(logout) && !held.created.After(now.Add(leeway))
}

// begun is told of each session that begins here.
func (e *ended) begun(held *session) {
	if slices.ContainsFunc(held.logouts(), func(which logout) bool { return e.logouts.Contains(which.key()) }) {
		e.later.Add(keyOf("id", held.id), time.Now())
	}
}

// logouts are those that mean held.
func (held *session) logouts() []logout {
	id := held.identity
	all := []logout{{issuer: id.Issuer, subject: id.Subject}}
	if held.tokens.Session != "" {
		all = append(all, logout{issuer: id.Issuer, session: held.tokens.Session})
	}
	return all
}

// used reports whether name was used, and may not be again.
func (e *ended) used(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	last, there := e.seen.Peek(keyOf("jti", name))
	return there && time.Now().Before(last)
}

func (e *ended) use(name string, until time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen.Add(keyOf("jti", name), until)
}
