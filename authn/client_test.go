package authn_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
	"amlproxy/internal/secret"
)

// tokenRequests collects what the token endpoint is asked.
type tokenRequest struct {
	form   url.Values
	header http.Header
}

func tokenRequests(s *site) *[]tokenRequest {
	all := new([]tokenRequest)
	s.provider.Misbehave(authntest.Wrap(authntest.TokenEndpoint, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			*all = append(*all, tokenRequest{r.PostForm, r.Header.Clone()})
			next.ServeHTTP(w, r)
		})
	}))
	return all
}

func header(t testing.TB, assertion string) map[string]any {
	t.Helper()
	head, _, _ := strings.Cut(assertion, ".")
	var h map[string]any
	if err := json.Unmarshal(must(base64.RawURLEncoding.DecodeString(head))(t), &h); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestClientKey signs people in with a provider that checks each assertion.
func TestClientKey(t *testing.T) {
	for alg, key := range map[string]crypto.Signer{
		"RS256": must(rsa.GenerateKey(rand.Reader, 2048))(t),
		"ES256": must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t),
	} {
		t.Run(alg, func(t *testing.T) {
			s := newSite(t, siteOptions{
				provider: func(o *authntest.Options) { o.Clients[0].Secret, o.Clients[0].Key = "", key.Public() },
				login: func(c *authn.LoginConfig) {
					c.ClientSecret, c.ClientKey = secret.Value{}, &authn.ClientKey{Key: key, ID: "k1"}
				},
			})
			sent := tokenRequests(s)
			seen := map[any]bool{}
			for range 2 {
				if id, code := readIdentity(t, s.signIn(t, s.browser(t), "alice", "/")); id == nil {
					t.Fatalf("answer %d: %v", code, s.lastFailure(t))
				}
			}
			for _, r := range *sent {
				assertion := r.form.Get("client_assertion")
				claims, h := must(authntest.Claims(assertion))(t), header(t, assertion)
				exp, _ := claims["exp"].(json.Number).Int64()
				if claims["iss"] != "web" || claims["sub"] != "web" || claims["aud"] != s.provider.Issuer() || seen[claims["jti"]] ||
					time.Until(time.Unix(exp, 0)) > 5*time.Minute || h["kid"] != "k1" || h["alg"] != alg {
					t.Errorf("%v %v", h, claims)
				}
				seen[claims["jti"]] = true
				if r.form.Has("client_secret") || r.header.Get("Authorization") != "" ||
					r.form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
					t.Errorf("sent %v", r)
				}
			}
		})
	}
}

// TestClientCertificate: Entra finds the key by the digests of its certificate.
func TestClientCertificate(t *testing.T) {
	key := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	cert := must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t)))(t)
	s := newSite(t, siteOptions{
		provider: func(o *authntest.Options) { o.Clients[0].Secret, o.Clients[0].Key = "", key.Public() },
		login: func(c *authn.LoginConfig) {
			c.ClientSecret, c.ClientKey = secret.Value{}, &authn.ClientKey{Key: key, Certificate: cert}
		},
	})
	sent := tokenRequests(s)
	if id, _ := readIdentity(t, s.signIn(t, s.browser(t), "alice", "/")); id == nil {
		t.Fatal(s.lastFailure(t))
	}
	sum := sha1.Sum(cert.Raw)
	if h := header(t, (*sent)[0].form.Get("client_assertion")); h["x5t"] != base64.RawURLEncoding.EncodeToString(sum[:]) || h["kid"] != nil {
		t.Errorf("header %v", h)
	}
}

func TestClientKeyRefuses(t *testing.T) {
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	other := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	cert := must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, template, other.Public(), other))(t)))(t)
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	for name, c := range map[string]struct {
		key authn.ClientKey
		ok  bool
	}{
		"none":                {authn.ClientKey{}, false},
		"P-224":               {authn.ClientKey{Key: must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))(t)}, false},
		"another certificate": {authn.ClientKey{Key: edwards, Certificate: cert}, false},
		"Ed25519":             {authn.ClientKey{Key: edwards}, true},
	} {
		err := newLoginWith(t, &c.key)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if weak != nil && newLoginWith(t, &authn.ClientKey{Key: weak}) == nil {
		t.Error("RSA of 1024 bits accepted")
	}
}

func newLoginWith(t *testing.T, key *authn.ClientKey) error {
	t.Helper()
	_, err := authn.NewLogin(authn.LoginConfig{
		Issuer: authn.Issuer{URL: "https://idp.example"}, ClientID: "web", PublicURL: must(url.Parse("https://models.example.com"))(t),
		Sessions: newSessions(t), ClientKey: key,
	})
	return err
}

// TestClientAssertion: a federated one is read anew for each request for tokens.
func TestClientAssertion(t *testing.T) {
	reads, broken := 0, false
	s := newSite(t, siteOptions{login: func(c *authn.LoginConfig) {
		c.ClientSecret = secret.Value{}
		c.ClientAssertion = func() (secret.Value, error) {
			if broken {
				return secret.Value{}, errors.New("no such file")
			}
			reads++
			return secret.New("assertion-" + string(rune('0'+reads))), nil
		}
	}})
	var sent []url.Values
	s.provider.Misbehave(authntest.Answer(authntest.TokenEndpoint, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		sent = append(sent, r.PostForm)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	for range 2 {
		s.signIn(t, s.browser(t), "alice", "/")
	}
	broken = true
	s.signIn(t, s.browser(t), "alice", "/")
	wantError(t, s.lastFailure(t), authn.ErrUnavailable)
	if len(sent) != 2 || sent[0].Get("client_assertion") != "assertion-1" || sent[1].Get("client_assertion") != "assertion-2" ||
		sent[0].Get("client_id") != "web" {
		t.Errorf("sent %v", sent)
	}
}

// TestEndpointsByHand: nothing is discovered, and all the rest holds.
func TestEndpointsByHand(t *testing.T) {
	s := newSite(t, siteOptions{login: func(c *authn.LoginConfig) {
		at := func(path string) string { return c.Issuer.URL + path }
		c.Issuer.Endpoints = &authn.Endpoints{
			Authorization: at("/authorize"), Token: at("/oauth/token"), Keys: at("/keys"), EndSession: at("/end_session"), UserInfo: at("/userinfo"),
		}
	}})
	s.provider.Misbehave(authntest.Refuse(authntest.Discovery))
	browser := s.browser(t)
	if id, _ := readIdentity(t, s.signIn(t, browser, "alice", "/")); id == nil {
		t.Fatal(s.lastFailure(t))
	}
	_ = must(browser.Get(s.url + "/oauth2/sign_out"))(t).Body.Close()
	if s.provider.Calls(authntest.EndSession) != 1 {
		t.Error("still signed in at the provider")
	}
}
