package authn

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	maxBounces = 3
	// bounceLife is how soon after a sign-in the next one counts as its bounce. A
	// browser comes back at once; how long the provider takes does not matter, since
	// the count travels through it in the flow.
	bounceLife = 30 * time.Second
)

// ErrLoop is in the chain of an error of Login.Start when signing in succeeded
// several times in a row and the session was not there afterwards: going on
// would go round for ever.
var ErrLoop = errors.New("login loop")

// The sign-in that this browser finished last is remembered for a moment in a
// sealed cookie: which it was, where it went, and how many came before it that
// led to nothing. So a callback that is loaded twice finds where to go, and a
// loop is noticed.
//
// What is counted is the chain callback, start, callback, not logins: tabs
// restored at once begin at the same count and end at the next one.
type last struct {
	flow    [8]byte // of the state
	back    string
	bounces uint64
}

func stateDigest(state string) (d [8]byte) {
	sum := sha256.Sum256([]byte("last " + state))
	copy(d[:], sum[:])
	return d
}

func (f *flows) lastName() string { return f.cookies.name() + "-last" }

// remember sets the cookie of the sign-in that fl was.
func (f *flows) remember(answer http.Header, fl *flow) {
	d, p := stateDigest(fl.state), make(packer, 0, 64+len(fl.back))
	p.text(string(d[:]))
	p.text(fl.back)
	p.number(fl.bounces)
	expires := time.Now().Add(bounceLife)
	f.cookies.set(answer, f.lastName(), f.sealer.seal(f.lastName(), expires, p), expires, http.SameSiteLaxMode)
}

func (f *flows) forget(answer http.Header, r *http.Request) {
	if len(r.CookiesNamed(f.lastName())) > 0 {
		f.cookies.set(answer, f.lastName(), "", time.Time{}, http.SameSiteLaxMode)
	}
}

// finished returns the sign-in that this browser finished last, if it was just now.
func (f *flows) finished(r *http.Request) (last, bool) {
	for i, c := range r.CookiesNamed(f.lastName()) {
		if i == maxTossed {
			break
		}
		plain, _, err := f.sealer.open(f.lastName(), c.Value)
		if err != nil {
			continue
		}
		u := unpacker{rest: plain}
		var l last
		copy(l.flow[:], u.text())
		l.back, l.bounces = u.text(), u.number()
		if u.end() == nil {
			return l, true
		}
	}
	return last{}, false
}

// bounces returns how many sign-ins just before this one led to no session, or
// an error with ErrLoop if that is enough. A session that is there means that none
// of them was in vain, unless the browser is to return to another origin: a page
// there may be unable to send its cookie.
func (l *Login) bounces(answer http.Header, r *http.Request, back string) (uint64, error) {
	before, ok := l.flows.finished(r)
	if !ok {
		return 0, nil
	}
	_, err := l.sessions.Authenticate(nil, r)
	if errors.Is(err, ErrUnavailable) || (err == nil && strings.HasPrefix(back, "/")) {
		return 0, nil
	}
	if before.bounces < maxBounces {
		return before.bounces, nil
	}
	l.flows.forget(answer, r) // who tries again begins anew
	looping := &Error{Kind: ErrForbidden, Detail: l.whyLoop(r, back, err), Err: ErrLoop}
	if err != nil { // as text: the kind of this error is not that of the session's
		looping.Err = fmt.Errorf("%w: %s", ErrLoop, err.Error())
	}
	return 0, looping
}

// whyLoop says what is wrong, as far as it can be seen from here.
func (l *Login) whyLoop(r *http.Request, back string, err error) string {
	const intro = "you signed in three times in a row, and each time the session was gone at once: "
	switch {
	case err == nil:
		return intro + "you are signed in here, but the application at " + clip(back, 100) +
			" does not notice; browsers do not send the cookie with what pages of another site ask for, so it has to send a bearer token"
	case errors.Is(err, ErrNone) && !strings.EqualFold(r.Host, l.host()):
		return intro + "this address is not the one that the session belongs to; begin at " + l.origin
	case errors.Is(err, ErrNone):
		return intro + "the browser does not return its cookie; allow cookies for " + l.origin +
			", and check that this is the address, http or https included, that is written in the browser"
	}
	return intro + "the browser returns a cookie that cannot be used here; the clocks of the servers may differ, or replicas may have different cookie secrets"
}

func (l *Login) host() string {
	_, host, _ := strings.Cut(l.origin, "://")
	return host
}

// again answers a callback whose flow is used up, if it was this browser's last
// one and made a session that is still there: a double click, a reload, the back
// button. It reports whether it did.
func (l *Login) again(w http.ResponseWriter, r *http.Request, state string) bool {
	done, ok := l.flows.finished(r)
	if !ok || done.flow != stateDigest(state) {
		return false
	}
	if _, err := l.sessions.Authenticate(w.Header(), r); err != nil {
		return false
	}
	back, _ := l.ReturnPath(done.back)
	redirect(w, back)
	return true
}

// resend has the browser ask once more, by GET, if the answer was posted: a POST
// of another site comes without the cookies that again needs, which are Lax. It
// reports whether it did.
func (l *Login) resend(w http.ResponseWriter, r *http.Request, state string) bool {
	if !l.formPost || r.Method != http.MethodPost {
		return false
	}
	redirect(w, l.client.redirect+"?state="+url.QueryEscape(state))
	return true
}
