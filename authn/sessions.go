package authn

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
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
	// Refresh is how old claims and the time of last use may grow before they are
	// renewed. It counts as half of Idle if it is more than that, since else a
	// session in use would end as idle.
	Refresh time.Duration
	// Observe, if not nil, is told what becomes of logins and sessions. It must not
	// block.
	Observe func(Event)
	// Redis keeps the sessions, for all replicas together. nil: each is in its cookie.
	Redis *Redis
}

// Sessions is the Authenticator of the session cookie.
//
// Without Redis the session is in the cookie itself, sealed: any replica with
// the secret can read it, and a restart ends none. What was ended before its
// time (a sign-out, a back-channel logout) is then known to this process alone,
// until it restarts: elsewhere a copy of the cookie works until it is idle.
//
// With Redis the cookie holds an identifier, sealed too, and a session that was
// ended is gone everywhere.
//
// A Login that is made with it renews the claims of its sessions.
type Sessions struct {
	keeper  keeper
	cookies cookies
	secrets []secret.Value
	sealers []*sealer // all that are made of the secrets
	lifetimes
	ended    *ended
	uses     *uses
	renewals *renewals
	observe  func(Event)
	source   source // nil until there is a Login, as the next two are
	admits   func(*Identity) bool
	// vocabulary is of the rules in force.
	vocabulary func() string
}

// A keeper is where sessions are between requests. Its errors wrap
// ErrUnavailable where it cannot be asked; any other says that there is no such
// session.
type keeper interface {
	// begin keeps a session, and returns the cookie's value and its end.
	begin(ctx context.Context, held *session) (value string, expires time.Time, err error)
	// find returns the session that a cookie's value stands for. Only if it is to
	// be whole, a refresh token that nothing needs yet is read as well.
	find(ctx context.Context, value string, now time.Time, whole bool) (*session, error)
	// renew lets ask renew a session, once for all who share the keeper, and keeps
	// what comes of it.
	renew(ctx context.Context, held *session, ask func(context.Context, *session) (*session, error)) (*session, error)
	// end forgets a session, endAll those that a provider means. It returns the
	// refresh tokens that they had, as far as it knows them.
	end(ctx context.Context, held *session) error
	endAll(ctx context.Context, which logout) (refresh []secret.Value, err error)
	// over reports of each whether it was ended, or not used for too long.
	over(ctx context.Context, held []*session) ([]bool, error)
	// used reports whether use was called with name, until the time given then.
	used(ctx context.Context, name string) (bool, error)
	use(ctx context.Context, name string, until time.Time) error
}

// NewSessions returns Sessions, or an error if a secret is missing, short or a
// placeholder, or a lifetime is not positive.
func NewSessions(cfg SessionsConfig) (*Sessions, error) {
	session, err := newSealer(cfg.Secrets, "session")
	if err != nil {
		return nil, err
	}
	if cfg.Idle <= 0 || cfg.Max <= 0 {
		return nil, errors.New("a session needs an idle and a maximal lifetime")
	}
	if cfg.Refresh < 0 {
		return nil, errors.New("the refresh time of a session is negative")
	}
	s := &Sessions{
		cookies: cookies{cfg.Secure}, secrets: cfg.Secrets, observe: cfg.Observe,
		lifetimes: lifetimes{idle: cfg.Idle, max: cfg.Max, refresh: min(cfg.Refresh, cfg.Idle/2)},
		uses:      new(uses),
	}
	if s.ended, err = newEnded(); err != nil {
		return nil, err
	}
	var mercy time.Duration
	if cfg.Redis == nil {
		mercy = min(siblingTime, s.refresh/2)
		s.refresh -= mercy // together they are what was asked for
	}
	s.renewals = newRenewals(s.lifetimes, mercy)
	if cfg.Redis == nil {
		s.keeper = &inCookies{sealer: session, name: s.cookies.name(), lifetimes: s.lifetimes, ended: s.ended, uses: s.uses}
		s.sealers = []*sealer{session}
		return s, nil
	}
	shared, err := newInRedis(cfg.Redis.client, cfg.Secrets, s.cookies.name(), s.lifetimes)
	if err != nil {
		return nil, err
	}
	s.keeper, s.sealers = shared, []*sealer{shared.cookie, shared.value}
	return s, nil
}

// SetSecrets replaces the secrets that everything is sealed with, logins under way
// included: all at once for whoever seals from now on, or not at all. It is not for
// concurrent use with itself.
func (s *Sessions) SetSecrets(secrets []secret.Value) error {
	fresh := make([][]cipher.AEAD, len(s.sealers))
	for i, of := range s.sealers {
		var err error
		if fresh[i], err = deriveAEADs(secrets, of.purpose); err != nil {
			return err
		}
	}
	for i, of := range s.sealers {
		of.aeads.Store(&fresh[i])
	}
	return nil
}

// Shared reports whether all replicas share the sessions, and an end of one is
// an end everywhere.
func (s *Sessions) Shared() bool {
	_, alone := s.keeper.(*inCookies)
	return !alone
}

// Authenticate implements Authenticator. A cookie that is there and cannot be
// used (expired, ended, altered, sealed with a secret since dropped) is ErrInvalid
// with Error.Bearer unset: a navigation is to be sent to the login, a program to
// get a 401 without an error code. All those look the same to the caller. The
// cookie is left alone, since another replica may know the secret that this one
// does not know yet; the next login replaces it. ErrUnavailable says that Redis
// did not answer in time.
//
// A session that is older than the refresh time is renewed, which may wait for
// the provider; a new cookie is added to answer. Where no answer can carry one it
// is nil, and nothing is renewed.
func (s *Sessions) Authenticate(answer http.Header, r *http.Request) (*Identity, error) {
	now := time.Now()
	held, err := s.find(r, now, false)
	if err != nil {
		return nil, err
	}
	if answer == nil {
		return s.known(held.identity), nil
	}
	current, err := s.current(r.Context(), held, now)
	if err != nil {
		return nil, err
	}
	if !s.Shared() && (current != held || s.unused(held, now)) {
		current = current.as(time.Now())
		_ = s.carry(answer, r, current) // if it does not fit, the old cookie still serves
	}
	return s.vouch(current), nil
}

