package config_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"path/filepath"
	"slices"
	"testing"

	"amlproxy/internal/config"
)

func pemOf(t *testing.T, kind string, der []byte) string {
	t.Helper()
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func keyPEM(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf(t, "PRIVATE KEY", der)
}

func certPEM(t *testing.T, key crypto.Signer) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf(t, "CERTIFICATE", der)
}

func TestClientKeyFiles(t *testing.T) {
	good, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	short, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := x509.MarshalECPrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	const where = "AMLPROXY_OIDC_CLIENT_KEY_FILE"
	for name, c := range map[string]struct{ key, cert, where string }{
		"RSA":                     {keyPEM(t, good), "", ""},
		"RSA, PKCS 1":             {pemOf(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(good)), "", ""},
		"EC":                      {keyPEM(t, curve), "", ""},
		"EC, SEC 1":               {pemOf(t, "EC PRIVATE KEY", ec), "", ""},
		"with a certificate":      {keyPEM(t, good), certPEM(t, good), ""},
		"beside a certificate":    {certPEM(t, good) + keyPEM(t, good), certPEM(t, curve) + certPEM(t, good), ""},
		"another's certificate":   {keyPEM(t, good), certPEM(t, curve), "AMLPROXY_OIDC_CLIENT_CERT_FILE"},
		"a certificate that none": {keyPEM(t, good), keyPEM(t, good), "AMLPROXY_OIDC_CLIENT_CERT_FILE"},
		"two keys":                {keyPEM(t, good) + keyPEM(t, curve), "", where},
		"a certificate alone":     {certPEM(t, good), "", where},
		"a key behind a password": {pemOf(t, "ENCRYPTED PRIVATE KEY", []byte("x")), "", where},
		"a short key":             {keyPEM(t, short), "", where},
		"garbage":                 {pemOf(t, "PRIVATE KEY", []byte("x")), "", where},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			environ := oneRoute(where + "=" + filepath.Join(dir, "key.pem"))
			write(t, filepath.Join(dir, "key.pem"), c.key)
			if c.cert != "" {
				write(t, filepath.Join(dir, "cert.pem"), c.cert)
				environ = append(environ, "AMLPROXY_OIDC_CLIENT_CERT_FILE="+filepath.Join(dir, "cert.pem"))
			}
			if c.where != "" {
				refused(t, environ, c.where, "")
				return
			}
			s := load(t, environ)
			key, cert, err := config.ReadClientKey(s.OIDCClientKeyFile, s.OIDCClientCertFile)
			if key == nil || (cert != nil) != (c.cert != "") || err != nil {
				t.Errorf("%v %v", cert, err)
			}
		})
	}
}

func TestLoginParametersOfSettings(t *testing.T) {
	for value, want := range map[string][]string{"": {"login_hint", "domain_hint"}, "none": nil, "prompt,max_age": {"prompt", "max_age"}} {
		environ := oneRoute("AMLPROXY_OIDC_PARAMETERS=acr_values=mfa phr")
		if value != "" {
			environ = append(environ, "AMLPROXY_OIDC_START_PARAMETERS="+value)
		}
		if got := load(t, environ).StartParameters(); !slices.Equal(got, want) {
			t.Errorf("%q: %v", value, got)
		}
	}
	// What is fixed is not free, by the default either.
	s := load(t, oneRoute("AMLPROXY_OIDC_PARAMETERS=domain_hint=example.com,prompt=select_account"))
	if !slices.Equal(s.StartParameters(), []string{"login_hint"}) ||
		!maps.Equal(s.LoginParameters(), map[string]string{"domain_hint": "example.com", "prompt": "select_account"}) {
		t.Errorf("%v %v", s.StartParameters(), s.LoginParameters())
	}
}
