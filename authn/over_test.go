package authn_test

import (
	"net/http"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/authn"
)

// vouched is who s says that r comes from.
func vouched(t testing.TB, s *authn.Sessions, r *http.Request) *authn.Identity {
	t.Helper()
	return must(s.Authenticate(http.Header{}, r))(t)
}

func wantOver(t testing.TB, when string, s *authn.Sessions, ids []*authn.Identity, want ...bool) {
	t.Helper()
	if over, err := s.Over(t.Context(), ids); err != nil || !slices.Equal(over, want) {
		t.Errorf("%s: %v %v, want %v", when, over, err, want)
	}
}

// TestSignOutIsKnownToWhatGoesOn: what was let in before, and who is none of a
// session's, is told apart.
func TestSignOutIsKnownToWhatGoesOn(t *testing.T) {
	for name, alter := range map[string]func(*authn.SessionsConfig){"cookies": func(*authn.SessionsConfig) {}, "Redis": startRedis(t).shared(t)} {
		w := newWorld(t, 2, alter)
		s, other := w.replicas[0].sessions, w.replicas[1].sessions
		var requests []*http.Request
		ids := []*authn.Identity{nil, {Issuer: w.provider.Issuer(), Subject: "user-alice", Method: authn.ByBearer}}
		for range 3 {
			w.browser = w.newBrowser(t)
			w.signIn(t)
			r := w.cookies(t)
			requests, ids = append(requests, r), append(ids, vouched(t, s, r))
		}
		wantOver(t, name+", nothing ended", s, ids, false, false, false, false, false)
		if _, err := s.End(http.Header{}, requests[1], false); err != nil {
			t.Fatal(err)
		}
		wantOver(t, name+", one ended", s, ids, false, false, false, true, false)
		wantOver(t, name+", elsewhere", other, ids, false, false, false, s.Shared(), false)
		if _, err := s.End(http.Header{}, requests[0], true); err != nil {
			t.Fatal(err)
		}
		wantOver(t, name+", everywhere", s, ids, false, false, true, true, true)
	}
}

func TestBackchannelLogoutIsKnownToWhatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s := w.replicas[0].sessions
		sid := w.sidOf(t)
		one := vouched(t, s, w.cookies(t))
		w.browser = w.newBrowser(t)
		w.signIn(t)
		two := vouched(t, s, w.cookies(t))
		answer, err := w.logout(t, w.replicas[0], w.sign(t, w.logoutClaims(map[string]any{"sid": sid, "sub": nil})))
		loggedOut(t, answer, err)
		wantOver(t, "one", s, []*authn.Identity{one, two}, true, false)
	})
}

// TestSessionThatNobodyUsesIsOver, and being asked about is no use of it, while a
// request is.
func TestSessionThatNobodyUsesIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(t)
		_, first := started(t, s, alice())
		_, second := started(t, s, alice())
		ids := []*authn.Identity{vouched(t, s, first), vouched(t, s, second)}
		for range 59 {
			wantOver(t, "in time", s, ids, false, false)
			time.Sleep(time.Minute)
			_ = vouched(t, s, second)
		}
		time.Sleep(2 * time.Minute)
		wantOver(t, "later", s, ids, true, false)
	})
}

// TestSessionThatRedisForgotIsOver, and one that Redis cannot be asked about is not.
func TestSessionThatRedisForgotIsOver(t *testing.T) {
	db := startRedis(t)
	s := newSessions(t, db.shared(t))
	ids := make([]*authn.Identity, 2500) // more than are asked about at once
	_, r := started(t, s, alice())
	for i := range ids {
		ids[i] = vouched(t, s, r)
	}
	if over, err := s.Over(t.Context(), ids); err != nil || slices.Contains(over, true) {
		t.Errorf("%v", err)
	}
	db.signal(t, syscall.SIGSTOP)
	if err := within(t, func() error { return second(s.Over(t.Context(), ids)) }); err == nil {
		t.Error("Redis is frozen and said something")
	}
	db.signal(t, syscall.SIGCONT)
	eventually(t, "Redis answers", func() bool { _, err := s.Over(t.Context(), ids); return err == nil })
	db.do(t, "FLUSHALL")
	if over, err := s.Over(t.Context(), ids); err != nil || slices.Contains(over, false) {
		t.Errorf("%v", err)
	}
}
