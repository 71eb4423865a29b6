package main_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestSignOutEverywhereInABrowser: the button ends the sessions of a person in all
// browsers, the policy of the page lets it, and the provider's session ends as well.
func TestSignOutEverywhereInABrowser(t *testing.T) {
	e := newEstate(t)
	here, there := browse(t, e), browse(t, e)
	here.signIn(e, "/", "alice")
	there.signIn(e, "/", "alice")
	here.open(e.url + "/oauth2/sign_in")
	here.picture("sign-out-everywhere")
	here.do("sign out everywhere", chromedp.Click("#sign-out-everywhere"))
	here.await(`location.pathname === "/oauth2/sign_in" && location.search !== "" && document.readyState === "complete"`)
	digits := e.Models[1]
	for who, b := range map[string]*tab{"here": here, "there": there} {
		if got := b.fetch("/models/"+digits.Name(), digits.Sample()); !strings.HasPrefix(got, "401 ") {
			t.Errorf("%s: %s", who, got)
		}
	}
	here.open(e.url + "/")
	here.await(`document.querySelector("input[name=password]") !== null`) // the provider's session is over, too
}
