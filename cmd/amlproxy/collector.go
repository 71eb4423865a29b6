package main

import (
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// gcPercent is how much of garbage may be held for what is in use: a tenth less of
// CPU than with Go's own 100, for some 30 MiB more under load.
const gcPercent = 400

// tuneCollector sets what the environment does not: GOGC, and GOMEMLIMIT in a
// container whose memory is limited, so that the collector works harder there
// instead of having the process killed.
func tuneCollector(environ []string) {
	sets := func(name string) bool {
		return slices.ContainsFunc(environ, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	}
	if !sets("GOGC") {
		debug.SetGCPercent(gcPercent)
	}
	if sets("GOMEMLIMIT") {
		return
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} { // of version 2, and of 1
		text, err := os.ReadFile(file)
		if limit, ok := memoryLimit(string(text)); err == nil && ok {
			debug.SetMemoryLimit(limit)
			return
		}
	}
}

// memoryLimit returns what of a container's memory the runtime may use: a tenth is
// left to the program's file and to the kernel. Version 2 says "max" where there is
// no limit, and version 1 some number that no machine has.
func memoryLimit(text string) (int64, bool) {
	limit, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return limit / 10 * 9, err == nil && limit > 0 && limit < 1<<50
}
