//go:build linux

package main

import (
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// concurrency is how many connections a crowd has.
const concurrency = 64

// A crowd is callers of one proxy, all with the same request: either callers, each
// for itself, or ends of an engine.
type crowd struct {
	name    string
	process *process
	callers []*caller
	engine  *engine
	ends    []*end
}

func (p *process) crowd(name string, s shape, tlsConfig *tls.Config) (*crowd, error) {
	c := &crowd{name: name, process: p}
	for range concurrency {
		one, err := dial(p.address, tlsConfig, s.bytes(p.address))
		if err != nil {
			return nil, err
		}
		c.callers = append(c.callers, one)
	}
	return c, nil
}

// driven returns a crowd of the engine's.
func (p *process) driven(name string, e *engine, s shape) (*crowd, error) {
	c := &crowd{name: name, process: p, engine: e}
	for range concurrency {
		one, err := e.dial(p.address, s.bytes(p.address))
		if err != nil {
			return nil, err
		}
		c.ends = append(c.ends, one)
	}
	return c, nil
}

func (c *crowd) close() {
	for _, one := range c.callers {
		_ = one.conn.Close()
	}
	for _, one := range c.ends {
		c.engine.hangUp(one)
	}
}

// A slice is what was measured in one turn.
type slice struct {
	took, cpu time.Duration
	requests  int
	latencies []time.Duration // sorted
}

func (s slice) perRequest() float64 { return float64(s.cpu) / float64(s.requests) }

// and puts two slices together.
func (s slice) and(t slice) slice {
	both := slice{s.took + t.took, s.cpu + t.cpu, s.requests + t.requests, slices.Concat(s.latencies, t.latencies)}
	slices.Sort(both.latencies)
	return both
}

// rush lets everybody call as often as he is answered, for d.
func (c *crowd) rush(d time.Duration) (slice, error) {
	if c.engine != nil {
		return c.rushEngine(d)
	}
	var stop atomic.Bool
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	return c.measure(func(one *caller, note func(time.Duration)) error {
		for !stop.Load() {
			sent := time.Now()
			if err := one.call(); err != nil {
				return err
			}
			note(time.Since(sent))
		}
		return nil
	})
}

func (c *crowd) rushEngine(d time.Duration) (slice, error) {
	var s slice
	stop, under := time.Now().Add(d), 0
	err := c.charged(&s, func() error {
		for _, one := range c.ends {
			one.done = func(one *end, now time.Time) {
				s.latencies = append(s.latencies, now.Sub(one.began))
				if now.Before(stop) {
					c.engine.call(one, now)
				} else {
					under--
				}
			}
			under++
			c.engine.call(one, time.Now())
		}
		return c.engine.run(func(time.Time) bool { return under > 0 })
	})
	return s, err
}

// march lets the crowd call rate times a second for d, whoever is free. A latency
// counts from when the call should have begun, so that a proxy that is late once
// is late for all who would have called meanwhile (coordinated omission).
func (c *crowd) march(rate int, d time.Duration) (slice, error) {
	var s slice
	total, sent := int(float64(rate)*d.Seconds()), 0
	free := slices.Clone(c.ends)
	for _, one := range c.ends {
		one.done = func(one *end, now time.Time) {
			s.latencies = append(s.latencies, now.Sub(one.began))
			free = append(free, one)
		}
	}
	begin := time.Now()
	err := c.charged(&s, func() error {
		return c.engine.run(func(now time.Time) bool {
			for len(free) > 0 && sent < total {
				due := begin.Add(time.Duration(sent) * time.Second / time.Duration(rate))
				if now.Before(due) {
					break
				}
				one := free[0]
				free, sent = free[1:], sent+1
				c.engine.call(one, due)
			}
			return len(s.latencies) < total
		})
	})
	return s, err
}

// charged measures what the process did meanwhile.
func (c *crowd) charged(s *slice, work func() error) error {
	before, err := c.process.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := work(); err != nil {
		return err
	}
	s.took = time.Since(began)
	after, err := c.process.cpu()
	s.cpu, s.requests = after-before, len(s.latencies)
	slices.Sort(s.latencies)
	return err
}

func (c *crowd) measure(work func(one *caller, note func(time.Duration)) error) (slice, error) {
	latencies := make([][]time.Duration, len(c.callers))
	errs := make([]error, len(c.callers))
	var s slice
	err := c.charged(&s, func() error {
		var all sync.WaitGroup
		for i, one := range c.callers {
			latencies[i] = make([]time.Duration, 0, 256)
			all.Go(func() {
				errs[i] = work(one, func(d time.Duration) { latencies[i] = append(latencies[i], d) })
			})
		}
		all.Wait()
		s.latencies = slices.Concat(latencies...)
		return errors.Join(errs...)
	})
	return s, err
}
