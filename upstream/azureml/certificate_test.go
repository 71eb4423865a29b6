package azureml_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"amlproxy/internal/secret"
	"amlproxy/upstream/azureml"
	"amlproxy/upstream/azuremltest"
)

// Made by openssl pkcs12 -export -passout pass:pfx-password, with and without
// -legacy, of a self-signed certificate that nobody trusts.
const (
	pfx         = "testdata/client.pfx"
	modernPFX   = "testdata/modern.pfx"
	pfxPassword = "pfx-password"
)

// newPEM returns a certificate with its key, as a file would hold them.
func newPEM(t *testing.T) ([]byte, crypto.PublicKey) {
	t.Helper()
	key := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "amlproxy"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t)
	keyDER := must(x509.MarshalPKCS8PrivateKey(key))(t)
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...), key.Public()
}

func mustURL(t *testing.T, raw string) *url.URL {
	t.Helper()
	return must(url.Parse(raw))(t)
}

// certified is a configuration whose identity is a certificate.
func certified(t *testing.T, a *azuremltest.Azure, file, password string) azureml.Config {
	t.Helper()
	cfg := config(t, a)
	cfg.Identity.ClientSecret = secret.Value{}
	cfg.Identity.CertFile, cfg.Identity.CertPassword = file, secret.New(password)
	return cfg
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAClientCertificateIsAnIdentity(t *testing.T) {
	file := filepath.Join(t.TempDir(), "client.pem")
	content, public := newPEM(t)
	write(t, file, content)
	chain, _, err := azidentity.ParseCertificates(must(os.ReadFile(pfx))(t), []byte(pfxPassword))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		public         crypto.PublicKey
		file, password string
	}{
		"PEM":     {public, file, ""},
		"PKCS 12": {chain[0].PublicKey, pfx, pfxPassword},
	} {
		t.Run(name, func(t *testing.T) {
			a := startAzure(t, azuremltest.Options{AssertionKey: c.public})
			must(a.AddEndpoint(azuremltest.Endpoint{Name: "m", Model: model}))(t)
			fetch(t, open(t, certified(t, a, c.file, c.password)).Endpoint("m", "", azureml.Auto), nil)
			wantCalls(t, a, map[string]int{authorityToken: 1, "get endpoint/m": 1, "listkeys endpoint/m": 1})
		})
	}
}

// A certificate lives shorter than the process: the file is read again for the
// next token, and one that cannot be read leaves the old one in use.
func TestARenewedCertificateIsTakenUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "client.pem")
	old, oldPublic := newPEM(t)
	renewed, newPublic := newPEM(t)
	write(t, file, old)
	before := startAzure(t, azuremltest.Options{AssertionKey: oldPublic})
	w := open(t, certified(t, before, file, ""))
	fetch(t, w.Entra(mustURL(t, "https://m.test/score"), before.MLScope()), nil)
	write(t, file, renewed[:100])
	fetch(t, w.Entra(mustURL(t, "https://m.test/score"), before.ARMAudience()+"/.default"), nil)

	after := startAzure(t, azuremltest.Options{AssertionKey: newPublic})
	write(t, file, old)
	w = open(t, certified(t, after, file, ""))
	write(t, file, renewed)
	fetch(t, w.Entra(mustURL(t, "https://m.test/score"), after.MLScope()), nil)
}

func TestAMistakenCertificateIsRefusedAtStart(t *testing.T) {
	dir := t.TempDir()
	good, _ := newPEM(t)
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		write(t, path, []byte(content))
		return path
	}
	whole := file("whole.pem", string(good))
	keyless := file("keyless.pem", string(good[:strings.Index(string(good), "-----BEGIN PRIVATE KEY")]))
	for name, c := range map[string]struct {
		change func(*azureml.Identity)
		says   string
	}{
		"no file":         {func(id *azureml.Identity) { id.CertFile = filepath.Join(dir, "none") }, "no such file"},
		"garbage":         {func(id *azureml.Identity) { id.CertFile = file("garbage", "canary-garbage") }, "neither PEM"},
		"no key":          {func(id *azureml.Identity) { id.CertFile = keyless }, "no private key"},
		"wrong password":  {func(id *azureml.Identity) { id.CertFile, id.CertPassword = pfx, secret.New("canary-password") }, "password"},
		"a SHA-256 MAC":   {func(id *azureml.Identity) { id.CertFile, id.CertPassword = modernPFX, secret.New(pfxPassword) }, "SHA-1 MAC"},
		"no tenant":       {func(id *azureml.Identity) { id.TenantID = "" }, "tenant ID"},
		"no client ID":    {func(id *azureml.Identity) { id.ClientID = "" }, "client ID"},
		"and a secret":    {func(id *azureml.Identity) { id.ClientSecret = secret.New("canary-secret") }, "exclude"},
		"and a login":     {func(id *azureml.Identity) { id.Login = azureml.LoginBrowser }, "exclude"},
		"password, alone": {func(id *azureml.Identity) { id.CertFile, id.CertPassword = "", secret.New("canary-password") }, "password needs"},
	} {
		cfg := stubbed(stub)
		cfg.Identity.ClientSecret = secret.Value{}
		cfg.Identity.CertFile = whole
		c.change(&cfg.Identity)
		_, err := azureml.New(cfg)
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		wantText(t, err, c.says)
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: a secret in: %v", name, err)
		}
	}
}
