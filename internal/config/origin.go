package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

const notAnOrigin = "is not an origin as browsers write it: scheme://host[:port] in lower case, like https://app.example.com"

// parseOrigin accepts exactly what a browser puts into Origin (RFC 6454 section
// 6.2), since it will be compared byte for byte: no path, no wildcard, no null,
// no default port.
func parseOrigin(s string) (*url.URL, string) {
	u, err := parseURL(s)
	switch {
	case err != nil, s != u.Scheme+"://"+u.Host, s != strings.ToLower(s):
		return nil, notAnOrigin
	case u.Scheme == "https" && u.Port() == "443", u.Scheme == "http" && u.Port() == "80":
		return nil, "is an origin with its default port, which browsers leave out: so must this"
	}
	return u, ""
}

// origins judges a setting that lists origins.
func (c *checker) origins(name string, list []string) {
	for i, o := range list {
		if _, what := parseOrigin(o); what != "" {
			c.mistake(name, what)
		}
		if slices.Contains(list[:i], o) {
			c.mistake(name, "names an origin twice")
		}
	}
}

// cors judges a route's CORS. Cookies are SameSite=Lax: a page of another site
// cannot send them, so credentials for it would promise what browsers refuse,
// and would be dangerous the day they did not.
func (c *checker) cors(r *rawCORS) *CORS {
	if r == nil {
		return nil
	}
	out := &CORS{Credentials: r.Credentials.v}
	if !r.Origins.set() {
		c.add(r.at, "has no origins: name them, or leave cors out")
	}
	public := c.s.PublicURL.URL
	if out.Credentials && public == nil && !c.has("PUBLIC_URL") {
		c.add(r.Credentials.at, "is true, but without a login ("+Prefix+"PUBLIC_URL) there are no cookies to send: leave it out")
	}
	for _, i := range r.Origins.v {
		u, what := parseOrigin(i.v)
		switch {
		case what != "":
			c.add(i.at, what)
		case slices.Contains(out.Origins, i.v):
			c.add(i.at, "is in the list twice")
		case out.Credentials && public != nil && !sameSite(u, public):
			c.add(i.at, "is an origin of another site than "+Prefix+"PUBLIC_URL, and credentials are for the same site: pages there send a bearer token instead")
		}
		out.Origins = append(out.Origins, i.v)
	}
	return out
}

// sameSite is schemeful: the same scheme and the same registrable domain, or the
// same host where there is none.
func sameSite(a, b *url.URL) bool {
	if a.Scheme != b.Scheme {
		return false
	}
	hostA, hostB := strings.ToLower(a.Hostname()), strings.ToLower(b.Hostname())
	if hostA == hostB {
		return true
	}
	siteA, okA := site(hostA)
	siteB, okB := site(hostB)
	return okA && okB && siteA == siteB
}

func site(host string) (string, bool) {
	if _, err := netip.ParseAddr(host); err == nil {
		return "", false
	}
	s, err := publicsuffix.EffectiveTLDPlusOne(strings.TrimSuffix(host, "."))
	return s, err == nil
}
