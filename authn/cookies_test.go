package authn_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"amlproxy/authn"
)

// TestTossedCookies: over http a sibling host can set cookies of our name; the
// genuine one is found among them, wherever it stands.
func TestTossedCookies(t *testing.T) {
	s := newSessions(t, func(c *authn.SessionsConfig) { c.Secure = false })
	big := alice()
	big.Groups = numbered(repeated("group", 20), 60)
	for name, id := range map[string]*authn.Identity{"one cookie": alice(), "chunks": big} {
		t.Run(name, func(t *testing.T) {
			_, genuine := started(t, s, id)
			for _, junk := range []string{"", "x", "1AAAAAAAAjunk", "2AAAAAAAAjunk", "4AAAAAAAA", "9999999AAAAAAAAA"} {
				toss := "amlproxy=" + junk + "; amlproxy-1=AAAAAAAAjunk; amlproxy-1=; amlproxy-2=junk"
				for _, line := range []string{toss + "; " + genuine.Header.Get("Cookie"), genuine.Header.Get("Cookie") + "; " + toss} {
					got, err := s.Authenticate(http.Header{}, request("Cookie", line))
					if err != nil || got.Subject != id.Subject {
						t.Errorf("%s: %v", junk, err)
					}
				}
				if junk != "" {
					wantError(t, second(s.Authenticate(http.Header{}, request("Cookie", toss))), authn.ErrInvalid)
				}
			}
		})
	}
	wantError(t, second(s.Authenticate(http.Header{}, request("Cookie", "amlproxy-1=x; amlproxy-state-1=y"))), authn.ErrNone)
}

func TestLargeSessionsAreSpreadOverCookies(t *testing.T) {
	s := newSessions(t)
	_, r := started(t, s, alice())
	for chunks := 1; chunks <= 4; chunks++ {
		id := alice()
		id.Groups = numbered(repeated("g", 16), chunks*110)
		answer := http.Header{}
		if err := s.Start(answer, r, id, authn.Tokens{}); err != nil {
			t.Fatal(err)
		}
		set := setCookies(answer)
		if len(set) != chunks {
			t.Errorf("%d cookies, want %d", len(set), chunks)
		}
		for _, c := range set {
			if n := len(c.String()); n > 4096 {
				t.Errorf("%s has %d bytes", c.Name, n)
			}
		}
		got, err := s.Authenticate(http.Header{}, carry(answer, request()))
		if err != nil || !cmp.Equal(got.Groups, id.Groups) {
			t.Errorf("%d chunks: %v", chunks, err)
		}
	}
	id := alice()
	id.Groups = numbered(repeated("g", 16), 1000)
	answer := http.Header{}
	e := wantError(t, s.Start(answer, r, id, authn.Tokens{}), authn.ErrForbidden)
	if len(answer) > 0 || !strings.Contains(e.Detail, "1000 groups") {
		t.Errorf("%v, set %d cookies", e, len(answer))
	}
}

// TestChunksOfALongerSessionAreRemoved, so that they travel no more.
func TestChunksOfALongerSessionAreRemoved(t *testing.T) {
	s := newSessions(t)
	id := alice()
	id.Groups = numbered(repeated("g", 16), 4*110)
	_, r := started(t, s, id)
	for name, act := range map[string]func(http.Header){
		"login":    func(h http.Header) { _ = s.Start(h, r, alice(), authn.Tokens{}) },
		"sign-out": func(h http.Header) { _, _ = s.End(h, r, false) },
	} {
		answer := http.Header{}
		act(answer)
		removed := 0
		for _, c := range setCookies(answer) {
			if c.MaxAge < 0 && c.Secure && c.Path == "/" && c.HttpOnly {
				removed++
			}
		}
		if want := map[string]int{"login": 3, "sign-out": 4}[name]; removed != want {
			t.Errorf("%s removed %d cookies, want %d", name, removed, want)
		}
	}
}

// TestChunkBomb: how many chunks there are is believed up to four (CVE-2024-24814).
func TestChunkBomb(t *testing.T) {
	s := newSessions(t)
	var line strings.Builder
	for i := range 1000 { // beyond 3000, net/http reads none at all
		line.WriteString("; __Host-amlproxy-" + strconv.Itoa(i) + "=AAAAAAAAx; __Host-amlproxy=4AAAAAAAAx")
	}
	for _, first := range []string{"99999999", "9AAAAAAAAx", "-1", "4AAAAAAAAx", "\x00"} {
		r := request("Cookie", "__Host-amlproxy="+first+line.String())
		wantError(t, second(s.Authenticate(http.Header{}, r)), authn.ErrInvalid)
	}
}
