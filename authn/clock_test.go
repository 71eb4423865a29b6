package authn_test

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
	"amlproxy/internal/secret"
)

// shifted moves every time of a token, as a provider does whose clock differs.
func shifted(claims map[string]any, by time.Duration) {
	for _, name := range []string{"iat", "nbf", "exp", "auth_time"} {
		if at, err := strconv.ParseInt(fmt.Sprint(claims[name]), 10, 64); err == nil {
			claims[name] = at + int64(by.Seconds())
		} else if at, err := strconv.ParseFloat(fmt.Sprint(claims[name]), 64); err == nil {
			claims[name] = int64(at + by.Seconds())
		}
	}
}

// TestProviderWithAnotherClock: F13. Nobody notices 30 s; a token that expired 10
// minutes ago, or is not to begin for 10 minutes, is refused.
func TestProviderWithAnotherClock(t *testing.T) {
	for by, want := range map[time.Duration]bool{
		0: true, 30 * time.Second: true, -30 * time.Second: true, 10 * time.Minute: false, -10 * time.Minute: false,
	} {
		t.Run(fmt.Sprint(by), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1)
				s := w.replicas[0]
				// Tokens of 30 s: at -30 s they are at their end when they come, at -10 min
				// 10 minutes past it.
				claims := func() map[string]any {
					now := time.Now()
					c := map[string]any{
						"iss": w.provider.Issuer(), "aud": audience, "sub": "job", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Unix(),
					}
					shifted(c, by)
					if by >= 0 {
						c["exp"] = now.Add(by + time.Hour).Unix()
					}
					return c
				}
				_, err := s.bearer.Authenticate(nil, request("Authorization", "Bearer "+sign(t, w.provider, claims())))
				if want != (err == nil) {
					t.Errorf("bearer: %v", err)
				}
				if err != nil {
					wantError(t, err, authn.ErrInvalid)
				}
				w.provider.Misbehave(authntest.AlterIDToken(func(t *authntest.Token) {
					shifted(t.Claims, by)
					if by < 0 {
						t.Claims["exp"] = time.Now().Add(by).Unix()
					}
				}))
				answer := must(authntest.SignIn(t.Context(), w.browser, partyURL+"/oauth2/start", "alice", "pw"))(t)
				_ = answer.Body.Close()
				if want != (answer.StatusCode == http.StatusOK) {
					t.Errorf("login: %s", answer.Status)
				}
				if !want {
					wantError(t, s.lastFailure(t), authn.ErrForbidden)
					return
				}
				// Renewals and logout tokens are held to the same.
				time.Sleep(16 * time.Minute)
				served(t, ask(s.sessions, w.cookies(t), 3)(), true)
				logout := w.logoutClaims(nil)
				shifted(logout, by)
				got, err := w.logout(t, s, w.sign(t, logout))
				loggedOut(t, got, err)
			})
		})
	}
}

// TestClockIsSet: F13. A session is made by one clock and read by one that was set
// since. It ends no later than it said when it was made, and a forward jump of 30 s
// ends none but those that were about to.
func TestClockIsSet(t *testing.T) {
	key := []secret.Value{newSecret()}
	same := func(c *authn.SessionsConfig) { c.Secrets, c.Idle, c.Max = key, time.Hour, 3*time.Hour }
	var cookies []*http.Request // of sessions used 0 to 59 minutes before noon
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(t, same)
		time.Sleep(11 * time.Hour)
		for range 60 {
			time.Sleep(time.Minute)
			_, r := started(t, s, alice())
			cookies = append(cookies, r)
		}
	})
	alive := func(noonIsNow time.Duration) (n int) {
		synctest.Test(t, func(t *testing.T) {
			s := newSessions(t, same)
			time.Sleep(12*time.Hour + noonIsNow)
			for _, r := range cookies {
				answer := http.Header{}
				_, err := s.Authenticate(answer, r.Clone(t.Context()))
				if err != nil {
					wantError(t, err, authn.ErrInvalid)
					continue
				}
				n++
				for _, c := range setCookies(answer) { // used again: idle from now on, and never beyond Max
					if c.MaxAge > int(time.Hour/time.Second) {
						t.Errorf("set for %d s", c.MaxAge)
					}
				}
			}
		})
		return n
	}
	for by, want := range map[time.Duration]int{
		0: 60, 30 * time.Second: 60, -30 * time.Second: 60, time.Minute: 59, time.Hour: 0, -time.Hour: 60, 365 * 24 * time.Hour: 0,
	} {
		if got := alive(by); got != want {
			t.Errorf("set by %v: %d sessions alive, want %d", by, got, want)
		}
	}

	// Whatever the clock says, a session is used for no longer than Max by it.
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(t, same)
		time.Sleep(11 * time.Hour) // noon, set back by an hour
		r, last := cookies[59].Clone(t.Context()), time.Duration(0)
		for range 400 {
			answer := http.Header{}
			if _, err := s.Authenticate(answer, r); err == nil {
				last = time.Since(time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC))
			}
			if len(answer) > 0 {
				r = carry(answer, request())
			}
			time.Sleep(time.Minute)
		}
		if last > 3*time.Hour || last < 2*time.Hour+50*time.Minute {
			t.Errorf("used until %v after it began", last)
		}
	})
}
