package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// A way is how one host is reached, and which setting sends us there.
type way struct {
	transport *http.Transport
	lookup    func(ctx context.Context, host string) ([]string, error)
	setting   string // "AZURE_AUTHORITY_HOST"
}

// proxy returns the proxy of the environment that stands between us and at.
func (w way) proxy(at *url.URL) *url.URL {
	if w.transport.Proxy == nil {
		return nil
	}
	p, err := w.transport.Proxy(&http.Request{Method: http.MethodGet, URL: at, Host: at.Host})
	if err != nil {
		return nil // the connection will fail of it, and say so
	}
	return p
}

// resolves asks for the addresses of a host, unless a proxy does.
func (w way) resolves(ctx context.Context, at *url.URL) Finding {
	host := at.Hostname()
	if p := w.proxy(at); p != nil {
		return Finding{State: Skip, Detail: host + " is resolved by the proxy " + p.Redacted()}
	}
	if net.ParseIP(host) != nil {
		return Finding{Detail: host + " is an address"}
	}
	addresses, err := w.lookup(ctx, host)
	if err != nil {
		return w.trouble(ctx, at, err)
	}
	shown := addresses[:min(len(addresses), 2)]
	more := ""
	if n := len(addresses) - len(shown); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return Finding{Detail: host + " is " + strings.Join(shown, ", ") + more}
}

// A contact is what a host tells about itself by answering.
type contact struct {
	status int
	tls    string        // its version; empty in clear
	ahead  time.Duration // of our clock, if dated
	dated  bool
}

// connects has a host answer anything at all. No credential is sent.
func (w way) connects(ctx context.Context, at *url.URL) (contact, Finding) {
	c, err := w.get(ctx, &url.URL{Scheme: at.Scheme, Host: at.Host, Path: "/"}, http.Header{})
	if err != nil {
		return c, w.trouble(ctx, at, err)
	}
	detail := at.Host + " answers"
	if c.tls != "" {
		detail += " over " + c.tls
	}
	if p := w.proxy(at); p != nil {
		detail += ", through the proxy " + p.Redacted()
	}
	return c, Finding{Detail: detail}
}

// get sends one request. It follows no redirect, and looks at no body.
func (w way) get(ctx context.Context, at *url.URL, header http.Header) (contact, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return contact{}, err
	}
	req.Header = header
	req.Header.Set("User-Agent", "amlproxy doctor")
	resp, err := w.transport.RoundTrip(req)
	if err != nil {
		return contact{}, err
	}
	_ = resp.Body.Close()
	c := contact{status: resp.StatusCode}
	if resp.TLS != nil {
		c.tls = tls.VersionName(resp.TLS.Version)
	}
	c.ahead, c.dated = ahead(resp.Header)
	return c, nil
}

// ahead says how far our clock is ahead of the one that dated an answer. A date has
// whole seconds, rounded down: half a second is the best guess.
func ahead(header http.Header) (time.Duration, bool) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0, false
	}
	return time.Since(date.Add(time.Second / 2)), true
}

// trouble says why a host could not be reached, as far as the error tells.
func (w way) trouble(ctx context.Context, at *url.URL, err error) Finding {
	if f, ok := w.certificate(at, err); ok {
		return f
	}
	p := w.proxy(at)
	if p != nil {
		return Finding{Fail, at.Host + " cannot be reached through the proxy " + p.Redacted() + ": " + cause(ctx, err), []string{
			"the proxy is that of HTTPS_PROXY or HTTP_PROXY: is it right, and does it let " + at.Host + " pass?",
			"or reach " + at.Hostname() + " without it: add it to NO_PROXY",
		}}
	}
	var dns *net.DNSError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return Finding{Fail, at.Hostname() + " does not resolve: there is no such name", []string{
			"is it the right host? it comes from " + w.setting,
			"a name of a private endpoint resolves inside its network alone: run this where the proxy runs",
		}}
	case errors.As(err, &dns):
		return Finding{Fail, at.Hostname() + " could not be resolved: " + cause(ctx, err), []string{
			"does this machine have a name server that answers? see /etc/resolv.conf, and try: getent hosts " + at.Hostname(),
		}}
	case errors.Is(err, syscall.ECONNREFUSED):
		return Finding{Fail, at.Host + " refuses the connection: nothing listens there", []string{"is it the right host and port? they come from " + w.setting}}
	case errors.As(err, &plain), strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return Finding{Fail, at.Host + " does not speak TLS", []string{"is it the right port, and https? they come from " + w.setting}}
	}
	return Finding{Fail, at.Host + " cannot be reached: " + cause(ctx, err), []string{
		"a firewall, or a private endpoint that this machine is not on the network of? the host comes from " + w.setting,
	}}
}

// certificate says what is wrong with the certificate of a host, if that it is.
func (w way) certificate(at *url.URL, err error) (Finding, bool) {
	var refused *tls.CertificateVerificationError
	if !errors.As(err, &refused) {
		return Finding{}, false
	}
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	switch {
	case errors.As(err, &unknown):
		issuer := "an authority"
		if chain := refused.UnverifiedCertificates; len(chain) > 0 {
			issuer = fmt.Sprintf("%q", chain[len(chain)-1].Issuer.String())
		}
		hints := []string{"set AMLPROXY_CA_FILE to a file (PEM) with the root certificate of " + issuer}
		if p := w.proxy(at); p != nil {
			hints = append(hints, "the proxy "+p.Redacted()+" seems to look into TLS: then the root is the proxy's")
		}
		return Finding{Fail, "the certificate of " + at.Host + " is from " + issuer + ", which is not trusted here", hints}, true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		return Finding{
			Fail, fmt.Sprintf("the certificate of %s is valid from %s to %s, and here it is %s", at.Host,
				day(invalid.Cert.NotBefore), day(invalid.Cert.NotAfter), day(time.Now())),
			[]string{"is the clock of this machine right? else whoever runs " + at.Hostname() + " has to renew its certificate"},
		}, true
	case errors.As(err, &name) && name.Certificate != nil:
		return Finding{
			Fail, "the certificate of " + at.Host + " is for " + names(name.Certificate) + " alone",
			[]string{"use one of these names: the host comes from " + w.setting},
		}, true
	}
	return Finding{Fail, "the certificate of " + at.Host + " is not accepted: " + refused.Err.Error(), nil}, true
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// names are those that a certificate is for.
func names(c *x509.Certificate) string {
	all := c.DNSNames
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no name"
	}
	return strings.Join(all[:min(len(all), 5)], ", ")
}

// cause is the innermost thing worth saying about an error of the network.
func cause(ctx context.Context, err error) string {
	if late := context.Cause(ctx); late != nil {
		return late.Error()
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.Err
	}
	return err.Error()
}

// loopback reports whether nobody is between us and a host.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
