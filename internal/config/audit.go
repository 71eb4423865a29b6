package config

import (
	"os"
	"path/filepath"
)

// audit judges where calls are put on record. The file need not be there yet, and
// is not made here: whoever checks settings may not be whoever runs with them.
func (c *checker) audit() {
	file, ok := c.value("AUDIT_FILE")
	if !ok || file == "-" {
		return
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		c.mistake("AUDIT_FILE", "is a directory")
	}
	if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
		c.mistake("AUDIT_FILE", "is in a directory that is not there")
	}
}
