package config

import (
	"crypto/tls"

	"amlproxy/internal/secret"
)

// upstreamTLS judges what a backend is called with. What is in the files is kept: a
// reload sees by it that one of them changed.
func (c *checker) upstreamTLS(r *rawTLS, b *Backend) *TLS {
	if r == nil {
		return nil
	}
	if b.URL != nil && b.URL.Scheme != "https" {
		c.add(r.at, "is for an address without TLS: name it with https://, or leave tls out")
	}
	out := &TLS{ServerName: r.ServerName.v}
	if r.ServerName.good() && (!plainHost(out.ServerName) || out.ServerName == "") {
		c.add(r.ServerName.at, "is not the name of a server: write it like models.example.com, without a port")
	}
	if r.CAFile.good() {
		out.CA = c.pemFile(r.CAFile)
	}
	switch {
	case r.CertFile.set() != r.KeyFile.set():
		c.add(firstOf(r.CertFile.at, r.KeyFile.at), "is one half of a pair: set cert_file and key_file, or none of them")
	case r.CertFile.good() && r.KeyFile.good():
		out.Cert, out.Key = c.clientPair(r)
	}
	return out
}

// pemFile returns what is in a file of certificates.
func (c *checker) pemFile(l leaf[string]) string {
	b, err := c.readFile(c.beside(l.v), maxPEMFile)
	if err != nil {
		c.add(l.at, err.Error())
		return ""
	}
	if len(certificates(b)) == 0 {
		c.add(l.at, "names a file without a certificate in PEM, or with a broken one")
	}
	return string(b)
}

func (c *checker) clientPair(r *rawTLS) (cert string, key secret.Value) {
	cert = c.pemFile(r.CertFile)
	b, err := c.readFile(c.beside(r.KeyFile.v), maxPEMFile)
	if err != nil {
		c.add(r.KeyFile.at, err.Error())
		return cert, key
	}
	if _, err := tls.X509KeyPair([]byte(cert), b); err != nil && cert != "" {
		c.add(r.KeyFile.at, "names a file without the private key, in PEM, of the first certificate in cert_file")
	}
	return cert, secret.New(string(b))
}
