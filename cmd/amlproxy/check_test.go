package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// judged is what check says of a routes file, in a folder without a config.json.
func judged(t *testing.T, routes string, environ ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "routes.yaml")
	if err := os.WriteFile(name, []byte(routes), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out := once(t, append(environ, "AMLPROXY_ROUTES_FILE="+name), "check")
	return out
}

// TestCheckTellsOfAMissingConfigWithAllElse: whoever mends one mistake is not told
// of the next one only then.
func TestCheckTellsOfAMissingConfigWithAllElse(t *testing.T) {
	out := judged(t, "routes:\n  - name: a\n    service: a\n    tmeout: 3s\n    public: true\n", "AMLPROXY_PUBLIC_URL=a.example")
	wants := []string{
		"amlproxy: 3 mistakes in the settings:\n", "AMLPROXY_PUBLIC_URL: is not",
		"AMLPROXY_WORKSPACE_CONFIG: is not set, and there is no config.json", "routes.yaml:4:5: tmeout is not",
	}
	for _, want := range wants {
		_, after, ok := strings.Cut(out, want)
		if !ok {
			t.Fatalf("no %q, or not in its place", want)
		}
		out = after
	}
	for name, routes := range map[string]string{
		"an address needs none":           "routes:\n  - name: a\n    url: https://a.example/score\n    auth: none\n    public: true\n",
		"an address that is mistaken too": "routes:\n  - name: a\n    url: nowhere\n    auth: none\n    public: true\n",
	} {
		if out := judged(t, routes, "AMLPROXY_PUBLIC_URL=a.example"); strings.Contains(out, "WORKSPACE") {
			t.Errorf("%s: %s", name, out)
		}
	}
}

func TestCheckCountsARouteAsOne(t *testing.T) {
	out := judged(t, "routes:\n  - name: a\n    url: https://a.example/score\n    auth: none\n    public: true\n")
	if !strings.Contains(out, "in order: 1 route\n") {
		t.Error(out)
	}
}

// TestCheckNamesTheSettingOfABadConfig, and not its file alone: whoever is told of
// a file has to find out who named it.
func TestCheckNamesTheSettingOfABadConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte("no JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := judged(t, "routes:\n  - name: a\n    service: a\n    public: true\n", "AMLPROXY_WORKSPACE_CONFIG="+file)
	if want := "AMLPROXY_WORKSPACE_CONFIG: " + file + ": not a JSON object"; !strings.Contains(out, want) {
		t.Errorf("no %q in %s", want, out)
	}
}
