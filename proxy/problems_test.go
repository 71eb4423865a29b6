package proxy_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"amlproxy/proxy"
)

// The flag is registered where the test binary's own are: it rewrites the reference.
var update = flag.Bool("update", false, "write docs/problems.md")

func TestProblemReferenceIsUpToDate(t *testing.T) {
	name := filepath.Join("..", "docs", "problems.md")
	if *update {
		if err := os.WriteFile(name, []byte(proxy.ProblemReference()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != proxy.ProblemReference() {
		t.Errorf("%s is not what the code says (%v): go test ./proxy -run Problem -update", name, err)
	}
}

// What counts refusals has room for those of the list alone.
func TestProblemsAreAllListed(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	literal := regexp.MustCompile(`(?:problem: |problem, no\.title = (?:http\.\w+, )?|no\.problem, no\.title = |\.status, no\.problem, no\.title = http\.\w+, |tooMany\()"([a-z-]+)"`)
	var found []string
	for _, name := range files {
		if matched, _ := filepath.Match("*_test.go", name); matched {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range literal.FindAllSubmatch(source, -1) {
			found = append(found, string(m[1]))
		}
	}
	if len(found) < 20 || !slices.IsSorted(proxy.Problems()) {
		t.Errorf("found %d: %q", len(found), found)
	}
	for _, name := range proxy.Problems() {
		if !slices.Contains(found, name) {
			t.Errorf("Problems lists %q, and nothing refuses so", name)
		}
	}
	for _, name := range found {
		if !slices.Contains(proxy.Problems(), name) {
			t.Errorf("Problems does not list %q", name)
		}
	}
}
