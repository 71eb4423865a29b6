package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// A checker judges what was read: each setting, then the settings together.
type checker struct {
	*environment
	s     *Settings
	named leaf[[]rawWorkspace] // the workspaces of the routes file
}

// The bounds of settings whose extremes switch a protection off.
const (
	minHeader, maxHeader = 4 << 10, 1 << 20
	maxReplay            = 1 << 30
	maxPEMFile           = 1 << 20
)

// serving judges the listeners and what protects them.
func (c *checker) serving() {
	c.byTable()
	for _, name := range []string{"LISTEN", "ADMIN_LISTEN"} {
		if v, ok := c.value(name); ok {
			c.note(name, parseHostPort(v))
		}
	}
	if _, port, err := net.SplitHostPort(c.s.Listen); err == nil && port != "0" && c.s.Listen == c.s.AdminListen {
		c.mistake("ADMIN_LISTEN", "is the address of "+Prefix+"LISTEN: give each its own")
	}
	if n := c.s.MaxHeaderBytes; n > 0 && (n < minHeader || n > maxHeader) {
		c.mistake("MAX_HEADER_BYTES", "is not between 4KiB and 1MiB")
	}
	if c.s.ReplayLimit > maxReplay {
		c.mistake("REPLAY_LIMIT", "is above 1GiB: every body up to it is kept in memory")
	}
	c.publicURL()
	c.certificate()
	c.pool("CA_FILE")
	c.audit()
}

// byTable makes the checks that the table of settings itself asks for: one of
// a few words, and above 0.
func (c *checker) byTable() {
	fields := reflect.ValueOf(c.s).Elem()
	for _, row := range c.table {
		v, ok := c.values[row.name]
		if !ok {
			continue
		}
		if row.oneof != nil && !slices.Contains(row.oneof, v) {
			c.add(row.name, "is none of "+strings.Join(row.oneof, ", "))
		}
		f := fields.FieldByName(row.field)
		if f.IsValid() && f.Type() == row.typ && f.CanInt() && (f.Int() < 0 || f.Int() == 0 && !row.zero) && !c.reported(row.name) {
			c.add(row.name, "must be above 0: do not set it, for the default")
		}
	}
}

func (c *checker) reported(where string) bool {
	return slices.ContainsFunc(c.problems, func(p Problem) bool { return p.Where == where })
}

// publicURL wants scheme and host alone, and brings them into the one spelling
// that browsers use. A slash at the end is forgiven.
func (c *checker) publicURL() {
	u := c.s.PublicURL.URL
	if u == nil {
		return
	}
	if u.Path == "/" {
		u.Path = ""
	}
	u.Host = strings.ToLower(u.Host)
	u.Host = strings.TrimSuffix(u.Host, map[string]string{"https": ":443", "http": ":80"}[u.Scheme])
	if u.Path != "" || u.RawQuery != "" || u.ForceQuery {
		c.mistake("PUBLIC_URL", "has a path or a query: write scheme and host alone, like https://models.example.com")
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		c.warn(Prefix+"PUBLIC_URL", "is plain http: cookies and tokens of callers can be read on the way")
	}
}

// certificate loads what TLS is served with, so that a key that does not fit is
// found here and not at the first handshake.
func (c *checker) certificate() {
	certFile, withCert := c.value("TLS_CERT_FILE")
	keyFile, withKey := c.value("TLS_KEY_FILE")
	switch {
	case c.has("TLS_CERT_FILE") && !c.has("TLS_KEY_FILE"):
		c.mistake("TLS_CERT_FILE", "is set without "+Prefix+"TLS_KEY_FILE: set both or none")
	case c.has("TLS_KEY_FILE") && !c.has("TLS_CERT_FILE"):
		c.mistake("TLS_KEY_FILE", "is set without "+Prefix+"TLS_CERT_FILE: set both or none")
	}
	c.pool("CLIENT_CA_FILE")
	if c.has("CLIENT_CA_FILE") && !c.has("TLS_CERT_FILE") {
		c.mistake("CLIENT_CA_FILE", "is set without "+Prefix+"TLS_CERT_FILE: without TLS nobody can show a certificate")
	}
	if !withCert || !withKey {
		return
	}
	cert, certErr := c.readFile(certFile, maxPEMFile)
	key, keyErr := c.readFile(keyFile, maxPEMFile)
	c.note("TLS_CERT_FILE", certErr)
	c.note("TLS_KEY_FILE", keyErr)
	if certErr != nil || keyErr != nil {
		return
	}
	if len(certificates(cert)) == 0 {
		c.mistake("TLS_CERT_FILE", "names a file without a certificate in PEM, or with a broken one")
	} else if _, err := tls.X509KeyPair(cert, key); err != nil {
		c.mistake("TLS_KEY_FILE", "names a file without the private key, in PEM, of the first certificate in "+Prefix+"TLS_CERT_FILE")
	}
}

// pool judges a setting that names a file of roots.
func (c *checker) pool(name string) {
	file, ok := c.value(name)
	if !ok {
		return
	}
	b, err := c.readFile(file, maxPEMFile)
	c.note(name, err)
	if err == nil && len(certificates(b)) == 0 {
		c.mistake(name, "names a file without a certificate in PEM, or with a broken one")
	}
}

// certificates returns those of a PEM file; nil if any of them is broken, since
// a root that is silently left out is missed much later.
func certificates(b []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return all
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil
		}
		all = append(all, cert)
	}
}

// value returns a setting that was given and could be read.
func (c *checker) value(name string) (string, bool) {
	v, ok := c.values[Prefix+name]
	return v, ok
}

func (c *checker) mistake(name, what string) { c.add(Prefix+name, what) }

func (c *checker) note(name string, err error) {
	if err != nil {
		c.mistake(name, err.Error())
	}
}

// web parses an https URL, or an http one with a warning.
func (c *checker) web(where, value string) *url.URL {
	u, err := parseURL(value)
	if err != nil {
		c.add(where, err.Error())
		return nil
	}
	c.plainHTTP(where, u)
	return u
}
