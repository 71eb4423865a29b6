package authn_test

import (
	"net/http"
	"testing"

	"amlproxy/authn"
	"amlproxy/internal/secret"
)

// Secrets are replaced while a proxy runs: what was sealed with one that stays is
// good, what was sealed with one that went is not, and a list that is no good
// changes nothing.
func TestSecretsAreReplaced(t *testing.T) {
	older, newer := newSecret(), newSecret()
	with := func(secrets ...secret.Value) *authn.Sessions {
		return newSessions(t, func(c *authn.SessionsConfig) { c.Secrets = secrets })
	}
	s := with(older)
	_, before := started(t, s, alice())
	opens := func(s *authn.Sessions, r *http.Request) bool {
		_, err := s.Authenticate(http.Header{}, r)
		return err == nil
	}
	if err := s.SetSecrets([]secret.Value{newer, older}); err != nil {
		t.Fatal(err)
	}
	_, after := started(t, s, alice())
	if !opens(s, before) || !opens(s, after) || opens(with(older), after) || !opens(with(newer), after) {
		t.Error("the newest does not seal, or not all open")
	}
	for _, bad := range [][]secret.Value{nil, {newer, secret.New("short")}, {secret.New(repeated("a", 32))}} {
		if err := s.SetSecrets(bad); err == nil || !opens(s, before) {
			t.Errorf("%d secrets that are no good: %v", len(bad), err)
		}
	}
	if err := s.SetSecrets([]secret.Value{newer}); err != nil {
		t.Fatal(err)
	}
	if opens(s, before) || !opens(s, after) {
		t.Error("a secret that went still opens, or the one that stayed does not")
	}
}
