package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// Why a clock stopped an exchange.
var (
	errSlowAnswer = &timeoutError{"the upstream did not begin to answer in time"}
	errSlowBody   = &timeoutError{"the caller did not send the request body in time"}
	errStalled    = &timeoutError{"no byte of the answer moved for too long"}
)

type timeoutError struct{ text string }

func (t *timeoutError) Error() string { return t.text }

// Unwrap makes each a context.DeadlineExceeded.
func (t *timeoutError) Unwrap() error { return context.DeadlineExceeded }

// A clock bounds one forwarded request: the route's timeout until the answer
// begins, and then the time between two bytes of it. It also counts the bytes of
// the request's body, and remembers why the body or the answer broke off.
type clock struct {
	cancel  context.CancelFunc
	control *http.ResponseController
	timer   *time.Timer

	body    io.ReadCloser // the caller's
	taken   atomic.Int64
	waiting atomic.Bool // for the caller's next bytes
	whole   atomic.Bool // the body was read to its end

	late   atomic.Pointer[timeoutError] // why it stopped the exchange, if it did
	broken error                        // of the upstream's body; belongs to the request's goroutine
}

// startClock begins to count for x; the context that it returns ends when time is up.
func startClock(ctx context.Context, x *exchange, body io.ReadCloser) (*clock, context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	c := &clock{cancel: cancel, control: http.NewResponseController(x.w), body: body}
	c.whole.Store(body == nil || body == http.NoBody)
	c.timer = time.AfterFunc(x.route.timeout, c.answerLate)
	return c, ctx
}

// answerLate also ends a read of the caller's body that hangs: that read heeds no
// context. The cause is set first, since an expired deadline looks like a caller
// that left.
func (c *clock) answerLate() {
	if c.waiting.Load() {
		c.stop(errSlowBody)
	} else {
		c.stop(errSlowAnswer)
	}
	if !c.whole.Load() {
		_ = c.control.SetReadDeadline(time.Unix(1, 0))
	}
}

// answerStalled also ends a write to a caller that does not read.
func (c *clock) answerStalled() {
	c.stop(errStalled)
	_ = c.control.SetWriteDeadline(time.Unix(1, 0))
}

// began is called when the upstream's answer is there. It reports false if the
// time was up.
func (c *clock) began() bool { return c.timer.Stop() }

func (c *clock) end() {
	c.timer.Stop()
	c.cancel()
}

// cause returns why the clock stopped the exchange, or nil if it did not.
func (c *clock) cause() error {
	if late := c.late.Load(); late != nil {
		return late
	}
	return nil
}

func (c *clock) stop(why *timeoutError) {
	c.late.Store(why)
	c.cancel()
}

// why returns what broke off an answer that had begun. If neither the time nor
// the upstream did, the caller left.
func (c *clock) why() error {
	if err := c.cause(); err != nil {
		return err
	}
	if c.broken != nil && !errors.Is(c.broken, context.Canceled) {
		return c.broken
	}
	return errClientGone
}

// Read reads the caller's body.
func (c *clock) Read(p []byte) (int, error) {
	c.waiting.Store(true)
	n, err := c.body.Read(p)
	c.waiting.Store(false)
	c.taken.Add(int64(n))
	if err != nil {
		c.whole.Store(true)
	}
	return n, err
}

// Close closes the caller's body.
func (c *clock) Close() error { return c.body.Close() }

// An answerBody is the upstream's body under a clock.
type answerBody struct {
	io.ReadCloser
	clock *clock
	idle  time.Duration
	res   *http.Response
}

// watch puts the body of res under the clock.
func (c *clock) watch(res *http.Response, idle time.Duration) {
	c.timer = time.AfterFunc(idle, c.answerStalled)
	res.Body = &answerBody{ReadCloser: res.Body, clock: c, idle: idle, res: res}
}

// Read gives the answer another spell with every byte that moved: those before
// went to the caller, or this would not be called.
func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.clock.timer.Reset(b.idle)
	}
	if err != nil && err != io.EOF {
		b.clock.broken = err
	}
	return n, err
}

// Close is called before ReverseProxy passes the trailer on, which by then holds
// also what was not announced.
func (b *answerBody) Close() error {
	err := b.ReadCloser.Close()
	scrubTrailer(b.res.Trailer)
	return err
}
