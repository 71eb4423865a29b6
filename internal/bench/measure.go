//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// bench is one run: what it needs, and the tables that it fills.
type bench struct {
	options
	world  *world
	cores  cores
	out    io.Writer
	began  time.Time
	report report
}

const (
	turnTime = 250 * time.Millisecond
	rate     = 2000 // requests a second of the paced part
)

// The names of what is compared.
const (
	bare       = "bare reverse proxy"
	bareAgain  = "the same once more"
	bareBearer = "the same, sent the token"
	bareCookie = "the same, sent the cookie"
	withBearer = "bearer"
	withCookie = "session"
	fullBearer = "bearer, with log and limits"
	fullCookie = "session, with log and limits"
)

// scoring is the request of most parts: 1 KiB, for an answer of 1 KiB.
func scoring(field string) shape { return shape{path: "/models/model", field: field, body: 1 << 10} }

// crowds starts the proxies and returns the callers of each that is named. With log
// and limits means that each request is written to the log, and counted against a
// rate limit and a limit of requests at once.
func (b *bench) crowds(ctx context.Context, names ...string) ([]*crowd, error) {
	one, err := b.world.bare(ctx, b.world.engine.address, "")
	if err != nil {
		return nil, err
	}
	two, err := b.world.bare(ctx, b.world.engine.address, "")
	if err != nil {
		return nil, err
	}
	quiet, err := b.world.amlproxy(ctx, kind{log: "warn"})
	if err != nil {
		return nil, err
	}
	full, err := b.world.amlproxy(ctx, kind{log: "info", limits: true})
	if err != nil {
		return nil, err
	}
	token, err := b.world.bearer()
	if err != nil {
		return nil, err
	}
	cookie, err := b.world.session(ctx, full)
	if err != nil {
		return nil, err
	}
	var all []*crowd
	for _, c := range []struct {
		name    string
		process *process
		field   string
	}{
		{bare, one, ""},
		{bareAgain, two, ""},
		{bareBearer, one, token},
		{bareCookie, two, cookie}, // as many connections for each
		{withBearer, quiet, token},
		{withCookie, quiet, cookie},
		{fullBearer, full, token},
		{fullCookie, full, cookie},
	} {
		if !slices.Contains(names, c.name) {
			continue
		}
		made, err := c.process.driven(c.name, b.world.engine, shape{path: "/models/driven", field: c.field, body: 1 << 10})
		if err != nil {
			return nil, err
		}
		all = append(all, made)
	}
	return all, nil
}

// leave ends the crowds and what they called.
func (b *bench) leave(crowds []*crowd) {
	for _, c := range crowds {
		c.close()
	}
	b.world.rest()
}

func rushing(_ context.Context, c *crowd) (slice, error) { return c.rush(turnTime) }

// alike are the bare proxies that are sent what those with somebody to check are.
func alike() map[string]string {
	return map[string]string{withBearer: bareBearer, fullBearer: bareBearer, withCookie: bareCookie, fullCookie: bareCookie}
}

func measureCPU(ctx context.Context, b *bench) error {
	crowds, err := b.crowds(ctx, bare, bareAgain, bareBearer, bareCookie, withBearer, withCookie, fullBearer, fullCookie)
	if err != nil {
		return err
	}
	at := func(name string) int { return slices.IndexFunc(crowds, func(c *crowd) bool { return c.name == name }) }
	defer b.leave(crowds)
	rounds, err := compare(ctx, crowds, b.rounds(40), rushing)
	if err != nil {
		return err
	}
	t := b.table("cpu", "CPU per request, each proxy on one core that is busy", "", "CPU per request", "against bare", "against bare, sent the same", "requests/s", "p50", "p99")
	for i, c := range crowds {
		cost, same := ratio(rounds, i, 0, slice.perRequest), ""
		if like, ok := alike()[c.name]; ok {
			against := ratio(rounds, i, at(like), slice.perRequest)
			same = against.text(i)
			b.reach(c.name+", sent the same", against)
		}
		t.row(c.name, micro(value(rounds, i, slice.perRequest).median), cost.text(i), same,
			number(value(rounds, i, slice.rate).median), milli(value(rounds, i, quantileOf(.5)).median), milli(value(rounds, i, quantileOf(.99)).median))
		b.reach(c.name, cost)
	}
	t.print(b.out)
	busy, err := crowds[at(fullBearer)].process.resident("VmHWM")
	b.found("resident under load", float64(busy)/(1<<20))
	return err
}

