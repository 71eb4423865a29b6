package main

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	for text, want := range map[string]int64{
		"67108864\n":              60397974, // 64 MiB
		"max\n":                   0,
		"9223372036854771712\n":   0, // no limit, in version 1
		"":                        0,
		"0":                       0,
		"-1":                      0,
		"lots of it, if you like": 0,
	} {
		if limit, ok := memoryLimit(text); ok != (want > 0) || ok && limit != want {
			t.Errorf("%q: %d, %t", text, limit, ok)
		}
	}
}

// TestCollectorHeedsTheEnvironment looks at the settings of this process, and puts
// them back.
func TestCollectorHeedsTheEnvironment(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) })
	tuneCollector([]string{"PATH=/bin", "GOGC=50", "GOMEMLIMIT=1GiB"})
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("GOGC was set to %d", got)
	}
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("GOMEMLIMIT was set to %d", got)
	}
	tuneCollector([]string{"GOMEMLIMIT=1GiB"})
	if got := debug.SetGCPercent(100); got != gcPercent {
		t.Errorf("GOGC is %d, want %d", got, gcPercent)
	}
}
