package authntest

import (
	"crypto/rand"
	"net/http"
	"time"
)

// cookieName returns the name of the browser's session cookie. Cookies do not
// keep the ports of one host apart (RFC 6265 section 8.5), so the name has to:
// two providers on loopback are two sessions.
func (p *Provider) cookieName() string {
	name := "authntest"
	if port := p.base.Port(); port != "" {
		name += "-" + port
	}
	if p.base.Scheme == "https" {
		return "__Host-" + name
	}
	return name
}

// session returns the session of the browser that sent r, and the cookie's value.
func (p *Provider) session(r *http.Request) (*session, string) {
	c, err := r.Cookie(p.cookieName())
	if err != nil {
		return nil, ""
	}
	return p.store.session(c.Value, time.Now()), c.Value
}

// startSession signs the browser in as u. The cookie's value is always a new
// one, so that a value planted before the login is worth nothing after it.
func (p *Provider) startSession(w http.ResponseWriter, r *http.Request, u *User) *session {
	_, old := p.session(r)
	s, value := p.store.replaceSession(old, u.subject(), time.Now())
	p.setCookie(w, value, 0)
	return s
}

// endSession ends the session of the browser that sent r.
func (p *Provider) endSession(w http.ResponseWriter, r *http.Request) {
	if _, value := p.session(r); value != "" {
		p.store.dropSession(value)
		p.setCookie(w, "", -1)
	}
}

func (p *Provider) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: p.cookieName(), Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: p.base.Scheme == "https", SameSite: http.SameSiteLaxMode,
	})
}

func (s *store) session(value string, now time.Time) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.sessions[value]
	if !ok || now.After(b.expires) {
		return nil
	}
	return b
}

// replaceSession starts a session in place of the one with the old value. If
// the same user signs in again, it keeps its sid.
func (s *store) replaceSession(old, subject string, now time.Time) (*session, string) {
	b := &session{id: rand.Text(), subject: subject, authTime: now, expires: now.Add(s.sessionLife)}
	value := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if before, ok := s.sessions[old]; ok && before.subject == subject {
		b.id = before.id
	}
	delete(s.sessions, old)
	s.sessions[value] = b
	return b, value
}

func (s *store) dropSession(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, value)
}

// dropSessionID ends the session with that sid, whichever browser holds it.
func (s *store) dropSessionID(sid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for value, b := range s.sessions {
		if b.id == sid {
			delete(s.sessions, value)
		}
	}
}

// revoke ends what was granted by or to subject: sessions, refresh tokens and, at
// the provider's own endpoints, access tokens.
func (s *store) revoke(subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for value, b := range s.sessions {
		if b.subject == subject {
			delete(s.sessions, value)
		}
	}
	for _, t := range s.refresh {
		if t.grant.subject == subject {
			t.grant.revoked = true
		}
	}
	for _, t := range s.tokens {
		if t.grant.subject == subject {
			t.grant.revoked = true
		}
	}
}
