package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"amlproxy/internal/config"
)

// pair writes a self-signed certificate and its key.
func pair(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	return cert, key
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	cert, key := pair(t, dir, "a.example")
	_, otherKey := pair(t, dir, "b.example")
	text, broken, mixed := filepath.Join(dir, "text"), filepath.Join(dir, "broken.pem"), filepath.Join(dir, "mixed.pem")
	write(t, text, "nothing in PEM\n")
	write(t, broken, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("not DER")})))
	good, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	bad, err := os.ReadFile(broken)
	if err != nil {
		t.Fatal(err)
	}
	write(t, mixed, string(good)+string(bad))

	s := load(t, oneRoute("AMLPROXY_TLS_CERT_FILE="+cert, "AMLPROXY_TLS_KEY_FILE="+key, "AMLPROXY_CA_FILE="+cert, "AMLPROXY_CLIENT_CA_FILE="+cert))
	if s.TLSCertFile != cert || s.TLSKeyFile != key || s.CAFile != cert {
		t.Errorf("read as %q, %q, %q", s.TLSCertFile, s.TLSKeyFile, s.CAFile)
	}
	tests := map[string]struct {
		settings    []string
		where, what string
	}{
		"a certificate alone":       {[]string{"AMLPROXY_TLS_CERT_FILE=" + cert}, "AMLPROXY_TLS_CERT_FILE", "both or none"},
		"a key alone":               {[]string{"AMLPROXY_TLS_KEY_FILE=" + key}, "AMLPROXY_TLS_KEY_FILE", "both or none"},
		"another's key":             {[]string{"AMLPROXY_TLS_CERT_FILE=" + cert, "AMLPROXY_TLS_KEY_FILE=" + otherKey}, "AMLPROXY_TLS_KEY_FILE", "private key"},
		"a certificate for the key": {[]string{"AMLPROXY_TLS_CERT_FILE=" + cert, "AMLPROXY_TLS_KEY_FILE=" + cert}, "AMLPROXY_TLS_KEY_FILE", "private key"},
		"text for the certificate":  {[]string{"AMLPROXY_TLS_CERT_FILE=" + text, "AMLPROXY_TLS_KEY_FILE=" + key}, "AMLPROXY_TLS_CERT_FILE", "without a certificate"},
		"roots that are none":       {[]string{"AMLPROXY_CA_FILE=" + text}, "AMLPROXY_CA_FILE", "without a certificate"},
		"a key for roots":           {[]string{"AMLPROXY_CA_FILE=" + key}, "AMLPROXY_CA_FILE", "without a certificate"},
		"broken roots":              {[]string{"AMLPROXY_CA_FILE=" + broken}, "AMLPROXY_CA_FILE", "without a certificate"},
		"roots, one of them broken": {[]string{"AMLPROXY_CA_FILE=" + mixed}, "AMLPROXY_CA_FILE", "certificate"},
		"roots of callers, no TLS":  {[]string{"AMLPROXY_CLIENT_CA_FILE=" + cert}, "AMLPROXY_CLIENT_CA_FILE", "without AMLPROXY_TLS_CERT_FILE"},
		"roots of callers, a key":   {[]string{"AMLPROXY_CLIENT_CA_FILE=" + key, "AMLPROXY_TLS_CERT_FILE=" + cert, "AMLPROXY_TLS_KEY_FILE=" + key}, "AMLPROXY_CLIENT_CA_FILE", "without a certificate"},
		"a folder for roots":        {[]string{"AMLPROXY_CA_FILE=" + dir}, "AMLPROXY_CA_FILE", "cannot be read"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { refused(t, oneRoute(test.settings...), test.where, test.what) })
	}
}

