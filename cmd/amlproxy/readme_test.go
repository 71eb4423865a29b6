package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// block returns the fenced block of the README that follows a marker.
func block(t *testing.T, readme, marker string) string {
	t.Helper()
	_, after, found := strings.Cut(readme, "<!-- "+marker+" -->\n```")
	body, _, closed := strings.Cut(after, "\n```")
	_, body, fenced := strings.Cut(body, "\n")
	if !found || !closed || !fenced {
		t.Fatalf("README.md has no block after %q", marker)
	}
	return body + "\n"
}

// TestTheREADMEsDeployment does what the README says: its file, its settings in
// a real shell, and the check.
func TestTheREADMEsDeployment(t *testing.T) {
	content, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme, dir := string(content), t.TempDir()
	for name, content := range map[string]string{
		"routes.yaml": block(t, readme, "file: routes.yaml"),
		"config.json": `{"subscription_id": "11111111-2222-3333-4444-555555555555", "resource_group": "models", "workspace_name": "ws"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings := block(t, readme, "settings")
	if n := strings.Count(settings, "export AMLPROXY_"); n != 6 {
		t.Errorf("%d settings, and the README promises six", n)
	}
	shell := exec.CommandContext(t.Context(), "sh", "-ec", block(t, readme, "secrets")+settings+binary+" check")
	shell.Env, shell.Dir = []string{"PATH=" + os.Getenv("PATH")}, dir
	out, err := shell.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "2 routes") {
		t.Errorf("%v\n%s", err, out)
	}
}
