package authn

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

const maxReturn = 2000 // bytes; it travels in the state cookie

// ReturnPath is the one judge of where a browser may be sent back to: the rd of
// the endpoints under /oauth2, the state that the provider brings back after a
// sign-out, and anything else that ends in a Location. It returns what to send
// the browser to and true, or "/" and false.
//
// What is allowed is a path of this proxy, or an address on one of
// LoginConfig.ReturnOrigins. No URL parser takes part, since parsers disagree
// and the browser's is the one that counts (CVE-2021-32786): the address has to
// begin with the exact origin, and the path has to be one that nobody can read
// as anything else.
func (l *Login) ReturnPath(rd string) (string, bool) {
	if len(rd) > maxReturn {
		return "/", false
	}
	if path, ok := strings.CutPrefix(rd, l.origin); ok {
		rd = orElse(path, "/")
	}
	for _, origin := range l.returnOrigins {
		if path, ok := strings.CutPrefix(rd, origin); ok && (path == "" || plainPath(path)) {
			return rd, true
		}
	}
	if !plainPath(rd) || ownSteps(rd) {
		return "/", false
	}
	return rd, true
}

// plainPath reports whether s is a path, with or without query and fragment,
// that begins with a single slash and in which no browser, server or proxy finds
// another host: no backslash ("/\evil.example"), no control character or space
// (which browsers remove: "/\t/evil.example"), no empty or dot segment, and none
// of these percent-encoded for the benefit of someone who decodes first.
func plainPath(s string) bool {
	if !strings.HasPrefix(s, "/") {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '\\' {
			return false
		}
	}
	path := s
	if end := strings.IndexAny(s, "?#"); end >= 0 {
		path = s[:end]
	}
	decoded, err := url.PathUnescape(path)
	if err != nil || strings.Contains(path, "//") {
		return false
	}
	for i := range len(decoded) {
		if decoded[i] < ' ' || decoded[i] == 0x7f || decoded[i] == '\\' || decoded[i] == '%' {
			return false
		}
	}
	if strings.Count(decoded, "/") != strings.Count(path, "/") {
		return false
	}
	for segment := range strings.SplitSeq(decoded, "/") {
		// A parameter (";") ends a segment for some servers: "/..;/".
		if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
			return false
		}
	}
	return true
}

// ownSteps reports whether path is a step of signing in or out: returning there
// would go round in circles, or sign out whoever just signed in.
func ownSteps(path string) bool {
	if end := strings.IndexAny(path, "?#"); end >= 0 {
		path = path[:end]
	}
	decoded, err := url.PathUnescape(path)
	return err != nil || slices.Contains([]string{"/oauth2/start", "/oauth2/callback", "/oauth2/sign_out"},
		strings.TrimRight(strings.ToLower(decoded), "/"))
}

// checkOrigin reports what makes s no origin. Wildcards and suffixes do not
// exist: ".example.com" once let badexample.com in (CVE-2021-21291).
func checkOrigin(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" ||
		u.Scheme+"://"+u.Host != s || s != strings.ToLower(s) || strings.ContainsAny(s, "*%\\ ") {
		return fmt.Errorf("%q is not an origin (https://host or https://host:port, in lower case)", s)
	}
	return nil
}
