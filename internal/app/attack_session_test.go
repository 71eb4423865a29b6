package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// C5: what is sealed. Every cookie but the one that the proxy made for a session, in
// the place where it made it, is nobody's.

// signInStarted returns the name and value of the cookie of a login on its way.
func (f *fort) signInStarted(t testing.TB) *http.Cookie {
	t.Helper()
	a := f.knock(t, f.bare, door{"start", http.MethodGet, "/oauth2/start", true})
	for _, c := range a.Cookies() {
		if strings.HasPrefix(c.Name, "amlproxy-state-") {
			return c
		}
	}
	t.Fatalf("no cookie of a state: %d", a.StatusCode)
	return nil
}

func TestForgedSessions(t *testing.T) {
	f, elsewhere := newFort(t), newFort(t)
	genuine := f.cookie(t, f.signedIn(t, "ann"), "amlproxy")
	foreign := elsewhere.cookie(t, elsewhere.signedIn(t, "ann"), "amlproxy")
	state := f.signInStarted(t)
	v := genuine.Value
	flip := func(i int) string {
		other := byte('A')
		if v[i] == other {
			other = 'B'
		}
		return v[:i] + string(other) + v[i+1:]
	}
	cookies := map[string]string{
		"of another deployment":          "amlproxy=" + foreign.Value,
		"a state as a session":           "amlproxy=" + state.Value,
		"a state as a session, numbered": "amlproxy=1" + v[1:9] + state.Value,
		"a session under https's name":   "__Host-amlproxy=" + v,
		"a session under another case":   "Amlproxy=" + v,
		"a session as a state":           state.Name + "=" + v,
		"empty":                          "amlproxy=",
		"a number alone":                 "amlproxy=1",
		"four chunks of which one came":  "amlproxy=4" + v[1:],
		"no chunks":                      "amlproxy=0" + v[1:],
		"99999999 chunks":                "amlproxy=99999999; amlproxy-1=x; amlproxy-2=x",
		"a chunk without a head":         "amlproxy-1=" + v,
		"cut":                            "amlproxy=" + v[:len(v)-1],
		"cut in half":                    "amlproxy=" + v[:len(v)/2],
		"longer":                         "amlproxy=" + v + "A",
		"twice itself":                   "amlproxy=" + v + v,
		"quoted in halves":               `amlproxy="` + v[:len(v)/2] + `"`,
		"200 of one name":                strings.Repeat("amlproxy=1AAAAAAAAAAAAAAAAAA; ", 200),
		"no name":                        "=" + v,
		"no pair":                        v,
		"commas":                         "a=b, amlproxy=" + v[:10],
		"null bytes written out":         "amlproxy=%00" + v,
	}
	// The first nine only say which chunks belong together.
	for i := 9; i < len(v); i += max(1, len(v)/40) {
		cookies[fmt.Sprint("a letter changed at ", i)] = "amlproxy=" + flip(i)
	}
	for name, cookie := range cookies {
		for _, d := range doors() {
			if !d.open {
				f.refused(t, name, f.bare, d, []int{401}, "Cookie: "+cookie)
			}
		}
	}
	if a := f.knock(t, f.bare, doors()[1], "Cookie: amlproxy="+v); a.StatusCode != http.StatusOK {
		t.Errorf("the genuine one: %d", a.StatusCode)
	}
}

// TestTamperingLooksAlike: whoever tries cannot tell from the answer how far a
// forgery got (a padding oracle, CVE-2026-47775).
func TestTamperingLooksAlike(t *testing.T) {
	f := newFort(t)
	v := f.cookie(t, f.signedIn(t, "ann"), "amlproxy").Value
	seen := map[string]string{}
	for name, value := range map[string]string{"first": "1" + v[2:], "middle": v[:len(v)/2] + "A" + v[len(v)/2+2:], "end": v[:len(v)-4], "nonsense": "1" + strings.Repeat("A", 80), "state": f.signInStarted(t).Value} {
		a := f.knock(t, f.bare, doors()[5], "Cookie: amlproxy="+value, "X-Request-Id: same")
		seen[fmt.Sprint(a.StatusCode, a.body, a.Header.Get("Www-Authenticate"), a.Header["Set-Cookie"])] = name
	}
	if len(seen) != 1 {
		t.Errorf("%d different answers: %q", len(seen), seen)
	}
}

