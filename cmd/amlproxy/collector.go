package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// headroom is how much garbage may pile up before the collector runs, in bytes.
	// Go's own rule is as much as there is in use: a proxy has a few MiB in use, throws
	// away a hundred times that in a second, and would collect all the time. Where more
	// than headroom is in use, the rule is Go's.
	headroom = 28 << 20
	// smallest is the heap that Go lets grow anyway before it collects, at GOGC=100.
	smallest = 4 << 20

	// A process that made less than quiet in a tick is at rest, and gives back to the
	// system what it used before.
	tick  = time.Second
	quiet = 256 << 10
)

// tuneCollector sets what the environment does not: how much garbage there may be
// (GOGC), and in a container whose memory is limited how much memory is used at all
// (GOMEMLIMIT), so that the collector works harder there instead of having the
// process killed. It tidies up until ctx ends.
func tuneCollector(ctx context.Context, environ []string) {
	sets := func(name string) bool {
		return slices.ContainsFunc(environ, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	}
	if !sets("GOGC") {
		(&pacer{done: ctx.Done()}).adapt()
		go tidy(ctx, tick)
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

// A pacer sets GOGC anew after each collection, until it is done.
type pacer struct {
	percent int
	done    <-chan struct{}
}

// adapt has the next collection come after headroom. What ends with that one is a
// mark, which is in nobody's use: the runtime then calls adapt again.
func (p *pacer) adapt() {
	select {
	case <-p.done:
		return
	default:
	}
	// Small changes are not worth that the world is stopped for them.
	if next := percentFor(read("/gc/heap/live:bytes") + read("/gc/scan/stack:bytes") + read("/gc/scan/globals:bytes")); next > p.percent*11/10 || next < p.percent*9/10 {
		p.percent = next
		debug.SetGCPercent(next)
	}
	mark := new([64]*byte)
	runtime.AddCleanup(mark, (*pacer).adapt, p)
}

// percentFor returns the GOGC at which as much garbage as headroom is let pile up.
func percentFor(used uint64) int {
	return int(min(max(100*headroom/max(used, 1), 100), 100*headroom/smallest))
}

// tidy waits for times in which nothing happens, which it looks for once a tick. Then
// it collects, and returns what is free to the system, if there can be any. It
// collects twice: what stacks were grown to once, they are halved to each time.
func tidy(ctx context.Context, tick time.Duration) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var before, tidied uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		made := read("/gc/heap/allocs:bytes")
		if made-before < quiet && made-tidied > headroom/8 {
			runtime.GC()
			debug.FreeOSMemory()
			tidied = made
		}
		before = made
	}
}

// read returns one of the runtime's numbers.
func read(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0 // this Go does not know it
	}
	return sample[0].Value.Uint64()
}
