//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"time"
)

// options are the flags.
type options struct {
	binary string  // amlproxy
	write  string  // the file that holds the tables
	scale  float64 // of how long is measured
	only   string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == bareRole {
		exit(runBare(os.Args[2:]))
	}
	var o options
	flag.StringVar(&o.binary, "binary", "bin/amlproxy", "`path` of the program to measure")
	flag.StringVar(&o.write, "write", "", "`file` whose tables are replaced")
	flag.Float64Var(&o.scale, "scale", 1, "measure for so many times 8 minutes")
	flag.StringVar(&o.only, "only", "", "`part` to measure alone: "+partNames())
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx, o, os.Stdout))
}

func exit(err error) {
	if err == nil {
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

// run measures everything, or one part, and prints the tables as they come.
func run(ctx context.Context, o options, out io.Writer) error {
	cores, err := takeCores()
	if err != nil {
		return err
	}
	w, err := newWorld(ctx, o.binary, cores.proxies)
	if err != nil {
		return err
	}
	defer w.close()
	b := &bench{options: o, world: w, cores: cores, out: out, began: time.Now()}
	for _, part := range parts() {
		if o.only != "" && o.only != part.name {
			continue
		}
		if err := part.measure(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		runtime.GC() // what one part left shall not slow the callers of the next
	}
	return b.finish()
}

// A part is one thing that is measured: it fills a table or some rows.
type part struct {
	name    string
	measure func(context.Context, *bench) error
}

func parts() []part {
	return []part{
		{"cpu", measureCPU},
		{"allocations", measureAllocations},
		{"pace", measurePace},
		{"bodies", measureBodies},
		{"tls", measureTLS},
		{"memory", measureMemory},
		{"tokens", measureTokens},
		{"start", measureStart},
	}
}

func partNames() string {
	names := ""
	for _, p := range parts() {
		names += " " + p.name
	}
	return names
}

// rounds returns how often to measure, of n times in a whole run.
func (b *bench) rounds(n int) int { return max(3, int(float64(n)*b.options.scale)) }

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
