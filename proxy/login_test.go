package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"amlproxy/authn"
)

// TestLoginLoopHasAPage that says what is wrong, and a way to try again.
func TestLoginLoopHasAPage(t *testing.T) {
	h := village(t, gate{&authn.Error{Kind: authn.ErrForbidden, Detail: "the browser does not return its cookie", Err: fmt.Errorf("%w: CANARY", authn.ErrLoop)}})
	page := h.ask(t, "GET", "/oauth2/start?rd=/x&via=public", "", "Accept: text/html")
	if page.status != 403 || !strings.Contains(page.body, "The browser does not return its cookie.") || !strings.Contains(page.body, `href="/oauth2/sign_in"`) || strings.Contains(page.body, "CANARY") {
		t.Errorf("%d %s", page.status, page.body)
	}
	if got := h.ask(t, "GET", "/oauth2/start?rd=/x&via=public", "", "Accept: application/json").problem(t); got["type"] != "login-loop" {
		t.Errorf("%v", got)
	}
}

// TestSignInPageComesBackFromASignOut to where the login knows that it was to go.
func TestSignInPageComesBackFromASignOut(t *testing.T) {
	h := village(t, gate{})
	page := h.ask(t, "GET", "/oauth2/sign_in?state=abc", "", "Accept: text/html")
	if !strings.Contains(page.body, `href="/oauth2/start?rd=%2Fafter%2Fabc"`) || page.Header.Get("Set-Cookie") != "leaving=" {
		t.Errorf("%v %s", page.Header, page.body)
	}
}

// TestSignInPageClearsABrokenSession: the next one is not to be in its way.
func TestSignInPageClearsABrokenSession(t *testing.T) {
	h := village(t, gate{})
	page := h.ask(t, "GET", "/oauth2/sign_in", "", "Accept: text/html", "Cookie: amlproxy=nobody")
	if page.status != 200 || page.Header.Get("Set-Cookie") != "amlproxy=; Max-Age=0" {
		t.Errorf("%d %v", page.status, page.Header)
	}
	if page := h.ask(t, "GET", "/oauth2/sign_in", "", "Accept: text/html", "Cookie: amlproxy=alice"); strings.Contains(page.Header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("a session that is whole: %v", page.Header)
	}
}
