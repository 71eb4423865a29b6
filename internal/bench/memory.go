//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	idle    = 1000 // connections
	streams = 200
	tokens  = 10_000
)

// A mode is a proxy that a part measures beside another.
type mode struct {
	name  string
	start func(context.Context) (*process, error)
	field string
}

func (b *bench) modes() ([]mode, error) {
	token, err := b.world.bearer()
	return []mode{
		{bare, func(ctx context.Context) (*process, error) { return b.world.bare(ctx, b.world.address, "") }, ""},
		{"amlproxy", func(ctx context.Context) (*process, error) {
			return b.world.amlproxy(ctx, kind{log: "info", limits: true})
		}, token},
	}, err
}

// measureMemory looks at a fresh process each time.
func measureMemory(ctx context.Context, b *bench) error {
	modes, err := b.modes()
	if err != nil {
		return err
	}
	t := b.table("memory", "Resident memory, in MiB (of that, what is not the program's file)", "",
		"started", fmt.Sprintf("%d idle connections", idle), fmt.Sprintf("%d streams of events", streams), "64 busy connections, at most")
	for _, m := range modes {
		row := []string{m.name}
		for i, fill := range []func(context.Context, *process, string) (func(), error){nothing, idlers, listeners, busy} {
			p, err := m.start(ctx)
			if err != nil {
				return err
			}
			release, err := fill(ctx, p, m.field)
			if err != nil {
				return err
			}
			if err := pause(ctx, 3*time.Second); err != nil {
				return err
			}
			line := "VmRSS"
			if i == 3 {
				line = "VmHWM"
			}
			all, err := p.resident(line)
			anonymous, err2 := p.resident("RssAnon")
			if err := errors.Join(err, err2); err != nil {
				return err
			}
			row = append(row, fmt.Sprintf("%.1f (%.1f)", mebi(all), mebi(anonymous)))
			if m.name != bare {
				b.found([]string{"resident at start", "resident at 1,000 idle connections", "resident with 200 streams", "resident under load, alone"}[i], mebi(all))
			}
			release()
			b.world.rest()
		}
		t.row(row...)
	}
	t.print(b.out)
	return nil
}

func mebi(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func nothing(context.Context, *process, string) (func(), error) { return func() {}, nil }

// idlers opens connections, calls once on each, and leaves them open.
func idlers(_ context.Context, p *process, field string) (func(), error) {
	var c crowd
	for range idle {
		one, err := dial(p.address, nil, scoring(field).bytes(p.address))
		if err != nil {
			return nil, err
		}
		c.callers = append(c.callers, one)
		if err := one.call(); err != nil {
			return nil, err
		}
	}
	return c.close, nil
}

// listeners opens streams of events, and reads them.
func listeners(_ context.Context, p *process, field string) (func(), error) {
	var c crowd
	var reading sync.WaitGroup
	for range streams {
		one, err := dial(p.address, nil, shape{path: "/models/model?events", field: field, body: 1 << 10}.bytes(p.address))
		if err != nil {
			return nil, err
		}
		c.callers = append(c.callers, one)
		if _, err := one.conn.Write(one.request); err != nil {
			return nil, err
		}
		if _, err := one.in.Peek(20); err != nil {
			return nil, err
		}
		reading.Go(func() {
			for {
				if _, err := one.in.ReadSlice('\n'); err != nil {
					return
				}
			}
		})
	}
	return func() { c.close(); reading.Wait() }, nil
}

func busy(_ context.Context, p *process, field string) (func(), error) {
	c, err := p.crowd(fullBearer, scoring(field), nil)
	if err != nil {
		return nil, err
	}
	_, err = c.rush(3 * time.Second)
	return c.close, err
}

// measureTokens calls with many tokens, each twice: what a token costs the first
// time, and what remembering it costs.
func measureTokens(ctx context.Context, b *bench) error {
	count := min(tokens, int(tokens*b.options.scale))
	p, err := b.world.amlproxy(ctx, kind{log: "info", limits: true})
	if err != nil {
		return err
	}
	defer b.world.rest()
	requests := make([][]byte, count)
	for i := range requests {
		token, err := b.world.provider.AccessToken(login, person)
		if err != nil {
			return err
		}
		requests[i] = scoring("Authorization: Bearer " + token).bytes(p.address)
	}
	c, err := p.crowd(fullBearer, scoring(""), nil)
	if err != nil {
		return err
	}
	defer c.close()
	t := b.table("tokens", fmt.Sprintf("%d different tokens, signed with RS256", count), "", "CPU per request", "signatures checked", "resident memory, MiB")
	var checked, before float64
	for _, name := range []string{"the first time", "the second time", "the third time"} {
		s, err := c.each(requests)
		if err != nil {
			return err
		}
		resident, err := p.resident("VmRSS")
		if err != nil {
			return err
		}
		now, err := p.metric(ctx, `amlproxy_tokens_verified_total{outcome="ok"}`)
		if err != nil {
			return err
		}
		checked, before = now-before, now
		b.found("signatures per token", now/float64(count))
		t.row(name, micro(s.perRequest()), number(checked), fmt.Sprintf("%.1f", mebi(resident)))
	}
	t.print(b.out)
	return nil
}

// each sends every request once.
func (c *crowd) each(requests [][]byte) (slice, error) {
	next := make(chan []byte, len(requests))
	for _, r := range requests {
		next <- r
	}
	close(next)
	return c.measure(func(one *caller, note func(time.Duration)) error {
		for one.request = range next {
			sent := time.Now()
			if err := one.call(); err != nil {
				return err
			}
			note(time.Since(sent))
		}
		return nil
	})
}

// measureStart counts from the start of the process until a model has answered,
// which takes the provider's keys and the workspace's answers.
func measureStart(ctx context.Context, b *bench) error {
	token, err := b.world.bearer()
	if err != nil {
		return err
	}
	var listening, answered []float64
	for range b.rounds(20) {
		p, err := b.world.amlproxy(ctx, kind{log: "info", limits: true})
		if err != nil {
			return err
		}
		listening = append(listening, float64(time.Since(p.began)))
		one, err := dial(p.address, nil, shape{path: "/models/workspace", field: token, body: 1 << 10}.bytes(p.address))
		if err != nil {
			return err
		}
		if err := one.call(); err != nil {
			return err
		}
		answered = append(answered, float64(time.Since(p.began)))
		_ = one.conn.Close()
		b.world.rest()
	}
	size, err := os.Stat(b.options.binary)
	if err != nil {
		return err
	}
	t := b.table("start", "Start, and size", "", "")
	t.row("from the start of the process until it listens", milli(estimateOf(listening).median))
	t.row("until the first answer of a model", milli(estimateOf(answered).median))
	t.row("the binary", fmt.Sprintf("%.1f MB", float64(size.Size())/1e6))
	t.print(b.out)
	b.found("start to first answer", estimateOf(answered).median/1e6)
	b.found("binary", float64(size.Size())/1e6)
	return nil
}
