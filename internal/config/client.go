package config

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"amlproxy/internal/secret"
)

// client judges how the proxy's client proves itself at the provider: in one way,
// said completely. None at all is a public client, with PKCE alone.
func (c *checker) client() {
	ways := []string{"OIDC_CLIENT_SECRET", "OIDC_CLIENT_KEY_FILE", "OIDC_CLIENT_ASSERTION_FILE"}
	given := slices.DeleteFunc(slices.Clone(ways), func(n string) bool { return !c.has(n) })
	if len(given) > 1 {
		c.add(c.place(given[1]), "is set together with "+c.place(given[0])+": the client proves itself in one way")
	}
	for name, needs := range map[string]string{
		"OIDC_CLIENT_AUTH": ways[0], "OIDC_CLIENT_CERT_FILE": ways[1], "OIDC_CLIENT_KEY_ID": ways[1], "OIDC_CLIENT_ASSERTION_AUDIENCE": ways[1],
	} {
		if c.has(name) && !c.has(needs) {
			c.mistake(name, "has no effect without "+Prefix+needs+": set that, or remove this")
		}
	}
	c.clientKey()
	if file, ok := c.value("OIDC_CLIENT_ASSERTION_FILE"); ok {
		_, err := ReadAssertion(file) // it is read again each time
		c.note("OIDC_CLIENT_ASSERTION_FILE", err)
	}
	c.endpoints()
	c.parameters()
	if c.s.OIDCResponseMode == "form_post" && c.s.PublicURL.URL != nil && c.s.PublicURL.Scheme != "https" {
		c.mistake("OIDC_RESPONSE_MODE", "is form_post, which needs https in "+Prefix+"PUBLIC_URL: no browser sends the cookie of the login otherwise")
	}
}

func (c *checker) clientKey() {
	keyFile, ok := c.value("OIDC_CLIENT_KEY_FILE")
	if !ok {
		return
	}
	certFile, _ := c.value("OIDC_CLIENT_CERT_FILE")
	_, _, err := c.clientKeyOf(keyFile, "")
	if err == nil && certFile != "" {
		_, _, err = c.clientKeyOf(keyFile, certFile)
		c.note("OIDC_CLIENT_CERT_FILE", err)
		return
	}
	c.note("OIDC_CLIENT_KEY_FILE", err)
}

// ReadClientKey reads the files of OIDC_CLIENT_KEY_FILE and, unless it is empty,
// OIDC_CLIENT_CERT_FILE, which has to be of that key. Its errors quote nothing of either.
func ReadClientKey(keyFile, certFile string) (crypto.Signer, *x509.Certificate, error) {
	return new(report).clientKeyOf(keyFile, certFile)
}

func (r *report) clientKeyOf(keyFile, certFile string) (crypto.Signer, *x509.Certificate, error) {
	b, err := r.readFile(keyFile, maxPEMFile)
	if err != nil {
		return nil, nil, err
	}
	key, err := signer(b)
	if err != nil || certFile == "" {
		return key, nil, err
	}
	if b, err = r.readFile(certFile, maxPEMFile); err != nil {
		return nil, nil, err
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	for _, cert := range certificates(b) {
		if ok && public.Equal(cert.PublicKey) {
			return key, cert, nil
		}
	}
	return nil, nil, errors.New("names a file without a certificate (PEM) of the key in " + Prefix + "OIDC_CLIENT_KEY_FILE")
}

// signer returns the one private key in PEM.
func signer(b []byte) (crypto.Signer, error) {
	errNone := errors.New("names a file without exactly one private key in PEM, plain: RSA of 2048 bits or more, EC on P-256, P-384 or P-521, or Ed25519")
	var found crypto.Signer
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		key := privateKey(block)
		if key == nil || found != nil {
			return nil, errNone
		}
		found = key
	}
	if found == nil {
		return nil, errNone
	}
	return found, nil
}

func privateKey(block *pem.Block) crypto.Signer {
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	}
	if err != nil {
		return nil
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() >= 2048 {
			return k
		}
	case *ecdsa.PrivateKey:
		if k.Curve.Params().BitSize >= 256 {
			return k
		}
	case ed25519.PrivateKey:
		return k
	}
	return nil
}

