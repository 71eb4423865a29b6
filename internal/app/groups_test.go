package app_test

import (
	"net/http"
	"testing"
)

// TestGroupsThatNoRouteNames: a session keeps those that SESSION_GROUPS lists as
// well, for another proxy to ask for; an empty list of groups lets nobody in.
func TestGroupsThatNoRouteNames(t *testing.T) {
	for setting, status := range map[string]int{"": http.StatusForbidden, "AMLPROXY_SESSION_GROUPS=others,g0": http.StatusAccepted} {
		var more []string
		if setting != "" {
			more = append(more, setting)
		}
		f := newFort(t, more...)
		client := f.signedIn(t, "p0")
		for query, want := range map[string]int{
			"allowed_groups=g0": status, "allowed_groups=none,g0": status, "allowed_groups=g": 202, "allowed_groups=g1": 403,
			"allowed_groups=g0&allowed_groups=g": status, "allowed_groups=": 403, "allowed_groups=g0&route=nowhere": 403,
		} {
			if a := f.knock(t, client, door{method: http.MethodGet, path: "/oauth2/auth?" + query}); a.StatusCode != want {
				t.Errorf("%q: %s: %d, want %d", setting, query, a.StatusCode, want)
			}
		}
	}
}
