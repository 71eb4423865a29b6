package config

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// What a value must look like. The messages do not quote it: it could be a
// secret that was put under the wrong name, and the reader knows what they set.
var (
	errBool     = errors.New("is neither true nor false")
	errDuration = errors.New("is not a duration: write it like 30s, 5m or 1h30m")
	errSize     = errors.New("is not a size: write it like 65536, 64KiB or 1MiB")
	errList     = errors.New("has an empty element: separate the elements by one comma each")
	errPrefix   = errors.New("is not a list of IP addresses and CIDRs: write it like 10.0.0.0/8,192.0.2.1")
	errHostBits = errors.New("has a CIDR with bits set beyond its length: write 10.0.0.0/8 for a network, 10.1.2.3 for one address")
	errEveryone = errors.New("names every address there is, so anyone could say who they are: name the proxies in front")
	errURL      = errors.New("is not an absolute http:// or https:// URL with a plain host: write it like https://models.example.com")
	errUserinfo = errors.New("holds a user name or password: a URL in the settings must not")
	errFragment = errors.New("has a fragment: leave out what follows the #")
	errSpace    = errors.New("has blanks around it")
	errControl  = errors.New("has a control character (a line break?) in it")
)

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errBool
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errDuration
	}
	return d, nil
}

// parseSize is strict: no sign, no fraction, no blank, and the unit in one spelling.
func parseSize(s string) (Size, error) {
	digits := strings.TrimRightFunc(s, unicode.IsLetter)
	factor, ok := map[string]int64{
		"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	}[s[len(digits):]]
	n, err := strconv.ParseUint(digits, 10, 63)
	if !ok || err != nil || int64(n) > math.MaxInt64/factor {
		return 0, errSize
	}
	return Size(int64(n) * factor), nil
}

// UnmarshalText reads a size as a setting has it.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = parseSize(string(text))
	return err
}

// UnmarshalText reads a URL as a setting has it.
func (u *URL) UnmarshalText(text []byte) (err error) {
	u.URL, err = parseURL(string(text))
	return err
}

func parseList(s string) ([]string, error) {
	list := strings.Split(s, ",")
	for i, e := range list {
		if list[i] = strings.TrimSpace(e); list[i] == "" {
			return nil, errList
		}
	}
	return list, nil
}

func parsePrefixes(s string) ([]netip.Prefix, error) {
	list, err := parseList(s)
	if err != nil {
		return nil, err
	}
	var prefixes []netip.Prefix
	for _, e := range list {
		p, err := parsePrefix(e)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

// parsePrefix takes an address for the network of that one address. Trusting
// all addresses is refused: that default gave away every identity header in
// more than one proxy (CVE-2026-76835).
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return netip.Prefix{}, errPrefix
	case p.Bits() == 0:
		return netip.Prefix{}, errEveryone
	case p != p.Masked():
		return netip.Prefix{}, errHostBits
	}
	return p, nil
}

// parseURL is stricter than url.Parse where two programs could read a URL
// differently: the scheme in lower case, a host of plain characters or an IP
// address, a port that is a number, no user information, no fragment.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil,
		!strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "http://"),
		strings.ContainsAny(s, "\\ "):
		return nil, errURL
	case u.User != nil:
		return nil, errUserinfo
	case u.Fragment != "" || strings.Contains(s, "#"):
		return nil, errFragment
	}
	authority, _, _ := strings.Cut(strings.SplitN(s, "://", 2)[1], "/")
	authority, _, _ = strings.Cut(authority, "?")
	if authority != u.Host || !plainHost(u.Hostname()) || strings.HasSuffix(u.Host, ":") || !plainPort(u.Port()) {
		return nil, errURL
	}
	return u, nil
}

// plainHost accepts an IP address or letters, digits, hyphens, underscores and
// dots: a name in another script is written in its ASCII form.
func plainHost(h string) bool {
	if a, err := netip.ParseAddr(h); err == nil {
		return a.Zone() == ""
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(h, "."), ".") {
		if label == "" || strings.Trim(label, unreservedButDot) != "" {
			return false
		}
	}
	return true
}

const unreservedButDot = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func plainPort(p string) bool {
	if p == "" {
		return true
	}
	n, err := strconv.ParseUint(p, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == p
}

// parseHostPort accepts what a listener takes: an empty host is every address,
// port 0 a free one.
func parseHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || strconv.FormatUint(n, 10) != port || host != "" && !plainHost(host) {
		return errors.New("is not host:port: write it like :8080 or 127.0.0.1:9090")
	}
	return nil
}

// plainText is asked of every value, secrets included: blanks around a key do
// not survive a header field, and a line break in it would end the field.
func plainText(s string) error {
	if strings.TrimSpace(s) != s {
		return errSpace
	}
	return noControl(s)
}

func noControl(s string) error {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return errControl
	}
	return nil
}

// loopback reports whether a host is this machine, where plain http crosses no wire.
func loopback(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost")
}