// TestSessionFixation: a cookie that was there before a login is none after it, and
// every login makes another one.
func TestSessionFixation(t *testing.T) {
	f := newFort(t)
	planted := f.cookie(t, f.signedIn(t, "p1"), "amlproxy").Value
	victim := f.browser(t)
	if a := f.knock(t, victim, doors()[5], "Cookie: amlproxy="+planted); a.StatusCode != http.StatusOK {
		t.Fatal(a.StatusCode)
	}
	before := planted
	for range 2 {
		if err := f.signIn(victim, "ann"); err != nil {
			t.Fatal(err)
		}
		now := f.cookie(t, victim, "amlproxy").Value
		if now == before {
			t.Error("the session kept its cookie")
		}
		before = now
	}
	if a := f.knock(t, f.bare, doors()[5], "Cookie: amlproxy="+planted); strings.Contains(a.body, "user-ann") {
		t.Error("the planted cookie is ann's session")
	}
}

// TestCallbackOfAnotherBrowser: a code that was meant for somebody else, or for
// nobody, begins no session (login CSRF; CVE-2017-1000069).
func TestCallbackOfAnotherBrowser(t *testing.T) {
	f := newFort(t)
	genuine := f.cookie(t, f.signedIn(t, "ann"), "amlproxy")
	mine, theirs := f.signInStarted(t), f.signInStarted(t)
	for name, c := range map[string]struct{ query, cookie string }{
		"no cookie":              {"code=x&state=y", ""},
		"a session for a state":  {"code=x&state=" + genuine.Value, mine.Name + "=" + genuine.Value},
		"a session as the state": {"code=x&state=" + genuine.Value, "amlproxy=" + genuine.Value},
		"another login's cookie": {"code=x&state=y", mine.Name + "=" + theirs.Value},
		"two states":             {"code=x&state=y&state=z", mine.Name + "=" + mine.Value},
		"an array":               {"code[]=x&state[]=y", mine.Name + "=" + mine.Value},
		"no state":               {"code=x", mine.Name + "=" + mine.Value},
		"nothing":                {"", mine.Name + "=" + mine.Value},
		"an error, unasked":      {"error=access_denied&error_description=%3Cscript%3E&state=y", mine.Name + "=" + mine.Value},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			f.refused(t, name, f.bare, door{"callback", method, "/oauth2/callback?" + c.query, false}, []int{400, 403}, "Cookie: "+c.cookie, "Content-Type: application/x-www-form-urlencoded")
		}
	}
}

// FuzzSessionsAtEveryDoor: no Cookie field but with the genuine value opens a door.
func FuzzSessionsAtEveryDoor(f *testing.F) {
	house := newFort(f)
	genuine, state := house.cookie(f, house.signedIn(f, "ann"), "amlproxy").Value, house.signInStarted(f)
	for _, line := range []string{"amlproxy=" + state.Value, "amlproxy=" + genuine[1:], "amlproxy=4" + genuine, "amlproxy-1=" + genuine, "amlproxy=" + strings.Repeat("1A", 500), "=;=,", "\x7f"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, genuine) || strings.ContainsAny(line, "\r\n\x00") || len(line) > 8<<10 {
			return // the first opens, net/http does not send the second
		}
		for _, d := range doors() {
			if d.open {
				continue
			}
			before := house.reached.Load()
			a, err := house.send(house.bare, d, "Cookie: "+line)
			if err == nil && (a.StatusCode < 400 || house.reached.Load() != before) {
				t.Errorf("%q opens %s: %d", line, d.name, a.StatusCode)
			}
		}
	})
}
