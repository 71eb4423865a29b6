package proxy

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// maxHops bounds how much of X-Forwarded-For is read.
const maxHops = 32

// A caller is where a request comes from, as far as it can be known, and under
// which address it was sent. Nothing in it is believed from a peer that is not
// trusted (C3: X-Forwarded-For, -Proto, -Host and their like are anybody's).
type caller struct {
	address netip.Addr
	chain   string // for X-Forwarded-For: the address and the trusted hops behind it
	scheme  string
	host    string // for X-Forwarded-Host
	asked   string // the host that the request names, which a route may be for
}

func callerOf(r *http.Request, trusted []netip.Prefix, public *url.URL) caller {
	peer := addrOf(r.RemoteAddr)
	c := caller{address: peer, scheme: "http", host: r.Host}
	if r.TLS != nil {
		c.scheme = "https"
	}
	if host, _, _ := strings.Cut(r.RemoteAddr, ":"); peer.Is4() && host != "" && host[0] != '[' {
		c.chain = host // there is one way to write an IPv4 address
	} else if peer.IsValid() {
		c.chain = peer.String()
	}
	if within(trusted, peer) {
		c.believe(r.Header, trusted)
	}
	c.asked = c.host
	if public != nil {
		c.scheme, c.host = public.Scheme, public.Host
	}
	return c
}

// believe reads what a trusted peer says. X-Forwarded-For is read from its end:
// every hop appended whom it saw, so the first hop that is not trusted is the
// caller, and whatever stands before it is the caller's own invention.
func (c *caller) believe(h http.Header, trusted []netip.Prefix) {
	hops := strings.Split(strings.Join(h.Values("X-Forwarded-For"), ","), ",")
	for i := 0; i < maxHops && i < len(hops); i++ {
		hop := addrOf(strings.TrimSpace(hops[len(hops)-1-i]))
		if !hop.IsValid() {
			break
		}
		c.address, c.chain = hop, hop.String()+", "+c.chain
		if !within(trusted, hop) {
			break
		}
	}
	if scheme := h.Values("X-Forwarded-Proto"); len(scheme) == 1 && (scheme[0] == "http" || scheme[0] == "https") {
		c.scheme = scheme[0]
	}
	if host := h.Values("X-Forwarded-Host"); len(host) == 1 && validHost(host[0]) {
		c.host = host[0]
	}
}

// set says to the model where the request comes from.
func (c *caller) set(h http.Header, in *values) {
	if c.chain != "" {
		in.set(h, "X-Forwarded-For", c.chain)
	}
	in.set(h, "X-Forwarded-Proto", c.scheme)
	in.set(h, "X-Forwarded-Host", c.host)
}

// addrOf reads an address with or without a port. ::ffff:10.0.0.1 is 10.0.0.1 for
// every rule (GHSA-7jmw-8259-q9jx), and a zone is nobody's business.
func addrOf(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, _ := netip.ParseAddr(s)
	return a.Unmap().WithZone("")
}

func within(prefixes []netip.Prefix, a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}
