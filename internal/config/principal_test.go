package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"amlproxy/internal/config"
)

// rsaPair returns a certificate and its key, in PEM.
func rsaPair(t *testing.T, from, to time.Time) (cert, pkcs8, pkcs1 string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "amlproxy"}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", keyDER), block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func ecKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", der)
}

func file(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	write(t, name, text)
	return name
}

// principal is an environment with a tenant and a client.
func principal(more ...string) []string {
	return oneRoute(append([]string{"AML_TENANT_ID=t", "AML_PRINCIPAL_ID=c"}, more...)...)
}

func TestAPrincipalWithACertificate(t *testing.T) {
	now := time.Now()
	cert, pkcs8, pkcs1 := rsaPair(t, now.Add(-time.Hour), now.Add(time.Hour))
	root, _, _ := rsaPair(t, now, now)
	for name, text := range map[string]string{
		"PKCS 8": cert + pkcs8, "PKCS 1": cert + pkcs1, "key first": pkcs8 + cert, "a chain": root + cert + pkcs8, "with words": "Bag Attributes\n" + cert + "x\n" + pkcs8,
		"PFX": "\x30\x82\x01\x00",
	} {
		at := file(t, text)
		s := load(t, principal("AML_PRINCIPAL_CERT_FILE="+at))
		if id := s.Identity; id.CertFile != at || !id.ClientSecret.IsZero() || id.IsZero() || len(s.Warnings) != 0 {
			t.Errorf("%s: %+v, %q", name, id, s.Warnings)
		}
	}
	at := file(t, "\x30\x82\x01\x00")
	if id := load(t, principal("AML_PRINCIPAL_CERT_FILE="+at, "AML_PRINCIPAL_CERT_PASSWORD=p")).Identity; id.CertPassword.Reveal() != "p" {
		t.Errorf("%+v", id)
	}
	for _, times := range [][2]time.Time{{now.Add(-2 * time.Hour), now.Add(-time.Hour)}, {now.Add(time.Hour), now.Add(2 * time.Hour)}} {
		cert, key, _ := rsaPair(t, times[0], times[1])
		if s := load(t, principal("AML_PRINCIPAL_CERT_FILE="+file(t, cert+key))); len(s.Warnings) != 1 || !strings.HasPrefix(s.Warnings[0], "AML_PRINCIPAL_CERT_FILE: ") {
			t.Errorf("%v: %q", times, s.Warnings)
		}
	}
}