// What an endpoint is called with: the § marks where the mistake is.
func TestUpstreamTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := pair(t, dir, "a.example")
	_, other := pair(t, dir, "b.example")
	route := func(tls string) string {
		return "routes: [{name: a, url: https://h.example, auth: none, tls: " + tls + "}]"
	}
	file, _ := routesFile(t, route("{ca_file: "+cert+", cert_file: "+cert+", key_file: "+key+", server_name: b.example}"))
	s := load(t, login("AMLPROXY_ROUTES_FILE="+file))
	got := s.Routes[0].Backends[0].TLS
	if got == nil || got.CA == "" || got.Cert != got.CA || got.Key.IsZero() || got.ServerName != "b.example" {
		t.Errorf("%+v", got)
	}
	for _, name := range []string{file, cert, key} {
		if _, ok := s.Files[name]; !ok {
			t.Errorf("nobody would see a change of %s", name)
		}
	}
	for name, test := range map[string]struct{ text, what string }{
		"a certificate alone":   {route("{cert_file: §" + cert + "}"), "one half"},
		"a key alone":           {route("{key_file: §" + key + "}"), "one half"},
		"another's key":         {route("{cert_file: " + cert + ", key_file: §" + other + "}"), "private key"},
		"a key for roots":       {route("{ca_file: §" + key + "}"), "without a certificate"},
		"nothing":               {route("§{}"), "empty"},
		"an address without it": {"routes: [{name: a, url: http://127.0.0.1, auth: none, tls: §{server_name: b.example}}]", "without TLS"},
		"beside backends":       {"routes: [{name: a, tls: §{server_name: b.example}, backends: [{service: a}]}]", "beside backends"},
	} {
		t.Run(name, func(t *testing.T) {
			file, where := routesFile(t, test.text)
			all := problems(t, login("AMLPROXY_ROUTES_FILE="+file))
			if !near(all[0].Where, where) || !strings.Contains(all[0].What, test.what) {
				t.Errorf("not at %s with %q, but %v", where, test.what, all)
			}
		})
	}
}

// A secret, a key or a route that changes is taken over; anything else is named.
func TestWhatNeedsARestart(t *testing.T) {
	running := load(t, oneRoute("AML_TENANT_ID=t", "AML_PRINCIPAL_ID=p", "AML_PRINCIPAL_PASS=s", "AMLPROXY_REDIS_URL=redis://a"))
	fresh := load(t, set(oneRoute("AML_TENANT_ID=t", "AML_PRINCIPAL_ID=p", "AML_PRINCIPAL_PASS=other", "AMLPROXY_REDIS_URL=redis://a", "AMLPROXY_OIDC_CLIENT_SECRET=s"),
		"AMLPROXY_ROUTES_0_SERVICE=other", "AMLPROXY_COOKIE_SECRET=bm90IHRoZSBzYW1lIGFzIGJlZm9yZSwgMzIgYnl0ZXM="))
	if names := config.Restart(running, fresh); names != nil {
		t.Errorf("a restart for %v", names)
	}
	fresh = load(t, oneRoute("AML_TENANT_ID=u", "AML_PRINCIPAL_ID=p", "AML_PRINCIPAL_PASS=s", "AMLPROXY_REDIS_URL=redis://b", "AMLPROXY_LISTEN=:1"))
	want := []string{"AMLPROXY_LISTEN", "AMLPROXY_REDIS_URL", "AML_TENANT_ID"}
	if names := config.Restart(running, fresh); !slices.Equal(names, want) {
		t.Errorf("a restart for %v, not %v", names, want)
	}
}

func TestKeyFileIsFoundBesideTheRoutes(t *testing.T) {
	file, _ := routesFile(t, "routes: [{name: a, url: https://h.example, auth: key, key_file: keys/primary, secondary_key_file: keys/secondary}]")
	dir := filepath.Join(filepath.Dir(file), "keys")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "primary"), "one\n")
	write(t, filepath.Join(dir, "secondary"), "two\n")
	r := load(t, login("AMLPROXY_ROUTES_FILE="+file)).Routes[0].Backends[0]
	if r.Key.Reveal() != "one" || r.SecondaryKey.Reveal() != "two" {
		t.Errorf("read %q and %q", r.Key.Reveal(), r.SecondaryKey.Reveal())
	}
	write(t, filepath.Join(dir, "secondary"), "\n")
	refused(t, login("AMLPROXY_ROUTES_FILE="+file), file+":1:99", "empty")
}
