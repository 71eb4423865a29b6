package config

import (
	"net"
	"strings"
)

// host is compared with what requests name, in the one spelling that the proxy
// brings those into.
func (c *checker) host(l leaf[string]) string {
	if !l.good() {
		return ""
	}
	u, err := parseURL("http://" + l.v)
	switch {
	case err != nil || u.Host != l.v || strings.HasSuffix(u.Hostname(), "."):
		c.add(l.at, "is not a host: write it like models.example.com or models.example.com:8443, without wildcard, scheme or path")
		return ""
	case u.Port() == "443" || u.Port() == "80":
		c.add(l.at, "has a default port, which callers leave out of the host: so must this, or nothing ever comes here")
	}
	return strings.ToLower(l.v)
}

// elsewhere warns of a route that callers are expected to sign in for, on a host
// where the cookie of their session is never sent.
func (c *checker) elsewhere(r *rawRoute, out *Route) {
	public := c.s.PublicURL.URL
	if out.Host == "" || out.Public || public == nil || c.s.OIDCIssuer == "" {
		return
	}
	if hostname(out.Host) != hostname(strings.ToLower(public.Host)) {
		c.warn(r.Host.at, "is another host than that of "+Prefix+"PUBLIC_URL, and people are signed in there alone: this route is for programs with a bearer token, or needs public: true")
	}
}

// hostname is a host without its port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}
