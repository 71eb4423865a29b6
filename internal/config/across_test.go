package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"amlproxy/internal/config"
)

// TestRulesThatEveryIssuerCanMeet are warned of, once, where there are several; and
// not where that cannot be by accident, or was meant.
func TestRulesThatEveryIssuerCanMeet(t *testing.T) {
	const group = `"0f8fad5b-d9cb-469f-a165-70867728950e"`
	for access, warned := range map[string]bool{
		"{groups: [ml-users]}": true, "{emails: [a@example.com]}": true, "{domains: [example.com]}": true, "{subjects: [a]}": true,
		"{roles: [Reader]}": true, "{scopes: [score]}": true, "{clients: [job]}": true, "{claims: {plan: [gold]}}": true,
		"{all: {groups: [ml-users]}}": true, "{groups: [ml-users], none: {claims: {iss: [x]}}}": true,
		"{groups: [ml-users], claims: {iss: [\"https://idp.example.com\"]}}": true, // either is enough
		"{groups: [" + group + "]}":                                                         false,
		"{groups: [" + group + ", ml-users]}":                                               true,
		"{none: {groups: [ml-users]}}":                                                      false,
		"{claims: {iss: [\"https://idp\"]}}":                                                false,
		"{groups: [g], all: {claims: {iss: [\"https://idp.example.com\"]}}}":                false,
		"{all: {groups: [g], claims: {iss: [\"https://idp.example.com\", \"https://o\"]}}}": false,
	} {
		file := filepath.Join(t.TempDir(), "routes.yaml")
		if err := os.WriteFile(file, []byte("routes:\n  - {name: one, url: \"http://127.0.0.1/s\", auth: none, access: "+access+"}\n  - {name: two, url: \"http://127.0.0.1/s\", auth: none}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		environ := slices.DeleteFunc(oneRoute("AMLPROXY_ROUTES_FILE="+file), func(s string) bool { return strings.HasPrefix(s, "AMLPROXY_ROUTES_0_") })
		for more, want := range map[string]bool{"": false, "https://other.example": warned} {
			all := environ
			if more != "" {
				all = append(all, "AMLPROXY_BEARER_ISSUERS_0_URL="+more, "AMLPROXY_BEARER_ISSUERS_0_AUDIENCES=a")
			}
			s, err := config.Load(all)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Count(strings.Join(s.Warnings, "\n"), "the rules of one are met by callers of whichever issuer")
			if (got == 1) != want {
				t.Errorf("%s, %q: %q", access, more, s.Warnings)
			}
		}
	}
}