// known returns id, marked if it was made for other rules than those in force.
func (s *Sessions) known(id *Identity) *Identity {
	if s.vocabulary == nil || s.vocabulary() == id.Vocabulary {
		return id
	}
	id = id.clone()
	id.Incomplete = true
	return id
}

// find returns the session that r carries.
func (s *Sessions) find(r *http.Request, now time.Time, whole bool) (*session, error) {
	values := s.cookies.values(r)
	if len(values) == 0 && len(r.CookiesNamed(s.cookies.name())) == 0 {
		return nil, ErrNone
	}
	err := errSeal
	for _, value := range values {
		var held *session
		held, err = s.keeper.find(r.Context(), value, now, whole)
		if err == nil && s.admits != nil && !s.admits(held.identity) {
			err = fmt.Errorf("session %s is of %q, tenant %q", held.label(), held.identity.Issuer, held.identity.Tenant)
		}
		if err == nil {
			return held, nil
		}
		if errors.Is(err, ErrUnavailable) {
			return nil, err
		}
	}
	return nil, caused(invalid("the session has ended"), err)
}

// unused reports whether the time of last use is to be renewed. While the claims
// should be and cannot, it waits longer: another replica may have renewed them,
// and its cookie must not be replaced with the older one.
func (s *Sessions) unused(held *session, now time.Time) bool {
	if held.young {
		return false
	}
	if s.due(held, now) {
		return older(held.used, now, s.idle/2)
	}
	return older(held.used, now, s.refresh+s.renewals.mercy)
}

// Start begins a session for id and adds its cookie to answer. Its identifier
// is new whatever r carries, so that nobody can plant one and wait for its owner
// to sign in (session fixation). What does not fit into the cookies that a browser
// keeps is ErrForbidden.
func (s *Sessions) Start(answer http.Header, r *http.Request, id *Identity, tokens Tokens) error {
	return s.carry(answer, r, s.newSession(id, tokens))
}

// newSession returns one that begins now. Its identifier is new.
func (s *Sessions) newSession(id *Identity, tokens Tokens) *session {
	now := time.Now()
	begun := &session{id: rand.Text(), created: now, used: now, claimed: now, identity: id, tokens: tokens}
	s.ended.begun(begun)
	return begun
}

// carry adds the cookie of a session to answer.
func (s *Sessions) carry(answer http.Header, r *http.Request, held *session) error {
	made, err := s.keep(r.Context(), held)
	if err != nil {
		return err
	}
	return s.hand(answer, r, made)
}

// kept is a session that its keeper has, as a cookie stands for it.
type kept struct {
	held       *session
	tag, value string
	expires    time.Time
}

func (s *Sessions) keep(ctx context.Context, held *session) (kept, error) {
	value, expires, err := s.keeper.begin(ctx, held)
	if err != nil {
		return kept{}, err
	}
	return kept{held, rand.Text()[:tagSize], value, expires}, nil
}

// hand adds a cookie to answer.
func (s *Sessions) hand(answer http.Header, r *http.Request, made kept) error {
	if !s.cookies.write(answer, r, made.tag, made.value, made.expires) {
		return forbidden("the session does not fit into the cookies that browsers keep: %d groups, %d roles, and a refresh token of %d bytes",
			len(made.held.identity.Groups), len(made.held.identity.Roles), len(made.held.tokens.Refresh.Reveal()))
	}
	return nil
}

// End ends the session that r carries, or with everywhere all sessions of that
// person, and removes the cookie from the browser. It returns the ID token that
// the session held, if any, for the logout at the provider (id_token_hint).
//
// It is ErrUnavailable if Redis cannot be told, and with everywhere also ErrNone
// or ErrInvalid if r carries no session; the cookie is kept then, since what it
// stands for is.
func (s *Sessions) End(answer http.Header, r *http.Request, everywhere bool) (idToken secret.Value, err error) {
	tokens, _, err := s.end(answer, r, everywhere)
	return tokens.ID, err
}

// end is End. It returns all that the session held, and what else is known of the
// refresh tokens that are not needed any more.
func (s *Sessions) end(answer http.Header, r *http.Request, everywhere bool) (tokens Tokens, others []secret.Value, err error) {
	held, err := s.find(r, time.Now(), true)
	switch {
	case err == nil && everywhere:
		others, err = s.keeper.endAll(r.Context(), logout{issuer: held.identity.Issuer, subject: held.identity.Subject})
	case err == nil:
		err = s.keeper.end(r.Context(), held)
	case !everywhere && !errors.Is(err, ErrUnavailable):
		held, err = new(session), nil // there is nothing to end but a broken cookie
	}
	if err != nil {
		return Tokens{}, nil, err
	}
	switch {
	case everywhere:
		s.tell(SessionEnded, Everywhere)
	case held.identity != nil:
		s.tell(SessionEnded, SignOut)
	}
	s.cookies.set(answer, s.cookies.name(), "", time.Time{}, http.SameSiteLaxMode)
	s.cookies.clear(answer, r, 1)
	return s.renewals.latest(held).tokens, others, nil
}
