package azuremltest_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"amlproxy/upstream/azuremltest"
)

func TestAuthorityRefuses(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	tests := map[string]struct {
		change url.Values
		status int
		code   string
		number string
	}{
		"a wrong secret":          {url.Values{"client_secret": {"wrong"}}, 401, "invalid_client", "AADSTS7000215:"},
		"no secret":               {url.Values{"client_secret": nil}, 401, "invalid_client", "AADSTS7000218:"},
		"an unknown client":       {url.Values{"client_id": {"someone"}}, 400, "unauthorized_client", "AADSTS700016:"},
		"an unknown resource":     {url.Values{"scope": {"https://management.azure.com/.default"}}, 400, "invalid_resource", "AADSTS500011:"},
		"a scope that no app has": {url.Values{"scope": {a.ARMAudience() + "/user_impersonation"}}, 400, "invalid_scope", "AADSTS1002012:"},
		"two resources":           {url.Values{"scope": {a.ARMAudience() + "/.default " + a.MLScope()}}, 400, "invalid_scope", "AADSTS1002012:"},
		"another grant":           {url.Values{"grant_type": {"password"}}, 400, "unsupported_grant_type", "AADSTS70003:"},
		"claims that are no JSON": {url.Values{"claims": {"{"}}, 400, "invalid_request", "AADSTS50002:"},
		"an assertion, without a certificate": {url.Values{
			"client_secret": nil, "client_assertion": {"x"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}, 401, "invalid_client", "AADSTS700027:"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := askToken(t, c, a, test.change)
			if r.StatusCode != test.status || r.field(t, "error") != test.code || !strings.HasPrefix(r.field(t, "error_description"), test.number) {
				t.Errorf("%s: %s", r.Status, r.body)
			}
		})
	}
	if r := do(t, c, http.MethodGet, a.AuthorityURL()+"someone/v2.0/.well-known/openid-configuration", "", ""); r.StatusCode != http.StatusBadRequest {
		t.Errorf("another tenant: %s", r.Status)
	}
}

func TestAuthoritySignsWhatItIssues(t *testing.T) {
	a := start(t, azuremltest.Options{})
	a.SetEntraLifetime(90*time.Minute, 45*time.Minute)
	c := client(t, a)
	r := askToken(t, c, a, nil)
	if !strings.Contains(r.body, `"expires_in":5400`) || !strings.Contains(r.body, `"refresh_in":2700`) {
		t.Error(r.body)
	}

	discovery := do(t, c, http.MethodGet, a.AuthorityURL()+a.Tenant()+"/v2.0/.well-known/openid-configuration", "", "")
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(do(t, c, http.MethodGet, discovery.field(t, "jwks_uri"), "", "").body), &keys); err != nil {
		t.Fatal(err)
	}
	token, err := jwt.ParseSigned(r.field(t, "access_token"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := token.Claims(keys, &claims); err != nil {
		t.Fatal(err)
	}
	if err := claims.Validate(jwt.Expected{Issuer: discovery.field(t, "issuer"), AnyAudience: jwt.Audience{a.ARMAudience()}, Time: time.Now()}); err != nil {
		t.Error(err)
	}
}

// TestMicrosoftsClientProvesItselfByCertificate is the client assertion, as
// azidentity makes it.
func TestMicrosoftsClientProvesItselfByCertificate(t *testing.T) {
	key, other := rsaKey(t), rsaKey(t)
	a := start(t, azuremltest.Options{AssertionKey: key.Public()})
	get := func(key *rsa.PrivateKey) error {
		credential, err := azidentity.NewClientCertificateCredential(a.Tenant(), a.ClientID(), []*x509.Certificate{certificate(t, key)}, key,
			&azidentity.ClientCertificateCredentialOptions{
				DisableInstanceDiscovery: true,
				ClientOptions: azcore.ClientOptions{
					Transport: client(t, a), Retry: policy.RetryOptions{MaxRetries: -1},
					Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: a.AuthorityURL()},
				},
			})
		if err != nil {
			t.Fatal(err)
		}
		_, err = credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{a.MLScope()}})
		return err
	}
	if err := get(key); err != nil {
		t.Error(err)
	}
	if err := get(other); err == nil || !strings.Contains(err.Error(), "AADSTS700027") {
		t.Errorf("with another key: %v", err)
	}
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	return must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
}

func certificate(t *testing.T, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return must[*x509.Certificate](t)(x509.ParseCertificate(der))
}
