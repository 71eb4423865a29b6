package azureml

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// errClosed: the Workspace has been closed.
var errClosed = errors.New("the workspace is closed")

// flights runs fetches that several callers wait for, each on a context of his
// own: that the first one gives up must neither fail the others nor end a sign-in
// that the operator is in the middle of. All end at close.
type flights struct {
	life context.Context //nolint:containedctx // ends every flight at close; no request's context is stored
	end  context.CancelFunc

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

func newFlights() *flights {
	f := &flights{}
	f.life, f.end = context.WithCancel(context.Background())
	return f
}

func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.end()
	f.wg.Wait()
}

// A flight is one fetch. Its result may be read once done is closed.
type flight[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// launch starts fetch, for limit at most, and calls landed with what it brought
// before anybody who waits is told.
func launch[T any](f *flights, limit time.Duration, fetch func(context.Context) (T, error), landed func(T, error)) *flight[T] {
	one := &flight[T]{done: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		one.err = errClosed
		close(one.done)
		return one
	}
	f.wg.Go(func() {
		ctx, cancel := context.WithTimeout(f.life, limit)
		defer cancel()
		one.value, one.err = guarded(ctx, fetch)
		landed(one.value, one.err)
		close(one.done)
	})
	return one
}

// guarded makes a panic the failure of those who wait: it is on no request's
// goroutine, and would end the process.
func guarded[T any](ctx context.Context, fetch func(context.Context) (T, error)) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a panic: %v, %s", p, panicked(debug.Stack()))
		}
	}()
	return fetch(ctx)
}

// panicked finds in a stack where it happened: errors have one line.
func panicked(stack []byte) string {
	_, below, _ := strings.Cut(string(stack), "\npanic(")
	frames := strings.SplitN(below, "\n", 5)
	if len(frames) < 5 {
		return "somewhere"
	}
	return "in " + frames[2] + " at " + strings.TrimSpace(frames[3])
}

// wait returns the result, or ctx's error if that comes first.
func (f *flight[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
