package proxy

import (
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A target is what a request asks for, exactly as the caller wrote it.
type target struct {
	path  string // begins with "/"; also what EscapedPath of the request's URL returns
	query string // without the "?"
	mark  bool   // whether there was a "?", with or without something behind it
}

// maxParams is how many parameters net/url parses before it gives up, and so
// how many ReverseProxy leaves alone (CVE-2026-39825).
const maxParams = 10_000

// Why a target is refused. The texts are for the caller.
var (
	errForm    = errors.New("the request target must be a path that begins with /")
	errByte    = errors.New("the path holds a character that must not be there, or must be percent-encoded")
	errEscape  = errors.New("the path holds a percent-encoding that is broken or that servers read differently")
	errSegment = errors.New("the path holds an empty segment or a dot segment")
	errQuery   = errors.New("the query holds a character or a percent-encoding that servers read differently")
	errParams  = errors.New("the query has too many parameters")
	errHost    = errors.New("the Host field is missing or malformed")
)

// readTarget reads the request target once, and refuses every path that two
// servers could read differently: if the one that authorises and the one that
// answers disagree, the protection is on the wrong path. What it returns is
// matched, authorised and forwarded as it stands, without any cleaning.
//
// Only origin-form is taken (RFC 9112 section 3.2.1). Absolute-form names a
// second host beside the Host field and is for proxies that a client was told
// of; authority-form is for CONNECT, and asterisk-form asks for nothing here.
func readTarget(r *http.Request) (target, error) {
	if !validHost(r.Host) {
		return target{}, errHost
	}
	path, query, mark := strings.Cut(r.RequestURI, "?")
	if err := checkPath(path); err != nil {
		return target{}, err
	}
	if err := checkQuery(query); err != nil {
		return target{}, err
	}
	// net/http read the same bytes; if it came to something else, it is not for
	// us to say who is right.
	if r.URL.EscapedPath() != path || r.URL.RawQuery != query || r.URL.Host != "" || r.URL.Opaque != "" {
		return target{}, errForm
	}
	return target{path: path, query: query, mark: mark}, nil
}

func checkPath(path string) error {
	if !strings.HasPrefix(path, "/") {
		return errForm
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "." || segment == ".." {
			return errSegment
		}
		if err := checkSegment(segment); err != nil {
			return err
		}
	}
	// "//" is read as one slash, as two, or as the start of an authority.
	if strings.Contains(path, "//") {
		return errSegment
	}
	return nil
}

// checkSegment refuses what is not pchar of RFC 3986 section 3.3, ";" (it
// starts parameters that some servers cut off), and every percent-encoding that
// stands for a character with a meaning in paths, for one that needs no encoding
// (RFC 3986 section 6.2.2.2: servers decode those before they compare), for a
// control character, or for something that is not UTF-8.
func checkSegment(segment string) error {
	if !strings.Contains(segment, "%") {
		return checkRaw(segment)
	}
	decoded := make([]byte, 0, len(segment))
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		if c == '%' {
			if i+2 >= len(segment) || !isHex(segment[i+1]) || !isHex(segment[i+2]) {
				return errEscape
			}
			c = unHex(segment[i+1])<<4 | unHex(segment[i+2])
			if isUnreserved(c) || strings.IndexByte(`/\.%;?#`, c) >= 0 {
				return errEscape
			}
			i += 2
		} else if !isPathByte(c) {
			return errByte
		}
		decoded = append(decoded, c)
	}
	if !utf8.Valid(decoded) || strings.ContainsFunc(string(decoded), ambiguous) {
		return errEscape
	}
	return nil
}

func checkRaw(segment string) error {
	for i := range len(segment) {
		if !isPathByte(segment[i]) {
			return errByte
		}
	}
	return nil
}

// ambiguous reports control characters, and the look-alikes that some servers
// make ASCII of, punctuation ("℀" becomes "a/c") or letters of another path.
func ambiguous(r rune) bool {
	switch {
	case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
		return true
	case r >= 0xFF01 && r <= 0xFF5E: // full-width forms of ASCII
		return true
	case r == 0x2044 || r == 0x2215 || r == 0x29F8: // best-fit mappings to "/"
		return true
	case r <= unicode.MaxASCII:
		return false
	}
	return strings.ContainsFunc(norm.NFKC.String(string(r)), func(c rune) bool {
		return c > ' ' && c < 0x7F && !isAlnum(byte(c))
	})
}

// checkQuery refuses the queries that ReverseProxy would rewrite (CVE-2022-2880),
// which then would not be the bytes that the caller sent, and bytes that cannot
// be in a query. Anything else is the model's own affair: no decision looks at it.
func checkQuery(query string) error {
	if strings.Count(query, "&")+1 > maxParams {
		return errParams
	}
	for i := 0; i < len(query); i++ {
		switch c := query[i]; {
		case c <= ' ' || c >= 0x7F || c == ';' || c == '#':
			return errQuery
		case c == '%':
			if i+2 >= len(query) || !isHex(query[i+1]) || !isHex(query[i+2]) {
				return errQuery
			}
			i += 2
		}
	}
	return nil
}

// validHost reports whether host is a name, an IPv4 address or a bracketed IPv6
// address, with or without a port: nothing that could become a path, a userinfo
// or a second host where it is put into a URL (CVE-2026-49468).
func validHost(host string) bool {
	if host == "" || len(host) > 255 {
		return false
	}
	if host[0] != '[' {
		name, port, hasPort := strings.Cut(host, ":")
		return validName(name) && (!hasPort || validPort(port))
	}
	name, after, closed := strings.Cut(host[1:], "]")
	if !closed || name == "" || strings.Trim(name, "0123456789abcdefABCDEF:.") != "" {
		return false
	}
	port, hasPort := strings.CutPrefix(after, ":")
	return after == "" || hasPort && validPort(port)
}

// splitHost returns the name in a valid host, in lower case and without the dot that
// makes it absolute, which name the same; and the port, "" if there is none.
func splitHost(host string) (name, port string) {
	name = host
	if at := strings.LastIndexByte(host, ':'); at > strings.LastIndexByte(host, ']') {
		name, port = host[:at], host[at+1:]
	}
	return strings.ToLower(strings.TrimSuffix(name, ".")), port
}

func validPort(port string) bool {
	return port != "" && len(port) <= 5 && strings.Trim(port, "0123456789") == ""
}

func validName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c != '-' && c != '.' && c != '_' && !isAlnum(c) {
			return false
		}
	}
	return name != ""
}

func isPathByte(c byte) bool { return isUnreserved(c) || strings.IndexByte("!$&'()*+,=:@", c) >= 0 }

func isUnreserved(c byte) bool { return isAlnum(c) || strings.IndexByte("-._~", c) >= 0 }

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unHex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
