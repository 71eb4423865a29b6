package authn_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
)

// refreshed signs alice in and asks again when her claims are to be renewed, while
// the provider misbehaves, and once more when a session that was refused is over.
func refreshed(t *testing.T, check func(first, then result), fault ...authntest.Fault) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		old := aged(t, w, 16*time.Minute)
		for _, f := range fault {
			w.provider.Misbehave(f)
		}
		calls := w.provider.Calls(authntest.TokenEndpoint)
		first := ask(w.replicas[0].sessions, old, 1)()[0]
		if got := w.provider.Calls(authntest.TokenEndpoint) - calls; got != 1 || first.err != nil || first.id.Subject != "user-alice" {
			t.Fatalf("%d calls of the token endpoint, %v, %v", got, first.id, first.err)
		}
		time.Sleep(11 * time.Second) // a replica that renewed just before has had its time
		check(first, ask(w.replicas[0].sessions, old, 1)()[0])
	})
}

func TestRP_oidcc_client_test_refresh_token(t *testing.T) {
	refreshed(t, func(first, then result) {
		if len(first.header) == 0 || then.err != nil {
			t.Errorf("%v, %v", first.header, then.err)
		}
	})
}

func ended(t *testing.T) func(first, then result) {
	return func(first, then result) {
		if len(first.header) > 0 || first.id.Issuer == "https://evil.example" || !errors.Is(then.err, authn.ErrInvalid) {
			t.Errorf("%+v, then %v", first.id, then.err)
		}
	}
}

func TestRP_oidcc_client_test_refresh_token_invalid_issuer(t *testing.T) {
	refreshed(t, ended(t), idClaim("iss", "https://evil.example")...)
}

func TestRP_oidcc_client_test_refresh_token_invalid_sub(t *testing.T) {
	refreshed(t, ended(t), idClaim("sub", "user-bob")...)
}

// TestRefreshWithoutIDToken: it is optional there (OpenID Connect Core 1.0 section
// 12.2). What userinfo says counts, and what it does not say stays.
func TestRefreshWithoutIDToken(t *testing.T) {
	without := authntest.AlterJSON(authntest.TokenEndpoint, func(o map[string]any) { delete(o, "id_token") })
	groups := func(want ...string) func(first, then result) {
		return func(first, then result) {
			if len(first.id.Groups) != 1 || first.id.Groups[0] != want[0] || first.id.Email != "alice@example.com" || !first.id.EmailVerified || then.err != nil {
				t.Errorf("%+v, then %v", first.id, then.err)
			}
		}
	}
	for name, c := range map[string]struct {
		userinfo authntest.Fault
		check    func(first, then result)
	}{
		"new groups":    {authntest.AlterJSON(authntest.UserInfo, func(o map[string]any) { o["groups"] = []string{"ml-admins"} }), groups("ml-admins")},
		"no groups":     {authntest.AlterJSON(authntest.UserInfo, func(o map[string]any) { delete(o, "groups") }), groups("ml-users")},
		"not for us":    {authntest.Status(authntest.UserInfo, http.StatusForbidden, ""), groups("ml-users")},
		"somebody else": {authntest.AlterJSON(authntest.UserInfo, func(o map[string]any) { o["sub"] = "user-bob" }), ended(t)},
	} {
		t.Run(name, func(t *testing.T) { refreshed(t, c.check, without, c.userinfo) })
	}
}
