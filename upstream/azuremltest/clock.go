package azuremltest

import (
	"context"
	"time"
)

// A Clock is the time that an Azure lives in: what it dates tokens with and how
// it waits. A test that does not want to wait gives one that it advances itself.
// It is safe for concurrent use.
type Clock interface {
	// Now returns the time.
	Now() time.Time
	// Sleep waits for d, or returns ctx's error if that ends first. Zero and less
	// does not wait.
	Sleep(ctx context.Context, d time.Duration) error
}

// wallClock is the time of everybody else.
type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

func (wallClock) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