// endpoints judges the addresses that replace discovery: half of them would be
// believed to be all.
func (c *checker) endpoints() {
	required := []string{"OIDC_AUTHORIZATION_URL", "OIDC_TOKEN_URL", "OIDC_JWKS_URL"}
	all := append(slices.Clone(required), "OIDC_END_SESSION_URL", "OIDC_USERINFO_URL")
	if !slices.ContainsFunc(all, c.has) {
		return
	}
	for _, name := range required {
		if !c.has(name) {
			c.mistake(name, "is missing: without discovery a login needs "+Prefix+strings.Join(required, ", "+Prefix))
		}
	}
	for _, name := range all {
		value, ok := c.value(name)
		if !ok {
			continue
		}
		u := c.web(Prefix+name, value)
		if u != nil && u.Scheme != "https" && strings.HasPrefix(c.s.OIDCIssuer, "https:") {
			c.mistake(name, "is plain http, and "+Prefix+"OIDC_ISSUER is https")
		}
	}
}

// ReadAssertion reads the file of OIDC_CLIENT_ASSERTION_FILE.
func ReadAssertion(file string) (secret.Value, error) {
	s, err := new(report).readSecret(file)
	return secret.New(strings.TrimSpace(s)), err
}

// parameters judges what is asked of the provider besides what makes a login.
func (c *checker) parameters() {
	fixed := map[string]string{}
	for _, p := range c.s.OIDCParameters {
		name, value, ok := strings.Cut(p, "=")
		_, twice := fixed[name]
		switch {
		case !ok || !slices.Contains(loginParameters(), name):
			c.mistake("OIDC_PARAMETERS", "holds something else than "+strings.Join(loginParameters(), "=…, ")+"=…")
		case twice:
			c.mistake("OIDC_PARAMETERS", "has "+name+" twice")
		case value == "" || !goodParameter(name, value):
			c.mistake("OIDC_PARAMETERS", "has no value that "+name+" may have")
		}
		fixed[name] = value
	}
	for _, name := range c.s.OIDCStartParameters {
		_, twice := fixed[name]
		switch {
		case name == "none" && len(c.s.OIDCStartParameters) == 1:
		case !slices.Contains(loginParameters(), name):
			c.mistake("OIDC_START_PARAMETERS", "holds something else than "+strings.Join(loginParameters(), ", ")+", or none alone")
		case twice && c.has("OIDC_START_PARAMETERS"):
			c.mistake("OIDC_START_PARAMETERS", "has "+name+", which "+Prefix+"OIDC_PARAMETERS fixes")
		}
	}
}

func loginParameters() []string {
	return []string{"prompt", "login_hint", "domain_hint", "acr_values", "max_age"}
}

// goodParameter judges as package authn does, which would refuse to start.
func goodParameter(name, value string) bool {
	if len(value) > 300 || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
		return false
	}
	words := strings.Split(value, " ")
	switch name {
	case "prompt":
		for i, w := range words {
			if !slices.Contains([]string{"none", "login", "consent", "select_account", "create"}, w) || slices.Contains(words[:i], w) {
				return false
			}
		}
		return len(words) == 1 || !slices.Contains(words, "none")
	case "max_age":
		n, err := strconv.ParseUint(value, 10, 32)
		return err == nil && n <= 365*24*3600 && strconv.FormatUint(n, 10) == value
	case "acr_values":
		return slices.Equal(strings.Fields(value), words) && !strings.ContainsFunc(value, func(r rune) bool { return r > '~' })
	case "domain_hint":
		return plainHint(value)
	}
	return true
}

// plainHint reports whether every byte may be in the name of a domain.
func plainHint(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._", r))
	})
}

// LoginParameters are those of OIDC_PARAMETERS by name.
func (s *Settings) LoginParameters() map[string]string {
	all := map[string]string{}
	for _, p := range s.OIDCParameters {
		name, value, _ := strings.Cut(p, "=")
		all[name] = value
	}
	return all
}

// StartParameters are the names of OIDC_START_PARAMETERS that are not fixed.
func (s *Settings) StartParameters() []string {
	fixed := s.LoginParameters()
	return slices.DeleteFunc(slices.Clone(s.OIDCStartParameters), func(name string) bool {
		_, is := fixed[name]
		return is || name == "none"
	})
}
