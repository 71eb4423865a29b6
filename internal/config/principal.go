package config

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"time"
)

// What a principal is made of.
const (
	tenantName   = "AML_TENANT_ID"
	clientName   = "AML_PRINCIPAL_ID"
	passName     = "AML_PRINCIPAL_PASS"
	certName     = "AML_PRINCIPAL_CERT_FILE"
	passwordName = "AML_PRINCIPAL_CERT_PASSWORD" //nolint:gosec // its name
)

// principal judges who the proxy is: said once, and said completely.
func (c *checker) principal() {
	all := []string{tenantName, clientName, passName, certName, passwordName}
	given := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return !c.seen[n] })
	if c.has("AZURE_LOGIN") {
		// A tenant alone: where the operator signs in.
		given = slices.DeleteFunc(given, func(n string) bool { return n == tenantName })
	} else if len(given) > 0 {
		c.whole()
	}
	switch {
	case c.has("SDK_AUTH_FILE") && (len(given) > 0 || c.seen[tenantName]):
		c.mistake("SDK_AUTH_FILE", "is set together with AML_…: say in one place who the proxy is")
	case c.has("AZURE_LOGIN") && (len(given) > 0 || c.has("SDK_AUTH_FILE")):
		c.mistake("AZURE_LOGIN", "is set together with a service principal: say in one place who the proxy is")
	default:
		if file, ok := c.value("SDK_AUTH_FILE"); ok {
			c.sdkAuth(file)
		}
	}
	c.certificateOfPrincipal()
}

// whole wants both names, and one proof.
func (c *checker) whole() {
	for _, n := range []string{tenantName, clientName} {
		if !c.seen[n] {
			c.add(n, "is missing: a service principal needs "+tenantName+" and "+clientName)
		}
	}
	switch {
	case c.seen[passName] && c.seen[certName]:
		c.add(certName, "is set together with "+passName+": the principal proves itself by one of the two")
	case !c.seen[passName] && !c.seen[certName]:
		c.add(passName, "is missing: a service principal needs it, or "+certName)
	}
}

// certificateOfPrincipal looks into the certificate: what can be seen without its password.
func (c *checker) certificateOfPrincipal() {
	if c.seen[passwordName] && !c.seen[certName] {
		c.add(passwordName, "is set without "+certName+": set both, or neither")
	}
	file, ok := c.values[certName]
	if !ok {
		return
	}
	isPEM := c.clientCertificate(certName, file)
	if isPEM && c.seen[passwordName] {
		c.add(passwordName, "is for a PFX, and "+certName+" is PEM: remove it")
	}
}

// clientCertificate judges a certificate with its private key, and reports
// whether it is PEM. A PFX is left to those who can open it: package azureml does when
// the program starts, before anybody is served.
func (c *checker) clientCertificate(where, file string) (isPEM bool) {
	b, err := c.readFile(file, maxPEMFile)
	if err != nil {
		c.add(where, err.Error())
		return false
	}
	if block, _ := pem.Decode(b); block == nil {
		if !bytes.HasPrefix(b, []byte{0x30}) { // a SEQUENCE of DER (RFC 7292 section 4)
			c.add(where, "names a file that is neither PEM nor PFX")
		}
		return false
	}
	cert, err := keyPair(b)
	switch now := time.Now(); {
	case err != nil:
		c.add(where, err.Error())
	case now.After(cert.NotAfter):
		c.warn(where, "holds a certificate that ended on "+cert.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(cert.NotBefore):
		c.warn(where, "holds a certificate that begins on "+cert.NotBefore.UTC().Format(time.DateOnly))
	}
	return true
}

var (
	errNoCertificate = errors.New("names a file without a certificate in PEM, or with a broken one")
	errNoKey         = errors.New("names a file without exactly one private key in PEM, plain and RSA, which is what Entra takes")
	errOtherKey      = errors.New("names a file whose private key belongs to none of its certificates")
)

// keyPair returns the certificate that the private key of a PEM file is for.
func keyPair(b []byte) (*x509.Certificate, error) {
	certs := certificates(b)
	if len(certs) == 0 {
		return nil, errNoCertificate
	}
	var keys []*rsa.PrivateKey
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		key, ok := rsaKey(block)
		if !ok {
			return nil, errNoKey
		}
		keys = append(keys, key)
	}
	if len(keys) != 1 {
		return nil, errNoKey
	}
	i := slices.IndexFunc(certs, func(cert *x509.Certificate) bool { return keys[0].PublicKey.Equal(cert.PublicKey) })
	if i < 0 {
		return nil, errOtherKey
	}
	return certs[i], nil
}

// rsaKey reads the forms that azidentity reads.
func rsaKey(block *pem.Block) (*rsa.PrivateKey, bool) {
	var key crypto.PrivateKey
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	k, ok := key.(*rsa.PrivateKey)
	return k, ok && err == nil
}
