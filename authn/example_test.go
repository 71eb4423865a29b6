package authn_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"amlproxy/authn"
	"amlproxy/internal/secret"
)

func exampleSecret() secret.Value {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // a setting, in earnest
	return secret.New(string(b))
}

func ExampleNewBearer() {
	bearer, err := authn.NewBearer(authn.BearerConfig{Issuers: []authn.Issuer{{
		URL:       "https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111/v2.0",
		Audiences: []string{"api://models"},
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = bearer.Authenticate(http.Header{}, httptest.NewRequest(http.MethodGet, "/models/diabetes", nil))
	fmt.Println(err)
	// Output: no credential
}

func ExampleNewSessions() {
	sessions, err := authn.NewSessions(authn.SessionsConfig{
		Secrets: []secret.Value{exampleSecret()}, Secure: true,
		Idle: time.Hour, Max: 12 * time.Hour, Refresh: 15 * time.Minute,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := httptest.NewRequest(http.MethodGet, "/models/diabetes", nil)
	r.Header.Set("Cookie", "__Host-amlproxy=made-up")
	_, err = sessions.Authenticate(http.Header{}, r)
	fmt.Println(err)
	// Output: invalid credential: the session has ended: the seal is broken, or of another purpose or secret
}

func ExampleNewLogin() {
	sessions, err := authn.NewSessions(authn.SessionsConfig{
		Secrets: []secret.Value{exampleSecret()}, Secure: true, Idle: time.Hour, Max: 12 * time.Hour,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	login, err := authn.NewLogin(authn.LoginConfig{
		Issuer: authn.Issuer{URL: "https://idp.example"}, ClientID: "models", Scopes: []string{"openid", "email"},
		PublicURL: &url.URL{Scheme: "https", Host: "models.example.com"}, Sessions: sessions,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(login.ReturnPath("/models/diabetes"))
	fmt.Println(login.ReturnPath(`/\evil.example`))
	// Output:
	// /models/diabetes true
	// / false
}