func TestAPrincipalThatIsRefused(t *testing.T) {
	now := time.Now()
	cert, key, _ := rsaPair(t, now.Add(-time.Hour), now.Add(time.Hour))
	_, otherKey, _ := rsaPair(t, now.Add(-time.Hour), now.Add(time.Hour))
	certFile := func(text string) string { return "AML_PRINCIPAL_CERT_FILE=" + file(t, text) }
	good := certFile(cert + key)
	sdk := file(t, `{"clientId":"c","clientSecret":"s","tenantId":"t"}`)
	tests := map[string]struct {
		environ     []string
		where, what string
	}{
		"no tenant":                   {oneRoute("AML_PRINCIPAL_ID=c", good), "AML_TENANT_ID", "is missing"},
		"no client":                   {oneRoute("AML_TENANT_ID=t", good), "AML_PRINCIPAL_ID", "is missing"},
		"a tenant alone":              {oneRoute("AML_TENANT_ID=t"), "AML_PRINCIPAL_PASS", "is missing"},
		"a secret alone":              {oneRoute("AML_PRINCIPAL_PASS=p"), "AML_TENANT_ID", "is missing"},
		"no proof":                    {principal(), "AML_PRINCIPAL_PASS", "or AML_PRINCIPAL_CERT_FILE"},
		"two proofs":                  {principal("AML_PRINCIPAL_PASS=p", good), "AML_PRINCIPAL_CERT_FILE", "one of the two"},
		"a password of nothing":       {principal("AML_PRINCIPAL_PASS=p", "AML_PRINCIPAL_CERT_PASSWORD=p"), "AML_PRINCIPAL_CERT_PASSWORD", "set both"},
		"a password alone":            {oneRoute("AML_PRINCIPAL_CERT_PASSWORD=p"), "AML_PRINCIPAL_CERT_PASSWORD", "set both"},
		"a password for PEM":          {principal(good, "AML_PRINCIPAL_CERT_PASSWORD=p"), "AML_PRINCIPAL_CERT_PASSWORD", "is PEM"},
		"a certificate without a key": {principal(certFile(cert)), "AML_PRINCIPAL_CERT_FILE", "exactly one private key"},
		"a key without a certificate": {principal(certFile(key)), "AML_PRINCIPAL_CERT_FILE", "without a certificate"},
		"two keys":                    {principal(certFile(cert + key + otherKey)), "AML_PRINCIPAL_CERT_FILE", "exactly one private key"},
		"the same key twice":          {principal(certFile(cert + key + key)), "AML_PRINCIPAL_CERT_FILE", "exactly one private key"},
		"another's key":               {principal(certFile(cert + otherKey)), "AML_PRINCIPAL_CERT_FILE", "none of its certificates"},
		"a key that is not RSA":       {principal(certFile(cert + ecKey(t))), "AML_PRINCIPAL_CERT_FILE", "RSA"},
		"a key that is encrypted":     {principal(certFile(cert + block("ENCRYPTED PRIVATE KEY", []byte("x")))), "AML_PRINCIPAL_CERT_FILE", "plain"},
		"a key that is broken":        {principal(certFile(cert + block("PRIVATE KEY", []byte("x")))), "AML_PRINCIPAL_CERT_FILE", "exactly one private key"},
		"a certificate that is":       {principal(certFile(block("CERTIFICATE", []byte("x")) + key)), "AML_PRINCIPAL_CERT_FILE", "broken"},
		"text":                        {principal(certFile("nothing of either")), "AML_PRINCIPAL_CERT_FILE", "neither PEM nor PFX"},
		"an empty file":               {principal(certFile("")), "AML_PRINCIPAL_CERT_FILE", "neither PEM nor PFX"},
		"a folder":                    {principal("AML_PRINCIPAL_CERT_FILE=/"), "AML_PRINCIPAL_CERT_FILE", "cannot be read"},
		"a certificate and a file":    {principal(good, "AMLPROXY_SDK_AUTH_FILE="+sdk), "AMLPROXY_SDK_AUTH_FILE", "one place"},
		"a tenant and a file":         {oneRoute("AML_TENANT_ID=t", "AMLPROXY_SDK_AUTH_FILE="+sdk), "AMLPROXY_SDK_AUTH_FILE", "one place"},
		"a login and a certificate":   {principal(good, "AMLPROXY_AZURE_LOGIN=browser"), "AMLPROXY_AZURE_LOGIN", "one place"},
		"a login and a client":        {oneRoute("AML_PRINCIPAL_ID=c", "AMLPROXY_AZURE_LOGIN=browser"), "AMLPROXY_AZURE_LOGIN", "one place"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { refused(t, test.environ, test.where, test.what) })
	}
}

func TestAnOperatorMaySayTheTenant(t *testing.T) {
	s := load(t, oneRoute("AML_TENANT_ID=t", "AMLPROXY_AZURE_LOGIN=device-code"))
	if s.Identity.TenantID != "t" || !s.Identity.IsZero() || s.AzureLogin != "device-code" {
		t.Errorf("%+v", s.Identity)
	}
}

