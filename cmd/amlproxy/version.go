package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// stamped is set by the linker: -X main.stamped=v1.2.3.
var stamped string

// version says what this binary was made of.
func version() string {
	name, revision := stamped, ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if name == "" {
			name = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = " " + s.Value
			}
		}
	}
	if name == "" {
		name = "(devel)"
	}
	return fmt.Sprintf("amlproxy %s%s %s %s/%s", name, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
