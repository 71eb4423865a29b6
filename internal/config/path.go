package config

import (
	"slices"
	"strings"
)

// reserved are the first segments of the proxy's own endpoints, which no route
// may take from it: a route at /oauth2 would be handed the codes of every login.
var reserved = []string{"oauth2", "livez", "readyz", ".well-known"}

const unreserved = unreservedButDot + ".~" // RFC 3986 section 2.3

// plainSegment accepts one segment of a path that every program reads alike: no
// encoding, no dot segment, no separator of any kind.
func plainSegment(s string) bool {
	return s != "" && s != "." && s != ".." && strings.Trim(s, unreserved) == ""
}

func plainSegments(s string) bool {
	for segment := range strings.SplitSeq(s, "/") {
		if !plainSegment(segment) {
			return false
		}
	}
	return true
}

// path returns where a route is served. The path is compared with what clients
// send byte for byte, so it must have one spelling.
func (c *checker) path(r *rawRoute) string {
	if !r.Path.set() {
		if r.Name.v == "" {
			return ""
		}
		return "/models/" + r.Name.v
	}
	p := r.Path.v
	switch {
	case r.Path.bad:
		return ""
	case p != "/" && (!strings.HasPrefix(p, "/") || !plainSegments(p[1:])):
		c.add(r.Path.at, "is not a plain path: / and segments of letters, digits and - . _ ~, without a slash at the end")
		return ""
	case isReserved(p):
		c.add(r.Path.at, "belongs to the proxy itself: /oauth2, /livez, /readyz, /.well-known and what is below them cannot be a route")
	case p == "/":
		c.atRoot(r)
	}
	return p
}

// isReserved ignores case: a cache or a proxy in front may as well.
func isReserved(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return slices.ContainsFunc(reserved, func(s string) bool { return strings.EqualFold(s, first) })
}

// atRoot keeps a route at / from claiming through its paths what it may not
// claim through its path.
func (c *checker) atRoot(r *rawRoute) {
	for _, i := range r.Paths.v {
		if i.v == "*" || isReserved(i.v) {
			c.add(i.at, "would take the proxy's own paths (/oauth2, …) into a route at /: name other paths")
		}
	}
}

// paths lists what may be called below a route.
func (c *checker) paths(l leaf[[]item]) []string {
	if !l.set() {
		return []string{"score", "swagger.json"}
	}
	var out []string
	for _, i := range l.v {
		switch {
		case i.v == "*" && len(l.v) > 1:
			c.add(i.at, "is everything, and stands alone: remove it or the other paths")
		case i.v != "*" && !plainSegments(i.v):
			c.add(i.at, "is not a plain relative path: write it like score or v1/score, or * alone for everything")
		case slices.Contains(out, i.v):
			c.add(i.at, "is in the list twice")
		default:
			out = append(out, i.v)
		}
	}
	return out
}