func (s slice) rate() float64 { return float64(s.requests) / s.took.Seconds() }

// quantileOf returns what reads a quantile.
func quantileOf(q float64) func(slice) float64 {
	return func(s slice) float64 { return float64(quantile(s.latencies, q)) }
}

// measureAllocations asks the runtimes how much was allocated, before and after.
func measureAllocations(ctx context.Context, b *bench) error {
	crowds, err := b.crowds(ctx, bare, withBearer, withCookie, fullBearer, fullCookie)
	if err != nil {
		return err
	}
	defer b.leave(crowds)
	t := b.table("allocations", "Allocations per request", "", "allocations", "KiB")
	for _, c := range crowds {
		if _, err := c.rush(turnTime); err != nil {
			return err
		}
		count, size, err := c.allocated(ctx)
		if err != nil {
			return err
		}
		t.row(c.name, fmt.Sprintf("%.1f", count), fmt.Sprintf("%.1f", size/(1<<10)))
		b.found("allocations, "+c.name, count)
	}
	t.print(b.out)
	return nil
}

// allocated returns how many objects and bytes a request takes. What reading the
// metrics takes itself is seen by reading them twice.
func (c *crowd) allocated(ctx context.Context) (count, size float64, err error) {
	var seen [3][2]float64
	for n := range seen {
		if n == 2 {
			break
		}
		if seen[n], err = c.process.allocations(ctx); err != nil {
			return 0, 0, err
		}
	}
	s, err := c.rush(4 * turnTime)
	if err != nil {
		return 0, 0, err
	}
	if seen[2], err = c.process.allocations(ctx); err != nil {
		return 0, 0, err
	}
	each := func(i int) float64 { return (seen[2][i] - 2*seen[1][i] + seen[0][i]) / float64(s.requests) }
	return each(0), each(1), nil
}

func (p *process) allocations(ctx context.Context) (found [2]float64, err error) {
	for i, name := range []string{"go_memstats_mallocs_total", "go_memstats_alloc_bytes_total"} {
		if found[i], err = p.metric(ctx, name); err != nil {
			return found, err
		}
	}
	return found, nil
}

// measurePace looks at latencies when the proxies are not busy.
func measurePace(ctx context.Context, b *bench) error {
	crowds, err := b.crowds(ctx, bare, bareAgain, fullBearer, fullCookie)
	if err != nil {
		return err
	}
	defer b.leave(crowds)
	rounds, err := compare(ctx, crowds, b.rounds(20), func(_ context.Context, c *crowd) (slice, error) { return c.march(rate, time.Second) })
	if err != nil {
		return err
	}
	t := b.table("pace", fmt.Sprintf("Latency at %d requests/s, whether answered or not", rate), "", "p50", "p99", "against bare", "p99.9", "CPU per request", "against bare")
	for i, c := range crowds {
		worst := ratioOfMedians(rounds, i, quantileOf(.99))
		t.row(c.name, milli(value(rounds, i, quantileOf(.5)).median), milli(value(rounds, i, quantileOf(.99)).median), worst.text(i),
			milli(value(rounds, i, quantileOf(.999)).median), micro(value(rounds, i, slice.perRequest).median), ratio(rounds, i, 0, slice.perRequest).text(i))
		b.reach("p99, "+c.name, worst)
	}
	t.print(b.out)
	return nil
}
