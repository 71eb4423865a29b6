//go:build ignore

// This program trains the models again; package train says how, and why the
// result is always the same. SKLEARN_DATA is a folder that
// scripts/sklearn-data made.
package main

import (
	"log"
	"os"
	"path/filepath"

	"amlproxy/internal/demo/models/train"
)

func main() {
	files, err := train.Files(os.Getenv("SKLEARN_DATA"))
	if err != nil {
		log.Fatal(err)
	}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
