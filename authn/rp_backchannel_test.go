package authn_test

import (
	"testing"
	"testing/synctest"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
)

// The modules of the certification profile "Back-Channel Logout RP", by their
// names. Each signs in, has a logout token sent, and looks at the answer and at
// what became of the session.

func backchannel(t *testing.T, alter map[string]any, more ...authntest.SignOption) (accepted bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s := w.replicas[0]
		w.signIn(t)
		session := w.cookies(t)
		answer, err := w.logout(t, s, w.sign(t, w.logoutClaims(alter), more...))
		accepted = err == nil
		if !accepted {
			notLoggedOut(t, answer, err) // 400, not to be cached (section 2.8)
			served(t, ask(s.sessions, session, 1)(), false)
			return
		}
		loggedOut(t, answer, err)
		wantError(t, ask(s.sessions, session, 1)()[0].err, authn.ErrInvalid)
	})
	return accepted
}

func TestRP_oidcc_client_test_rp_backchannel_rpinitlogout(t *testing.T) {
	if !backchannel(t, nil) {
		t.Error("a good logout token was refused")
	}
}

func TestRP_oidcc_client_test_rp_backchannel_rpinitlogout_alg_none(t *testing.T) {
	if backchannel(t, nil, authntest.Unsigned()) {
		t.Error("accepted")
	}
}

func TestRP_oidcc_client_test_rp_backchannel_rpinitlogout_wrong_alg(t *testing.T) {
	if backchannel(t, nil, authntest.WithKey("HS256", []byte("web-secret-web-secret-web-secret"))) {
		t.Error("accepted")
	}
}

func TestRP_oidcc_client_test_rp_backchannel_rpinitlogout_no_event(t *testing.T) {
	if backchannel(t, map[string]any{"events": nil}) {
		t.Error("accepted")
	}
}

func TestRP_oidcc_client_test_rp_backchannel_rpinitlogout_wrong_event(t *testing.T) {
	if backchannel(t, map[string]any{"events": map[string]any{"http://schemas.openid.net/event/another": map[string]any{}}}) {
		t.Error("accepted")
	}
}

func TestRP_oidcc_client_test_rp_backchannel_rpinitlogout_with_nonce(t *testing.T) {
	if backchannel(t, map[string]any{"nonce": "n"}) {
		t.Error("accepted")
	}
}

func TestRP_oidcc_client_test_rp_backchannel_rpinitlogout_wrong_aud(t *testing.T) {
	if backchannel(t, map[string]any{"aud": "another"}) {
		t.Error("accepted")
	}
}

func TestRP_oidcc_client_test_rp_backchannel_rpinitlogout_wrong_iss(t *testing.T) {
	if backchannel(t, map[string]any{"iss": "https://another.example"}) {
		t.Error("accepted")
	}
}
