package authntest

import (
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// How long an authorization request waits for its user, a code for its client,
// and a refresh token for its use.
const (
	requestLife = 15 * time.Minute
	codeLife    = time.Minute
	refreshLife = 30 * 24 * time.Hour
)

var errNotFound = errors.New("not found, or expired")

// store is everything the provider remembers, in memory. It knows no HTTP and
// no tokens' form. It is safe for concurrent use; what it hands out is not
// changed afterwards, but for the fields said to be guarded by it.
type store struct {
	tokenLife, sessionLife time.Duration

	mu       sync.Mutex
	users    map[string]*User
	clients  map[string]*registration
	requests map[string]*authRequest
	codes    map[string]*code
	tokens   map[string]*accessToken
	refresh  map[string]*refreshToken
	sessions map[string]*session // by the cookie's value
}

// A code stands for a signed-in request. It stays after its use, to be
// recognised when it is replayed.
type code struct {
	request *authRequest
	used    bool
}

type accessToken struct {
	grant   *grant
	scopes  []string
	issued  time.Time
	expires time.Time
	revoked bool
}

// A refreshToken is used once; the next one is handed out with its use.
type refreshToken struct {
	grant   *grant
	expires time.Time
	used    bool
}

// A session is a browser's session with the provider.
type session struct {
	id       string // sid: goes into ID tokens, unlike the cookie's value
	subject  string
	authTime time.Time
	expires  time.Time
}

func newStore(o Options, login func(string) string) *store {
	s := &store{
		tokenLife:   o.AccessTokenLife,
		sessionLife: o.SessionLife,
		users:       map[string]*User{},
		clients:     map[string]*registration{},
		requests:    map[string]*authRequest{},
		codes:       map[string]*code{},
		tokens:      map[string]*accessToken{},
		refresh:     map[string]*refreshToken{},
		sessions:    map[string]*session{},
	}
	for _, u := range o.Users {
		s.users[u.Name] = &u
	}
	for _, c := range o.Clients {
		r := &registration{Client: c, audiences: c.Audiences, login: login, idLife: o.IDTokenLife}
		if len(r.audiences) == 0 {
			r.audiences = o.Audiences
		}
		if len(r.audiences) == 0 {
			r.audiences = []string{c.ID}
		}
		s.clients[c.ID] = r
	}
	return s
}

func (s *store) client(id string) (*registration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.clients[id]; ok {
		return c, nil
	}
	return nil, oidc.ErrInvalidClient().WithDescription("unknown client")
}

// setUser adds u, or replaces who had its name.
func (s *store) setUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[u.Name] = &u
}

// login returns the user whose name and password these are. An unknown name
// takes as long as a wrong password.
func (s *store) login(name, password string) (*User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, known := s.users[name]
	if !known {
		u = &User{}
	}
	return u, same(u.Password, password) && known
}

func (s *store) userNamed(name string) (*User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.users[name]
	return u, ok
}

func (s *store) user(subject string) (*User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.users {
		if u.subject() == subject {
			return u, true
		}
	}
	return nil, false
}

// addRequest keeps r until its user has signed in, and returns it with an ID.
// hint is whom the client expects, if it said.
func (s *store) addRequest(r oidc.AuthRequest, hint string, now time.Time) (*authRequest, error) {
	c, err := s.client(r.ClientID)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now)
	kept := &authRequest{AuthRequest: r, id: rand.Text(), hint: hint, audience: c.audiences, expires: now.Add(requestLife)}
	s.requests[kept.id] = kept
	return kept, nil
}

func (s *store) request(id string, now time.Time) (*authRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.requests[id]
	if !ok || now.After(r.expires) {
		return nil, errNotFound
	}
	return r, nil
}

func (s *store) deleteRequest(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, id)
}

// addCode returns a code for r, whose user is the one of the session b. A request may
// get several (a second click on the button); each is good once.
func (s *store) addCode(r *authRequest, b *session, now time.Time) string {
	signedIn := *r
	signedIn.expires = now.Add(codeLife)
	signedIn.grant = &grant{
		client: r.ClientID, subject: b.subject, scopes: r.Scopes, audience: r.audience,
		session: b.id, authTime: b.authTime,
	}
	value := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[value] = &code{request: &signedIn}
	return value
}

// redeem returns what a code stands for, once. A second use ends every token
// that came of the first (RFC 6749 section 4.1.2): one of the two was a thief.
func (s *store) redeem(value string, now time.Time) (*authRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.codes[value]
	if !ok || now.After(c.request.expires) {
		return nil, errNotFound
	}
	if c.used {
		c.request.grant.revoked = true
		return nil, errors.New("the code has been used before")
	}
	c.used = true
	return c.request, nil
}

// sweep forgets what has expired, so that a demonstration may run for months.
func (s *store) sweep(now time.Time) {
	maps.DeleteFunc(s.requests, func(_ string, r *authRequest) bool { return now.After(r.expires) })
	maps.DeleteFunc(s.codes, func(_ string, c *code) bool { return now.After(c.request.expires) })
	maps.DeleteFunc(s.tokens, func(_ string, t *accessToken) bool { return now.After(t.expires) })
	maps.DeleteFunc(s.sessions, func(_ string, b *session) bool { return now.After(b.expires) })
	maps.DeleteFunc(s.refresh, func(_ string, t *refreshToken) bool { return now.After(t.expires) })
}

// addToken keeps an access token of g and returns its ID (jti).
func (s *store) addToken(g *grant, scopes []string, now time.Time) (id string, expires time.Time) {
	t := &accessToken{grant: g, scopes: slices.Clone(scopes), issued: now, expires: now.Add(s.tokenLife)}
	id = rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[id] = t
	return id, t.expires
}

// token returns a copy of the access token with that ID while it is good.
func (s *store) token(id string, now time.Time) (accessToken, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[id]
	if !ok || t.revoked || t.grant.revoked || now.After(t.expires) {
		return accessToken{}, false
	}
	return *t, true
}

// rotate returns a new refresh token of g, in exchange for old unless that is
// empty. The exchange is atomic: of two uses of one token exactly one succeeds.
func (s *store) rotate(g *grant, old string, now time.Time) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old != "" {
		t, err := s.unused(old, now)
		if err != nil {
			return "", err
		}
		t.used = true
	}
	value := rand.Text()
	s.refresh[value] = &refreshToken{grant: g, expires: now.Add(refreshLife)}
	return value, nil
}

// refreshable returns the grant of a refresh token that may be used.
func (s *store) refreshable(value string, now time.Time) (*grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.unused(value, now)
	if err != nil {
		return nil, err
	}
	return t.grant, nil
}

// unused returns a refresh token that may be used. A second use ends the grant:
// one of the two users was a thief (RFC 9700 section 4.14.2). s.mu is held.
func (s *store) unused(value string, now time.Time) (*refreshToken, error) {
	t, ok := s.refresh[value]
	if !ok || t.grant.revoked || now.After(t.expires) {
		return nil, errNotFound
	}
	if t.used {
		t.grant.revoked = true
		return nil, errors.New("the refresh token has been used before")
	}
	return t, nil
}

// revokeToken ends one of client's tokens (RFC 7009), given by its ID if it is an
// access token: a refresh token with its whole grant. It is false for a token of
// another client; a token that is not there needs no revoking.
func (s *store) revokeToken(token, client string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.refresh[token]; ok {
		if t.grant.client != client {
			return false
		}
		t.grant.revoked = true
	}
	if t, ok := s.tokens[token]; ok {
		if t.grant.client != client {
			return false
		}
		t.revoked = true
	}
	return true
}
