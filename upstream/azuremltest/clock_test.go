package azuremltest_test

import (
	"context"
	"sync"
	"time"
)

// handClock is moved by hand: nothing in these tests waits for real time.
type handClock struct {
	asleep chan time.Duration // gets what each Sleep was asked for

	mu       sync.Mutex
	now      time.Time
	sleepers map[chan struct{}]time.Time
}

func newHandClock() *handClock {
	return &handClock{asleep: make(chan time.Duration, 100), now: time.Now(), sleepers: make(map[chan struct{}]time.Time)}
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	wake := make(chan struct{})
	c.mu.Lock()
	c.sleepers[wake] = c.now.Add(d)
	c.mu.Unlock()
	c.asleep <- d
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// advance moves the time and wakes those whose time has come.
func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for wake, at := range c.sleepers {
		if !c.now.Before(at) {
			delete(c.sleepers, wake)
			close(wake)
		}
	}
}
