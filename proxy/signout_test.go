package proxy_test

import (
	"strings"
	"testing"

	"amlproxy/authn"
)

// TestSigningOutEverywhereIsNoLinkToFollow: signing out of one browser may be.
func TestSigningOutEverywhereIsNoLinkToFollow(t *testing.T) {
	h := village(t, gate{})
	navigation := []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Cookie: amlproxy=alice"}
	for _, c := range []struct {
		method, query, site string
		status              int
	}{
		{"GET", "", "cross-site", 200},
		{"GET", "", "same-origin", 200},
		{"POST", "", "cross-site", 403},
		{"GET", "?everywhere=1", "same-origin", 405},
		{"GET", "?everywhere=1", "none", 405}, // typed in, or a link in a message
		{"GET", "?everywhere=1", "cross-site", 405},
		{"GET", "?everywhere=1", "", 405},
		{"HEAD", "?everywhere=1", "same-origin", 405},
		{"POST", "?everywhere=1", "same-origin", 200},
		{"POST", "?everywhere=1", "cross-site", 403},
		{"POST", "?everywhere=1", "same-site", 403},
	} {
		fields := navigation
		if c.site != "" {
			fields = append(fields[:len(fields):len(fields)], "Sec-Fetch-Site: "+c.site)
		}
		if a := h.ask(t, c.method, "/oauth2/sign_out"+c.query, "", fields...); a.status != c.status {
			t.Errorf("%+v: %d", c, a.status)
		}
	}
}

func TestBackchannelLogoutIsTheLogins(t *testing.T) {
	h := village(t, gate{})
	if a := h.ask(t, "POST", "/oauth2/backchannel_logout", "logout_token=x", "Content-Type: application/x-www-form-urlencoded"); a.status != 200 || !strings.HasPrefix(a.body, "back-channel") {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, method := range []string{"GET", "PUT", "OPTIONS"} {
		if a := h.ask(t, method, "/oauth2/backchannel_logout", ""); a.status != 405 || a.Header.Get("Allow") != "POST" {
			t.Errorf("%s: %d, Allow %q", method, a.status, a.Header.Get("Allow"))
		}
	}
	broken := village(t, gate{&authn.Error{Kind: authn.ErrInvalid, Malformed: true, Detail: "the logout token has no jti"}})
	if a := broken.ask(t, "POST", "/oauth2/backchannel_logout", "logout_token=x"); a.status != 400 || a.Header.Get("Cache-Control") != "no-store" || !strings.Contains(a.body, "no jti") {
		t.Errorf("%d %v %s", a.status, a.Header, a.body)
	}
}

// TestWhatCannotBeReachedIsNamed: the provider, or the session store.
func TestWhatCannotBeReachedIsNamed(t *testing.T) {
	for _, c := range []struct {
		err  error
		says string
	}{
		{&authn.Error{Kind: authn.ErrUnavailable}, "The identity provider cannot be reached."},
		{&authn.Error{Kind: authn.ErrUnavailable, Store: true}, "The session store cannot be reached."},
	} {
		a := village(t, gate{c.err}).ask(t, "POST", "/oauth2/sign_out", "")
		if a.status != 503 || a.Header.Get("Retry-After") == "" || !strings.Contains(a.body, c.says) || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%d %v %s", a.status, a.Header, a.body)
		}
	}
}
