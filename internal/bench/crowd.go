package main

import (
	"context"
	"crypto/tls"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// concurrency is how many connections a crowd has.
const concurrency = 64

// A crowd is callers of one proxy, all with the same request.
type crowd struct {
	name    string
	process *process
	callers []*caller
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

func (c *crowd) close() {
	for _, one := range c.callers {
		_ = one.conn.Close()
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

// march lets the crowd call rate times a second for d, whoever is free. A latency
// counts from when the call should have begun, so that a proxy that is late once
// is late for all who would have called meanwhile (coordinated omission).
func (c *crowd) march(ctx context.Context, rate int, d time.Duration) (slice, error) {
	// The pacemaker sleeps in the kernel: the runtime's timers are too coarse.
	runtime.GOMAXPROCS(4)
	defer runtime.GOMAXPROCS(1)
	due := make(chan time.Time, int(float64(rate)*d.Seconds()))
	go func() {
		defer close(due)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		begin := time.Now()
		for n := range cap(due) {
			at := begin.Add(time.Duration(n) * time.Second / time.Duration(rate))
			for wait := time.Until(at); wait > 0 && ctx.Err() == nil; wait = time.Until(at) {
				left := unix.NsecToTimespec(int64(wait))
				_ = unix.Nanosleep(&left, nil)
			}
			due <- at
		}
	}()
	return c.measure(func(one *caller, note func(time.Duration)) error {
		for at := range due {
			if err := one.call(); err != nil {
				return err
			}
			note(time.Since(at))
		}
		return nil
	})
}

func (c *crowd) measure(work func(one *caller, note func(time.Duration)) error) (slice, error) {
	latencies := make([][]time.Duration, len(c.callers))
	errs := make([]error, len(c.callers))
	before, err := c.process.cpu()
	if err != nil {
		return slice{}, err
	}
	began := time.Now()
	var all sync.WaitGroup
	for i, one := range c.callers {
		latencies[i] = make([]time.Duration, 0, 256)
		all.Go(func() {
			errs[i] = work(one, func(d time.Duration) { latencies[i] = append(latencies[i], d) })
		})
	}
	all.Wait()
	took := time.Since(began)
	after, err := c.process.cpu()
	if err := errors.Join(err, errors.Join(errs...)); err != nil {
		return slice{}, err
	}
	s := slice{took: took, cpu: after - before, latencies: slices.Concat(latencies...)}
	s.requests = len(s.latencies)
	slices.Sort(s.latencies)
	return s, nil
}