// Both forms that az has printed, and what the older one says of its cloud.
func TestServicePrincipalFiles(t *testing.T) {
	now := time.Now()
	cert, key, _ := rsaPair(t, now.Add(-time.Hour), now.Add(time.Hour))
	pemFile := file(t, cert+key)
	const old = `{"clientId":"c","clientSecret":"s","tenantId":"t","subscriptionId":"sub"`
	tests := map[string]struct {
		text    string
		environ []string
		want    config.Identity // but for the secret
		secret  string
		cloud   string
	}{
		"old":                  {text: old + `}`, secret: "s", cloud: "public"},
		"new":                  {text: `{"appId":"c","displayName":"x","password":"s","tenant":"t"}`, secret: "s", cloud: "public"},
		"with a mark":          {text: "\ufeff" + old + `}`, secret: "s", cloud: "public"},
		"old, certificate":     {text: `{"clientId":"c","clientCertificate":"` + pemFile + `","tenantId":"t"}`, want: config.Identity{CertFile: pemFile}, cloud: "public"},
		"new, certificate":     {text: `{"appId":"c","password":null,"fileWithCertAndPrivateKey":"` + pemFile + `","tenant":"t"}`, want: config.Identity{CertFile: pemFile}, cloud: "public"},
		"public":               {text: old + `,"activeDirectoryEndpointUrl":"https://login.microsoftonline.com","resourceManagerEndpointUrl":"https://management.azure.com/"}`, want: config.Identity{AuthorityHost: "https://login.microsoftonline.com"}, secret: "s", cloud: "public"},
		"US government":        {text: old + `,"activeDirectoryEndpointUrl":"https://login.microsoftonline.us","resourceManagerEndpointUrl":"https://management.usgovcloudapi.net/"}`, want: config.Identity{AuthorityHost: "https://login.microsoftonline.us"}, secret: "s", cloud: "usgovernment"},
		"China":                {text: old + `,"activeDirectoryEndpointUrl":"https://login.chinacloudapi.cn","resourceManagerEndpointUrl":"https://management.chinacloudapi.cn"}`, want: config.Identity{AuthorityHost: "https://login.chinacloudapi.cn"}, secret: "s", cloud: "china"},
		"China, the new name":  {text: old + `,"activeDirectoryEndpointUrl":"https://login.partner.microsoftonline.cn"}`, want: config.Identity{AuthorityHost: "https://login.partner.microsoftonline.cn"}, secret: "s", cloud: "china"},
		"the cloud said twice": {text: old + `,"resourceManagerEndpointUrl":"https://management.usgovcloudapi.net/"}`, environ: []string{"AMLPROXY_AZURE_CLOUD=usgovernment"}, secret: "s", cloud: "usgovernment"},
		"a private cloud": {
			text:    old + `,"activeDirectoryEndpointUrl":"https://login.azs.example","resourceManagerEndpointUrl":"https://management.azs.example/"}`,
			environ: []string{"AMLPROXY_AZURE_ARM_URL=https://management.azs.example", "AMLPROXY_AZURE_ARM_AUDIENCE=https://management.azs.example/x"},
			want:    config.Identity{AuthorityHost: "https://login.azs.example"}, secret: "s", cloud: "public",
		},
		"another authority by hand": {
			text:    old + `,"activeDirectoryEndpointUrl":"https://login.microsoftonline.us","resourceManagerEndpointUrl":"https://management.azure.com/"}`,
			environ: []string{"AZURE_AUTHORITY_HOST=https://login.microsoftonline.com/"},
			want:    config.Identity{AuthorityHost: "https://login.microsoftonline.com/"}, secret: "s", cloud: "public",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := load(t, oneRoute(append(test.environ, "AMLPROXY_SDK_AUTH_FILE="+file(t, test.text))...))
			id := s.Identity
			if id.TenantID != "t" || id.ClientID != "c" || id.ClientSecret.Reveal() != test.secret || id.CertFile != test.want.CertFile || id.AuthorityHost != test.want.AuthorityHost || s.AzureCloud != test.cloud {
				t.Errorf("%+v, %s", id, s.AzureCloud)
			}
		})
	}
}

func TestServicePrincipalFilesThatAreRefused(t *testing.T) {
	const old = `{"clientId":"c","clientSecret":"s","tenantId":"t"`
	for name, test := range map[string]struct {
		text, what string
		environ    []string
	}{
		"not JSON":                   {text: "c s t", what: "not a JSON object"},
		"null":                       {text: "null", what: "not a JSON object"},
		"a list":                     {text: "[" + old + "}]", what: "not a JSON object"},
		"no tenant":                  {text: `{"clientId":"c","clientSecret":"s"}`, what: "without tenantId or tenant"},
		"no client":                  {text: `{"tenantId":"t","clientSecret":"s"}`, what: "without clientId or appId"},
		"no proof":                   {text: `{"tenantId":"t","clientId":"c"}`, what: "without clientSecret or password"},
		"an empty secret":            {text: `{"tenantId":"t","clientId":"c","clientSecret":" "}`, what: "without clientSecret or password"},
		"a secret that is none":      {text: `{"tenantId":"t","clientId":"c","clientSecret":7}`, what: "without clientSecret or password"},
		"a certificate and a secret": {text: old + `,"clientCertificate":"/nonexistent"}`, what: "one of the two"},
		"no certificate there":       {text: `{"tenantId":"t","clientId":"c","clientCertificate":"nowhere.pem"}`, what: "cannot be read"},
		"a certificate that is none": {text: `{"tenantId":"t","clientId":"c","clientCertificate":"file"}`, what: "neither PEM nor PFX"},
		"an authority in clear":      {text: old + `,"activeDirectoryEndpointUrl":"http://login.microsoftonline.com"}`, what: "activeDirectoryEndpointUrl is not an https URL"},
		"ARM in clear":               {text: old + `,"resourceManagerEndpointUrl":"http://management.azure.com"}`, what: "resourceManagerEndpointUrl is not an https URL"},
		"an authority that is none":  {text: old + `,"activeDirectoryEndpointUrl":7}`, what: "activeDirectoryEndpointUrl is not an https URL"},
		"two clouds":                 {text: old + `,"activeDirectoryEndpointUrl":"https://login.microsoftonline.com","resourceManagerEndpointUrl":"https://management.usgovcloudapi.net/"}`, what: "of the cloud public"},
		"another cloud than is set":  {text: old + `,"resourceManagerEndpointUrl":"https://management.usgovcloudapi.net/"}`, environ: []string{"AMLPROXY_AZURE_CLOUD=public"}, what: "of the cloud usgovernment"},
		"another authority":          {text: old + `,"activeDirectoryEndpointUrl":"https://login.microsoftonline.us"}`, environ: []string{"AMLPROXY_AZURE_CLOUD=china"}, what: "of the cloud usgovernment"},
		"a private cloud":            {text: old + `,"resourceManagerEndpointUrl":"https://management.azs.example/"}`, what: "private cloud"},
		"a cloud with a like name":   {text: old + `,"resourceManagerEndpointUrl":"https://notmanagement.azure.com/"}`, what: "private cloud"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, oneRoute(append(test.environ, "AMLPROXY_SDK_AUTH_FILE="+file(t, test.text))...), "AMLPROXY_SDK_AUTH_FILE", test.what)
		})
	}
}

