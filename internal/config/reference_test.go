package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"amlproxy/internal/config"
)

// The flag is registered where the test binary's own are: it rewrites the reference.
var update = flag.Bool("update", false, "write docs/settings.md and docs/routes.md")

func TestReferenceIsUpToDate(t *testing.T) {
	docs := filepath.Join("..", "..", "docs")
	for name, want := range map[string]string{
		"settings.md": config.Reference(), "routes.md": config.RoutesReference(), "routes.schema.json": config.RoutesSchema(),
	} {
		name = filepath.Join(docs, name)
		if *update {
			if err := os.MkdirAll(docs, 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, name, want)
		}
		got, err := os.ReadFile(name)
		if err != nil || string(got) != want {
			t.Errorf("%s is not what the table of settings says (%v): go test ./internal/config -update", name, err)
		}
	}
	for _, row := range config.Table() {
		if !strings.Contains(config.Reference(), "| `"+row.Name+"` | "+row.Type+" |") {
			t.Errorf("%s is not in the reference", row.Name)
		}
	}
	if strings.Contains(config.Reference()+config.RoutesReference(), "|  |") {
		t.Error("an entry without a sentence")
	}
}
