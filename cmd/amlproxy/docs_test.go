package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// A fence is a block of code in a page of the documentation.
type fence struct {
	page     string
	marker   string // the comment in front: what a test does with it; may be empty
	language string
	code     string
}

var (
	fences   = regexp.MustCompile("(?m)^(?:<!-- ([^\n]*) -->\n)?```([a-z]*)\n((?s:.*?))\n```$")
	indented = regexp.MustCompile(`\n\n    .*`)
	settings = regexp.MustCompile(`AMLPROXY_[A-Z0-9_]*[A-Z0-9]`)
	metrics  = regexp.MustCompile("`(amlproxy_[a-z_]+)`")
	links    = regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)
	commands = regexp.MustCompile(`(?m)^(?:bin/)?amlproxy((?: +[a-z][a-z-]*)*)`)
)

// pages returns every page that people read, with its content.
func pages(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d pages, %v", len(names), err)
	}
	all := map[string]string{}
	for _, name := range append(names, "../../README.md", "../../CHANGELOG.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(text)
	}
	return all
}

func fencesOf(t *testing.T) []fence {
	t.Helper()
	var all []fence
	for page, text := range pages(t) {
		found := fences.FindAllStringSubmatch(text, -1)
		if at := indented.FindString(fences.ReplaceAllString(text, "")); at != "" {
			t.Errorf("%s: a block that is indented is read by nobody; fence it:%s", page, at)
		}
		if n := strings.Count(text, "\n```") / 2; n != len(found) {
			t.Errorf("%s: %d blocks are fenced, and %d can be read", page, n, len(found))
		}
		for _, m := range found {
			all = append(all, fence{page, m[1], m[2], m[3] + "\n"})
		}
	}
	return all
}

// TestDocumentedBlocks parses every block with the program that it is for. A block
// in a language that has none here is a mistake.
func TestDocumentedBlocks(t *testing.T) {
	for _, f := range fencesOf(t) {
		var err error
		switch f.language {
		case "sh":
			err = shellBlock(t, f)
		case "yaml":
			var whatever any
			err = yaml.UnmarshalWithOptions([]byte(f.code), &whatever, yaml.Strict())
		case "json":
			var whatever any
			err = json.Unmarshal([]byte(f.code), &whatever)
		case "js":
			err = parsed(t, "block.mjs", f.code, "node", "--check")
		case "python":
			err = parsed(t, "block.py", f.code, "python3", "-m", "py_compile")
		case "nginx", "caddyfile": // see TestFrontDoors
		case "text", "http":
		default:
			t.Errorf("%s: a block in %q, which nothing here reads:\n%s", f.page, f.language, f.code)
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", f.page, err, f.code)
		}
	}
}

// parsed hands code to the program that would run it, to be parsed alone.
func parsed(t *testing.T, name, code, program string, args ...string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
		return err
	}
	out, err := exec.CommandContext(t.Context(), program, append(args, file)...).CombinedOutput()
	if err != nil {
		t.Logf("%s", out)
	}
	return err
}

// shellBlock has a shell parse the block, and this program the commands in it that
// are for it.
func shellBlock(t *testing.T, f fence) error {
	t.Helper()
	if err := parsed(t, "block.sh", f.code, "sh", "-n"); err != nil {
		return err
	}
	for _, m := range commands.FindAllStringSubmatch(f.code, -1) {
		words := strings.Fields(m[1])
		if len(words) == 0 {
			continue
		}
		if words[0] == "keys" {
			words = words[:min(len(words), 2)]
		} else {
			words = words[:1]
		}
		if out, err := exec.CommandContext(t.Context(), binary, append(words, "--help")...).CombinedOutput(); err != nil {
			t.Errorf("%s: amlproxy %s: %s", f.page, strings.Join(words, " "), out)
		}
	}
	return nil
}

// TestDocumentedSettings has a shell set every block of settings, and the routes of
// every block of routes, and has them checked.
func TestDocumentedSettings(t *testing.T) {
	login := ""
	for _, f := range fencesOf(t) {
		if f.marker == "settings" && strings.HasSuffix(f.page, "README.md") {
			login = f.code
		}
	}
	var seen []string
	for _, f := range fencesOf(t) {
		routes, set := "routes: [{name: diabetes, service: diabetes-aks}]\n", login
		switch {
		case f.marker == "routes":
			routes = f.code
		case f.marker == "settings" && filepath.Base(f.page) != "quickstart.md": // which TestQuickStart follows
			set = f.code
			if !strings.Contains(set, "AMLPROXY_ROUTES_FILE") {
				set += "export AMLPROXY_ROUTES_FILE=routes.yaml\n"
			}
		default:
			continue
		}
		seen = append(seen, filepath.Base(f.page))
		if out, err := checked(t, routes, set); err != nil {
			t.Errorf("%s: %v\n%s\n%s", f.page, err, out, f.code)
		}
	}
	for _, page := range []string{"README.md", "providers.md", "clients.md"} {
		if !slices.Contains(seen, page) {
			t.Errorf("no block of %s was checked", page)
		}
	}
}

// checked runs check in a folder with what the documentation has people put there.
func checked(t *testing.T, routes, set string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"routes.yaml":   routes,
		"config.json":   `{"subscription_id": "11111111-2222-3333-4444-555555555555", "resource_group": "models", "workspace_name": "ws"}`,
		"client-secret": "a secret\n",
		"cookie-secret": "6UoBkW0p2tYd9QzXv1cRj3mLh8sGf5aNe7uIiT4wOyM=\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shell := exec.CommandContext(t.Context(), "sh", "-ec", set+binary+" check")
	shell.Env, shell.Dir = []string{"PATH=" + os.Getenv("PATH")}, dir
	out, err := shell.CombinedOutput()
	return string(out), err
}

// TestDocumentedNames finds every setting and every metric that a page names among
// those that there are, and every page that another one links to.
func TestDocumentedNames(t *testing.T) {
	all := pages(t)
	known, measured := all["../../docs/settings.md"], all["../../docs/metrics.md"]
	number := regexp.MustCompile(`_[0-9]+_`)
	for page, text := range all {
		for _, name := range settings.FindAllString(text, -1) {
			plain := number.ReplaceAllString(name, "_n_")
			if !strings.Contains(known, "`"+plain) && !strings.Contains(known, "`"+strings.TrimSuffix(plain, "_FILE")+"` | ") {
				t.Errorf("%s names %s, which is no setting", page, name)
			}
		}
		for _, m := range metrics.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(measured, "`"+m[1]) {
				t.Errorf("%s names %s, which is no metric", page, m[1])
			}
		}
		for _, m := range links.FindAllStringSubmatch(text, -1) {
			followed(t, all, page, m[1], m[2])
		}
	}
}

// followed finds what a link leads to, if it is in this repository.
func followed(t *testing.T, all map[string]string, page, to, anchor string) {
	t.Helper()
	if strings.Contains(to, "://") {
		return
	}
	target := page
	if to != "" {
		target = filepath.Join(filepath.Dir(page), to)
	}
	if _, err := os.Stat(target); err != nil {
		t.Errorf("%s links to %s: %v", page, to, err)
	}
	if anchor == "" {
		return
	}
	var titles []string
	for line := range strings.Lines(all[target]) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			titles = append(titles, "#"+anchorOf(title))
		}
	}
	if !slices.Contains(titles, anchor) {
		t.Errorf("%s links to %s%s; there are %v", page, to, anchor, titles)
	}
}

// anchorOf is how GitHub and others make an anchor of a heading.
func anchorOf(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return -1
	}, strings.ToLower(strings.TrimSpace(title)))
}
