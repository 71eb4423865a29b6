package authntest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"amlproxy/authn/authntest"
)

func TestSign(t *testing.T) {
	p := newParty(t)
	claims := func() map[string]any {
		return map[string]any{"iss": p.provider.Issuer(), "sub": "s", "aud": audience, "exp": time.Now().Add(time.Hour).Unix()}
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	found, err := oidc.NewProvider(p.context(t), p.provider.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	verifier := found.Verifier(&oidc.Config{ClientID: audience})
	for _, c := range []struct {
		name    string
		options []authntest.SignOption
		good    bool
	}{
		{"as it is", nil, true},
		{"another type", []authntest.SignOption{authntest.WithHeader("typ", "JWT")}, true},
		{"no kid", []authntest.SignOption{authntest.WithHeader("kid", nil)}, true},
		{"unknown kid", []authntest.SignOption{authntest.WithHeader("kid", "other")}, false},
		{"a stranger's key", []authntest.SignOption{authntest.WithKey("ES256", stranger)}, false},
		{"HMAC", []authntest.SignOption{authntest.WithKey("HS256", make([]byte, 32))}, false},
		{"unsigned", []authntest.SignOption{authntest.Unsigned()}, false},
		{"payload that is no JSON", []authntest.SignOption{authntest.WithPayload([]byte(`{"iss"`))}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			token, err := p.provider.Sign(claims(), c.options...)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verifier.Verify(p.context(t), token); (err == nil) != c.good {
				t.Errorf("verification says %v", err)
			}
		})
	}
}

func TestRotatedKeys(t *testing.T) {
	p := newParty(t)
	before, err := p.provider.AccessToken("web", "alice")
	if err != nil {
		t.Fatal(err)
	}
	kid, err := p.provider.RotateKey()
	if err != nil {
		t.Fatal(err)
	}
	after, err := p.provider.AccessToken("web", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if got := header(t, after)["kid"]; got != kid {
		t.Errorf("signed with %v, want %s", got, kid)
	}
	p.verified(t, before, audience)
	p.verified(t, after, audience)
	p.provider.RetireKeys()
	p.verified(t, after, audience)
	found, err := oidc.NewProvider(p.context(t), p.provider.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := found.Verifier(&oidc.Config{ClientID: audience}).Verify(p.context(t), before); err == nil {
		t.Error("a token of a retired key is still good")
	}
}
