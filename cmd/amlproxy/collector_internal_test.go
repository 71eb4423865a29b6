package main

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
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

// asItWas puts the settings of this process back when the test ends.
func asItWas(t *testing.T) {
	t.Helper()
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) })
}

func TestCollectorHeedsTheEnvironment(t *testing.T) {
	asItWas(t)
	tuneCollector(t.Context(), []string{"PATH=/bin", "GOGC=50", "GOMEMLIMIT=1GiB"})
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("GOGC was set to %d", got)
	}
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("GOMEMLIMIT was set to %d", got)
	}
	tuneCollector(t.Context(), []string{"GOMEMLIMIT=1GiB"})
	if got := read("/gc/gogc:percent"); got <= 100 {
		t.Errorf("GOGC is %d", got)
	}
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("GOMEMLIMIT was set to %d", got)
	}
}

func TestHeadroomIsTheSameUntilMoreIsInUse(t *testing.T) {
	for used, want := range map[uint64]int{
		0: 700, smallest: 700, headroom / 4: 400, headroom / 2: 200, headroom: 100, 10 * headroom: 100, math.MaxUint64: 100,
	} {
		if got := percentFor(used); got != want {
			t.Errorf("%d bytes in use: GOGC %d, want %d", used, got, want)
		}
	}
}

// TestCollectorIsAdaptedToWhatIsInUse holds much, and then lets it go.
func TestCollectorIsAdaptedToWhatIsInUse(t *testing.T) {
	asItWas(t)
	(&pacer{done: t.Context().Done()}).adapt()
	until(t, "little is in use", func() bool { return read("/gc/gogc:percent") > 200 })
	held := make([]byte, 4*headroom)
	until(t, "much is in use", func() bool { return read("/gc/gogc:percent") == 100 })
	runtime.KeepAlive(held)
	until(t, "little is in use again", func() bool { return read("/gc/gogc:percent") > 200 })
}

func TestWhatIsFreeIsReturnedAtRest(t *testing.T) {
	asItWas(t)
	debug.SetGCPercent(-1) // nobody else collects
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); tidy(ctx, time.Millisecond) }()
	before := read("/memory/classes/heap/released:bytes")
	waste(64 << 20)
	for deadline := time.Now().Add(time.Minute); read("/memory/classes/heap/released:bytes") < before+32<<20; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was returned")
		}
	}
	cancel()
	<-done
}

// waste makes garbage.
//
//go:noinline
func waste(size int) { _ = append([]byte(nil), make([]byte, size)...) }

// until collects until something is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s, and GOGC is %d", what, read("/gc/gogc:percent"))
		}
		runtime.GC()
	}
}
