package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"amlproxy/authn"
)

// isWebSocket reports whether a message names the protocol, and opensWebSocket whether
// it also means to change to it (RFC 9110 section 7.8).
func isWebSocket(h http.Header) bool {
	named := first(h["Upgrade"])
	// In ASCII alone: EqualFold also takes "ſ" for an s and the Kelvin sign for a k,
	// which are longer. One server would change the protocol, and another not.
	return len(named) == len("websocket") && strings.EqualFold(named, "websocket")
}

func opensWebSocket(h http.Header) bool {
	return isWebSocket(h) && httpguts.HeaderValuesContainsToken(h["Connection"], "Upgrade")
}

// Fields of an upstream's answer that would speak for the proxy's own origin, in
// the spelling of net/http: its cookies, its challenges (they would ask callers
// for the credential that they must not have), its CORS, its transport policy, and
// what a page could be made to obey.
var (
	removedAnswers = map[string]bool{
		"Set-Cookie": true, "Set-Cookie2": true, "Www-Authenticate": true, "Proxy-Authenticate": true, "Authentication-Info": true,
		"Proxy-Authentication-Info": true, "Alt-Svc": true, "Strict-Transport-Security": true, "Public-Key-Pins": true, "Clear-Site-Data": true,
		"Service-Worker-Allowed": true, "Sourcemap": true, "Report-To": true, "Reporting-Endpoints": true, "Nel": true, "Origin-Agent-Cluster": true,
		"Refresh": true, "X-Accel-Redirect": true, "X-Sendfile": true, "X-Request-Id": true,
	}
	removedAnswerPrefixes = []string{"Access-Control-", "X-Accel-", "X-Auth-Request-"}
)

// scrubTrailer removes them from an answer's trailer, and the fields that must
// not stand in one because they frame or route a message (RFC 9110 section 6.5.1).
func scrubTrailer(h http.Header) {
	if len(h) == 0 {
		return
	}
	scrubAnswer(h)
	for _, name := range []string{"Connection", "Content-Encoding", "Content-Length", "Content-Type", "Host", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		delete(h, name)
	}
}

// scrubAnswer removes them from an answer's header.
func scrubAnswer(h http.Header) {
	for name := range h {
		if removedAnswer(name) {
			delete(h, name)
		}
	}
}

func removedAnswer(name string) bool {
	switch name { // most answers have nothing else
	case "Content-Type", "Content-Length", "Date", "Server":
		return false
	}
	return removedAnswers[name] || slices.ContainsFunc(removedAnswerPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// Values that many messages have in common. Nobody changes one in its place: a
// field gets others, or more by append, which copies what is full.
var (
	noStore  = []string{"no-store"}
	noSniff  = []string{"nosniff"}
	sandbox  = []string{"sandbox"}
	byCaller = []string{"Cookie, Authorization"}
	upgrade  = []string{"Upgrade"}
	trailers = []string{"trailers"}
)

// join returns the values of a field that gets more.
func join(had, more []string) []string {
	if len(had) == 0 {
		return more
	}
	return append(had, more...)
}

// values are those of the fields that one message gets, in one piece of memory.
type values struct {
	all  []string
	room [8]string
}

// of returns what a field has that has one value.
func (v *values) of(value string) []string {
	if v.all == nil {
		v.all = v.room[:0]
	}
	v.all = append(v.all, value)
	return v.all[len(v.all)-1 : len(v.all) : len(v.all)]
}

// set sets a field, whose name is in canonical form.
func (v *values) set(h http.Header, name, value string) { h[name] = v.of(value) }

// identityFields says what a model is told about the caller.
type identityFields struct{ user, email, groups bool }

func newIdentityFields(names []string) (identityFields, error) {
	var f identityFields
	for _, name := range names {
		switch name {
		case "user":
			f.user = true
		case "email":
			f.email = true
		case "groups":
			f.groups = true
		default:
			return f, fmt.Errorf("%q is none of user, email, groups", name)
		}
	}
	return f, nil
}

// set adds the fields under prefix ("X-Forwarded-", "X-Auth-Request-"). What the
// provider did not say is absent, and not the caller's own copy (CVE-2026-30851).
func (f identityFields) set(h http.Header, prefix string, id *authn.Identity) {
	if id == nil {
		return
	}
	if f.user && single(id.Subject) {
		h.Set(prefix+"User", id.Subject)
	}
	// An address that nobody vouches for is no identity (nOAuth).
	if f.email && id.EmailVerified && single(id.Email) {
		h.Set(prefix+"Email", id.Email)
	}
	if groups := joinable(id.Groups); f.groups && groups != "" {
		h.Set(prefix+"Groups", groups)
	}
}

// joinable joins values with commas and leaves out those that would be read as
// two, or as another: the group "a,admins" is not a membership of admins.
func joinable(values []string) string {
	kept := make([]string, 0, len(values))
	for _, v := range values {
		if single(v) {
			kept = append(kept, v)
		}
	}
	return strings.Join(kept, ",")
}

// single reports whether v stands in a field as the one value that it is. Where
// a field is read as a list (RFC 9110 section 5.6.1), the subject "a,root" is two.
func single(v string) bool { return plain(v) && !strings.Contains(v, ",") }

// plain reports whether v stands in a field as it is: printable ASCII (servers
// disagree about any other byte, CVE-2023-27493), no space at either end.
func plain(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return false
		}
	}
	return v != "" && v == strings.TrimSpace(v)
}
