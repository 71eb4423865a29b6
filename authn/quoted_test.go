package authn_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
	"amlproxy/internal/secret"
)

// A provider that quotes what it was asked with puts nothing of it into the log,
// however the client proves itself.
func TestWhatAProviderQuotesIsNotSaid(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, login := range map[string]func(*authn.LoginConfig){
		"secret, basic": func(c *authn.LoginConfig) { c.ClientSecret = secret.New("web-secret/+&=%") },
		"secret, post": func(c *authn.LoginConfig) {
			c.ClientSecret, c.SecretMethod = secret.New("web-secret/+&=%"), authn.SecretPost
		},
		"key": func(c *authn.LoginConfig) { c.ClientSecret, c.ClientKey = secret.Value{}, &authn.ClientKey{Key: key} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, siteOptions{plain: true, login: login})
			var secrets []string
			s.provider.Misbehave(authntest.Answer(authntest.TokenEndpoint, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				form, _ := url.ParseQuery(string(body))
				for _, name := range []string{"code", "code_verifier", "client_secret", "client_assertion"} {
					secrets = append(secrets, form.Get(name), url.QueryEscape(form.Get(name)))
				}
				_, password, _ := r.BasicAuth()
				plain, _ := url.QueryUnescape(password)
				secrets = append(secrets, password, plain, strings.TrimPrefix(r.Header.Get("Authorization"), "Basic "))
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				_ = json.NewEncoder(w).Encode(map[string]string{
					"error":             form.Get("code"),
					"error_description": fmt.Sprint("asked ", secrets, " with ", r.Header["Authorization"], " ", string(body)),
				})
			}))
			_ = s.signIn(t, s.browser(t), "alice", "/").Body.Close()
			said := s.lastFailure(t).Error()
			if !strings.Contains(said, "status 400") || !strings.Contains(said, "asked") || len(secrets) == 0 {
				t.Fatalf("%q", said)
			}
			for _, one := range secrets {
				if len(one) >= 6 && strings.Contains(said, one[:min(len(one), 12)]) {
					t.Errorf("%q is in %q", one, said)
				}
			}
		})
	}
}
