package authn

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"amlproxy/internal/secret"
)

// SessionsConfig is what NewSessions needs.
type SessionsConfig struct {
	// Secrets are 32 random bytes each, newest first: the first seals, all open.
	Secrets []secret.Value
	// Secure says that callers use https: the cookie is called __Host-amlproxy
	// and is Secure; else it is called amlproxy and is not.
	Secure bool
	// Idle ends a session that is not used, Max ends every session.
	Idle, Max time.Duration
	// Refresh is how old the time of last use may grow before the cookie is
	// renewed. It counts as half of Idle if it is more than that, since else a
	// session in use would end as idle.
	Refresh time.Duration
}

// Sessions is the Authenticator of the session cookie. The session is in the
// cookie itself, sealed: any replica with the secret can read it, and a restart
// ends none.
//
// Without a store there is no revocation: a copy of a cookie made before the
// sign-out works until it is idle.
type Sessions struct {
	sealer             *sealer
	cookies            cookies
	secrets            []secret.Value
	idle, max, refresh time.Duration
}

// NewSessions returns Sessions, or an error if a secret is missing, short or a
// placeholder, or a lifetime is not positive.
func NewSessions(cfg SessionsConfig) (*Sessions, error) {
	sealer, err := newSealer(cfg.Secrets, "session")
	if err != nil {
		return nil, err
	}
	if cfg.Idle <= 0 || cfg.Max <= 0 {
		return nil, errors.New("a session needs an idle and a maximal lifetime")
	}
	if cfg.Refresh < 0 {
		return nil, errors.New("the refresh time of a session is negative")
	}
	return &Sessions{
		sealer: sealer, cookies: cookies{cfg.Secure}, secrets: cfg.Secrets,
		idle: cfg.Idle, max: cfg.Max, refresh: min(cfg.Refresh, cfg.Idle/2),
	}, nil
}

// A session is what the cookie says.
type session struct {
	id            string // random; Identity.Session is derived from it
	created, used time.Time
	identity      *Identity
	tokens        Tokens
}

// Authenticate implements Authenticator. A cookie that is there and cannot be
// used (expired, altered, sealed with a secret since dropped) is ErrInvalid with
// Error.Bearer unset: a navigation is to be sent to the login, a program to get
// a 401 without an error code. All those look the same to the caller. The cookie
// is left alone, since another replica may know the secret that this one does
// not know yet; the next login replaces it.
//
// A session whose last use is older than the refresh time is renewed: its new
// cookie is added to answer, which may be nil where no answer can carry one.
func (s *Sessions) Authenticate(answer http.Header, r *http.Request) (*Identity, error) {
	values := s.cookies.values(r)
	if len(values) == 0 && len(r.CookiesNamed(s.cookies.name())) == 0 {
		return nil, &Error{Kind: ErrNone}
	}
	now := time.Now()
	err := errSeal
	for _, value := range values {
		var found *session
		if found, err = s.read(value, now); err != nil {
			continue
		}
		if answer != nil && now.Sub(found.used) > s.refresh {
			s.renew(answer, r, found, now)
		}
		return found.identity, nil
	}
	return nil, caused(invalid("the session has ended"), err)
}

// Start begins a session for id and adds its cookie to answer. Its identifier
// is new whatever r carries, so that nobody can plant one and wait for its owner
// to sign in (session fixation). An identity that does not fit into the cookies
// a browser keeps is ErrForbidden.
func (s *Sessions) Start(answer http.Header, r *http.Request, id *Identity, tokens Tokens) error {
	now := time.Now()
	return s.write(answer, r, &session{id: rand.Text(), created: now, used: now, identity: id, tokens: tokens})
}

// End removes the session cookie from the browser that sent r.
func (s *Sessions) End(answer http.Header, r *http.Request) {
	s.cookies.set(answer, s.cookies.name(), "", time.Time{}, http.SameSiteLaxMode)
	s.cookies.clear(answer, r, 1)
}

// renew is the one way in which a session goes on. Today that is a new time of
// last use; claims renewed with a refresh token belong here.
func (s *Sessions) renew(answer http.Header, r *http.Request, found *session, now time.Time) {
	found.used = now
	_ = s.write(answer, r, found) // it fitted before; if it does not now, the old cookie still serves
}

func (s *Sessions) write(answer http.Header, r *http.Request, held *session) error {
	expires := s.expires(held)
	value := s.sealer.seal(s.cookies.name(), expires, held.pack())
	if !s.cookies.write(answer, r, rand.Text()[:tagSize], value, expires) {
		return forbidden("the identity is too large for a session: it has %d groups and %d roles",
			len(held.identity.Groups), len(held.identity.Roles))
	}
	return nil
}

// expires returns the end of a session that is not used again.
func (s *Sessions) expires(held *session) time.Time {
	return earlier(held.used.Add(s.idle), held.created.Add(s.max))
}

// read opens a cookie's value. Lifetimes that were shortened since it was
// sealed apply to it too.
func (s *Sessions) read(value string, now time.Time) (*session, error) {
	plain, _, err := s.sealer.open(s.cookies.name(), value)
	if err != nil {
		return nil, err
	}
	found, err := unpackSession(plain)
	if err != nil {
		return nil, err
	}
	if !now.Before(s.expires(found)) {
		return nil, fmt.Errorf("session %s has expired", found.label())
	}
	id := found.identity
	id.Method, id.Session, id.Expires = BySession, found.label(), found.created.Add(s.max)
	return found, nil
}

// label returns a name for logs from which the identifier cannot be told.
func (held *session) label() string {
	sum := sha256.Sum256([]byte("session " + held.id))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// pack writes the fields; sealVersion belongs to their order.
func (held *session) pack() []byte {
	id, p := held.identity, make(packer, 0, 512)
	p.text(held.id)
	p.moment(held.created)
	p.moment(held.used)
	for _, s := range []string{
		id.Issuer, id.Subject, id.Tenant, id.ObjectID, id.Client, id.Name, id.Username, id.Email,
	} {
		p.text(s)
	}
	p.flags(id.EmailVerified, id.GroupsOmitted)
	p.texts(id.Groups)
	p.texts(id.Roles)
	p.table(id.Claims)
	p.moment(id.Time)
	return p
}

func unpackSession(plain []byte) (*session, error) {
	u := unpacker{rest: plain}
	id := new(Identity)
	found := &session{id: u.text(), created: u.moment(), used: u.moment(), identity: id}
	for _, s := range []*string{
		&id.Issuer, &id.Subject, &id.Tenant, &id.ObjectID, &id.Client, &id.Name, &id.Username, &id.Email,
	} {
		*s = u.text()
	}
	u.flags(&id.EmailVerified, &id.GroupsOmitted)
	id.Groups, id.Roles, id.Claims = u.texts(), u.texts(), u.table()
	id.Time = u.moment()
	return found, u.end()
}
