package authn

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	cookieName = "amlproxy"
	chunkSize  = 3800 // browsers keep 4096 bytes of name, value and attributes
	maxChunks  = 4
	maxTossed  = 8 // cookies of one name that are looked at
	tagSize    = 8
)

// cookies writes and reads the cookies of one deployment.
type cookies struct{ secure bool }

// name returns what the session cookie is called. Over https it has the prefix
// that no other host, subdomain or http page can set (RFC 6265bis section
// 4.1.3.2), so cookies cannot be tossed in from a sibling.
func (c cookies) name() string {
	if c.secure {
		return "__Host-" + cookieName
	}
	return cookieName
}

// set adds a cookie that lives until expires, or its removal if that is zero.
// The removal carries the same attributes: a browser ignores a Set-Cookie for a
// __Host- name that is not Secure, and then nobody is signed out (CVE-2025-55162).
func (c cookies) set(answer http.Header, name, value string, expires time.Time, site http.SameSite) {
	cookie := http.Cookie{Name: name, Value: value, Path: "/", Secure: c.secure, HttpOnly: true, SameSite: site}
	if expires.IsZero() {
		cookie.MaxAge = -1
		cookie.Expires = time.Unix(1, 0)
	} else {
		cookie.MaxAge = max(1, int(time.Until(expires)/time.Second))
	}
	answer.Add("Set-Cookie", cookie.String())
}

// A value longer than one cookie is spread over as many as needed, up to
// maxChunks: "name" holds how many there are, a tag and the beginning; "name-1"
// and so on hold the same tag and the rest. The tag keeps chunks together when
// there are several of one name; what they say is trusted only once the seal of
// the whole is found intact.

func (c cookies) chunkName(i int) string {
	if i == 0 {
		return c.name()
	}
	return c.name() + "-" + strconv.Itoa(i)
}

// write sets the session cookie, and removes chunks that r still holds of a
// longer one. It reports whether value fits.
func (c cookies) write(answer http.Header, r *http.Request, tag, value string, expires time.Time) bool {
	n := (len(value) + chunkSize - 1) / chunkSize
	if n == 0 || n > maxChunks || len(tag) != tagSize {
		return false
	}
	for i := range n {
		part := value[i*chunkSize : min((i+1)*chunkSize, len(value))]
		head := tag
		if i == 0 {
			head = strconv.Itoa(n) + tag
		}
		c.set(answer, c.chunkName(i), head+part, expires, http.SameSiteLaxMode)
	}
	c.clear(answer, r, n)
	return true
}

// clear removes the chunks from the given one on that r holds.
func (c cookies) clear(answer http.Header, r *http.Request, from int) {
	for i := from; i < maxChunks; i++ {
		if len(r.CookiesNamed(c.chunkName(i))) > 0 {
			c.set(answer, c.chunkName(i), "", time.Time{}, http.SameSiteLaxMode)
		}
	}
}

// values returns every value that the session cookies of r can be read as. Over
// http a sibling host may have tossed in cookies of the same name, and a browser
// sends them all, in an order that the attacker chooses: the genuine one is
// found by its seal, not by its place.
func (c cookies) values(r *http.Request) []string {
	var all []string
	for i, first := range r.CookiesNamed(c.name()) {
		if i == maxTossed {
			break
		}
		if value, ok := c.join(r, first.Value); ok {
			all = append(all, value)
		}
	}
	return all
}

// join puts the chunks behind first together; how many there may be is checked
// before anything is looked for (CVE-2024-24814: a count of 99999999).
func (c cookies) join(r *http.Request, first string) (string, bool) {
	if len(first) <= 1+tagSize || first[0] < '1' || first[0] > '0'+maxChunks {
		return "", false
	}
	n, tag, value := int(first[0]-'0'), first[1:1+tagSize], first[1+tagSize:]
	for i := 1; i < n; i++ {
		part, ok := c.chunk(r, i, tag)
		if !ok {
			return "", false
		}
		value += part
	}
	return value, true
}

func (c cookies) chunk(r *http.Request, i int, tag string) (string, bool) {
	for _, cookie := range r.CookiesNamed(c.chunkName(i)) {
		if part, ok := strings.CutPrefix(cookie.Value, tag); ok {
			return part, true
		}
	}
	return "", false
}
