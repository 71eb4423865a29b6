package authn

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	flowLife = 10 * time.Minute
	maxFlows = 20
	// maxFlowBytes bounds them together, names included: a header that holds more
	// than a server before us takes would be refused for as long as they live.
	maxFlowBytes = 12 << 10
	seedSize     = 32
)

// A flow is one login on its way: what binds the provider's answer to the
// browser that asked. Each has a cookie of its own, so tabs restored at once do
// not overwrite one another; it is sealed, so state, nonce and verifier are as
// secret as they have to be, and the return path is the one that was judged.
//
// What is secret is made from one random seed, so the cookie stays small.
type flow struct {
	seed                   string
	state, nonce, verifier string // of seed
	back                   string // where to go when signed in
	bounces                uint64 // sign-ins just before this one that led to no session
	asked                  asked
}

// asked is what the provider was asked for and has to have done.
type asked struct {
	maxAge string // in seconds; empty: not asked for
	acr    string // one of these words
}

func (a asked) within() time.Duration {
	seconds, _ := strconv.Atoi(a.maxAge) // validated
	return time.Duration(seconds) * time.Second
}

func newFlow(back string) *flow {
	seed := make([]byte, seedSize)
	_, _ = rand.Read(seed) // it never fails
	fl := &flow{seed: string(seed), back: back}
	fl.derive()
	return fl
}

// derive makes the three values that none of the others tells anything of: the
// provider and the browser see the first two. 43 characters are what a verifier
// has at least (RFC 7636 section 4.1).
func (fl *flow) derive() {
	of := func(label string) string {
		mac := hmac.New(sha256.New, []byte(fl.seed))
		mac.Write([]byte(label))
		return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	fl.state, fl.nonce, fl.verifier = of("state"), of("nonce"), of("verifier")
}

// flows keeps flows in cookies.
type flows struct {
	cookies cookies
	sealer  *sealer
	site    http.SameSite
}

func (f *flows) prefix() string { return f.cookies.name() + "-state-" }

// name returns the cookie of a state. It is a hash, because cookie names are
// written into logs more often than values are.
func (f *flows) name(state string) string {
	sum := sha256.Sum256([]byte(state))
	return f.prefix() + hex.EncodeToString(sum[:8])
}

// keep adds the cookie of a new flow, and drops the oldest ones of r beyond what
// is left room for: the header that they travel in is limited.
func (f *flows) keep(answer http.Header, r *http.Request, fl *flow) {
	for _, name := range f.surplus(r) {
		f.drop(answer, name)
	}
	name, expires := f.name(fl.state), time.Now().Add(flowLife)
	f.cookies.set(answer, name, f.sealer.seal(name, expires, fl.pack()), expires, f.site)
}

// surplus returns the names of flow cookies in r to give up: those that cannot
// be read, and the oldest of the others.
func (f *flows) surplus(r *http.Request) []string {
	type aged struct {
		name    string
		size    int
		expires time.Time
	}
	var all []aged
	for _, c := range r.Cookies() {
		if strings.HasPrefix(c.Name, f.prefix()) {
			_, expires, _ := f.sealer.open(c.Name, c.Value) // zero if it is broken: older than any
			all = append(all, aged{c.Name, len(c.Name) + len(c.Value), expires})
		}
	}
	slices.SortStableFunc(all, func(a, b aged) int {
		return cmp.Compare(b.expires.UnixNano(), a.expires.UnixNano())
	})
	var names []string
	left := maxFlowBytes
	for i, a := range all { // the newest first
		if left -= a.size; a.expires.IsZero() || i >= maxFlows-1 || left < 0 {
			names = append(names, a.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// take returns the flow of this browser that state names, and the name of its
// cookie. Of several cookies of that name the one with an intact seal counts.
func (f *flows) take(r *http.Request, state string) (*flow, string, bool) {
	name := f.name(state)
	for i, c := range r.CookiesNamed(name) {
		if i == maxTossed {
			break
		}
		plain, _, err := f.sealer.open(name, c.Value)
		if err != nil {
			continue
		}
		fl, err := unpackFlow(plain)
		if err == nil && subtle.ConstantTimeCompare([]byte(fl.state), []byte(state)) == 1 {
			return fl, name, true
		}
	}
	return nil, "", false
}

func (f *flows) drop(answer http.Header, name string) {
	f.cookies.set(answer, name, "", time.Time{}, f.site)
}

func (fl *flow) pack() []byte {
	p := make(packer, 0, 64+len(fl.back))
	for _, s := range []string{fl.seed, fl.back, fl.asked.maxAge, fl.asked.acr} {
		p.text(s)
	}
	p.number(fl.bounces)
	return p
}

func unpackFlow(plain []byte) (*flow, error) {
	u := unpacker{rest: plain}
	fl := &flow{seed: u.text(), back: u.text()}
	fl.asked = asked{maxAge: u.text(), acr: u.text()}
	fl.bounces = u.number()
	fl.derive()
	if len(fl.seed) != seedSize {
		return nil, errors.New("a flow of another length")
	}
	return fl, u.end()
}