// Tokens for Azure's own resource manager do not go to another host, and the
// settings of one cloud do not meet those of another.
func TestCloudsAreNotMixed(t *testing.T) {
	const private, audience = "AMLPROXY_AZURE_ARM_URL=https://arm.azs.example", "AMLPROXY_AZURE_ARM_AUDIENCE=https://arm.azs.example/x"
	for name, test := range map[string]struct {
		environ     []string
		where, what string
	}{
		"a private ARM without an audience":    {oneRoute(private), "AMLPROXY_AZURE_ARM_AUDIENCE", "is missing"},
		"an ARM with a like name":              {oneRoute("AMLPROXY_AZURE_ARM_URL=https://notmanagement.azure.com"), "AMLPROXY_AZURE_ARM_AUDIENCE", "is missing"},
		"an ARM as somebody's domain":          {oneRoute("AMLPROXY_AZURE_ARM_URL=https://management.azure.com.evil.example"), "AMLPROXY_AZURE_ARM_AUDIENCE", "is missing"},
		"an audience alone":                    {oneRoute(audience), "AMLPROXY_AZURE_ARM_AUDIENCE", "set both"},
		"ARM of another cloud":                 {oneRoute("AMLPROXY_AZURE_ARM_URL=https://management.usgovcloudapi.net"), "AMLPROXY_AZURE_ARM_URL", "of the cloud usgovernment"},
		"the authority of another cloud":       {oneRoute("AZURE_AUTHORITY_HOST=https://login.chinacloudapi.cn"), "AZURE_AUTHORITY_HOST", "of the cloud china"},
		"the authority of the public cloud":    {oneRoute("AZURE_AUTHORITY_HOST=https://login.microsoftonline.com", "AMLPROXY_AZURE_CLOUD=china"), "AZURE_AUTHORITY_HOST", "of the cloud public"},
		"the public ARM from another cloud":    {oneRoute("AMLPROXY_AZURE_ARM_URL=https://management.azure.com", "AMLPROXY_AZURE_CLOUD=china"), "AMLPROXY_AZURE_ARM_URL", "of the cloud public"},
		"regional ARM of another cloud":        {oneRoute("AMLPROXY_AZURE_ARM_URL=https://usgovvirginia.management.usgovcloudapi.net"), "AMLPROXY_AZURE_ARM_URL", "of the cloud usgovernment"},
		"another cloud's ARM, its case hidden": {oneRoute("AMLPROXY_AZURE_ARM_URL=https://Management.ChinaCloudAPI.cn"), "AMLPROXY_AZURE_ARM_URL", "of the cloud china"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, test.environ, test.where, test.what) })
	}
	for _, fine := range [][]string{
		{private, audience},
		{private, audience, "AZURE_AUTHORITY_HOST=https://login.microsoftonline.us"},
		{"AMLPROXY_AZURE_ARM_URL=https://westeurope.management.azure.com"},
		{"AZURE_AUTHORITY_HOST=https://login.azs.example"},
		{"AZURE_AUTHORITY_HOST=https://login.microsoftonline.us/", "AMLPROXY_AZURE_CLOUD=usgovernment"},
	} {
		load(t, oneRoute(fine...))
	}
}
