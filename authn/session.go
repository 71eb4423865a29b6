package authn

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"

	"amlproxy/internal/secret"
)

// A session is one person's, in one browser, since one login.
type session struct {
	id            string // random; Identity.Session is derived from it
	created, used time.Time
	// claimed is when the provider said what identity says, and turn counts how
	// often it was asked since the login: of two versions of a session the one
	// with the higher turn is newer, whatever the clocks say.
	claimed  time.Time
	turn     uint64
	identity *Identity
	tokens   Tokens
	// young says that there is a refresh token, which was not read, because
	// nothing is to be renewed yet: most requests are spared a copy of it. What is
	// young is never written.
	young bool
}

// renewable reports whether the session has a refresh token.
func (held *session) renewable() bool { return held.young || !held.tokens.Refresh.IsZero() }

// label returns a name for logs from which the identifier cannot be told.
func (held *session) label() string {
	var room [64]byte
	sum := sha256.Sum256(append(append(room[:0], "session "...), held.id...))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// as returns a copy that shares nothing that a request may change.
func (held *session) as(used time.Time) *session {
	c := *held
	c.used, c.identity = used, held.identity.clone()
	return &c
}

// lifetimes are those of all sessions.
type lifetimes struct{ idle, max, refresh time.Duration }

// expires returns the end of a session that is not used again.
func (l lifetimes) expires(held *session) time.Time {
	return earlier(held.used.Add(l.idle), held.created.Add(l.max))
}

// check completes a session that was kept, unless it is over. Lifetimes that
// were shortened since apply to it too.
func (l lifetimes) check(held *session, now time.Time) (*session, error) {
	if !now.Before(l.expires(held)) {
		return nil, fmt.Errorf("session %s has expired", held.label())
	}
	id := held.identity
	id.Method, id.Session, id.Expires = BySession, held.label(), held.created.Add(l.max)
	return held, nil
}

// older reports whether t is longer ago than d. A time as far in the future is
// of a clock that was put back since, and counts as well.
func older(t, now time.Time, d time.Duration) bool { return now.Sub(t).Abs() > d }

// pack writes the fields; sealVersion belongs to their order. The ID token is
// left out unless there is room for it.
func (held *session) pack(room bool) []byte {
	id, p := held.identity, make(packer, 0, 512)
	p.text(held.id)
	p.instant(held.created)
	p.moment(held.used)
	p.instant(held.claimed)
	p.number(held.turn)
	for _, s := range []string{
		id.Issuer, id.Subject, id.Tenant, id.ObjectID, id.Client, id.Name, id.Username, id.Email, id.Vocabulary,
	} {
		p.text(s)
	}
	p.flags(id.EmailVerified, id.GroupsOmitted)
	p.texts(id.Groups)
	p.texts(id.Roles)
	p.table(id.Claims)
	p.moment(id.Time)
	p.text(held.tokens.Refresh.Reveal())
	p.text(held.tokens.Session)
	if room {
		p.text(held.tokens.ID.Reveal())
	} else {
		p.text("")
	}
	return p
}

func unpackSession(plain []byte) (*session, error) {
	return unpackUnless(plain, func(time.Time) bool { return false })
}

// unpackUnless leaves the refresh token out if young says so of the claims.
func unpackUnless(plain []byte, young func(claimed time.Time) bool) (*session, error) {
	u := unpacker{rest: plain}
	both := new(struct { // in one piece of memory
		session  session
		identity Identity
	})
	found, id := &both.session, &both.identity
	found.id, found.created, found.used, found.claimed, found.turn = u.text(), u.instant(), u.moment(), u.instant(), u.number()
	found.identity = id
	for _, s := range []*string{
		&id.Issuer, &id.Subject, &id.Tenant, &id.ObjectID, &id.Client, &id.Name, &id.Username, &id.Email, &id.Vocabulary,
	} {
		*s = u.text()
	}
	u.flags(&id.EmailVerified, &id.GroupsOmitted)
	id.Groups, id.Roles, id.Claims = u.texts(), u.texts(), u.table()
	id.Time = u.moment()
	if young(found.claimed) {
		found.young = u.skip()
	} else {
		found.tokens.Refresh = secret.New(u.text())
	}
	found.tokens.Session, found.tokens.ID = u.text(), secret.New(u.text())
	return found, u.end()
}
