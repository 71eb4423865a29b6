package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// The caller may take bodyWait for each bodyPiece: at least 1 KiB/s, a time without
// a byte included, whatever was sent before. Only the time counts in which the
// caller is waited for.
const (
	bodyPiece   = 30 << 10
	defaultBody = 30 * time.Second
)

// A clock bounds one forwarded request. While a byte of the body is waited for it
// is the caller's turn; then, until the answer begins, the upstream's, for the
// route's timeout at a time, so that a long upload takes nothing away from a model;
// and then it counts the time between two bytes of the answer. It also counts the
// bytes of the body, and remembers why the body or the answer broke off.
type clock struct {
	cancel  context.CancelFunc
	came    time.Time           // when the request did
	caller  http.ResponseWriter // without a wrapper
	timeout time.Duration       // for the upstream's turn
	patient time.Duration       // for a piece of the body

	body   io.ReadCloser // the caller's
	taken  atomic.Int64
	broken error // of the upstream's body; belongs to the request's goroutine

	// Its timer runs on a goroutine of its own, and must touch no deadline of a
	// connection that serves another request by then.
	mu       sync.Mutex
	timer    *time.Timer
	rings    time.Time // when the timer does; zero: not before it is set again
	until    time.Time // when time is up
	blame    *ending   // what it is up for; nil: nobody's turn
	answered bool
	tunnel   bool
	expires  time.Time // of who is answered, zero for never
	piece    int64     // of the body, that came
	waited   time.Duration
	late     *ending // why it stopped the exchange, if it did
}

// start begins to count for x; the context that it returns ends when time is up.
func (c *clock) start(ctx context.Context, x *exchange, body io.ReadCloser) context.Context {
	ctx, c.cancel = context.WithCancel(ctx)
	c.came, c.caller, c.timeout, c.patient, c.body = x.record.Start, x.w.ResponseWriter, x.route.timeout, x.p.bodyTimeout, body
	c.mu.Lock()
	defer c.mu.Unlock()
	now, first := c.now(), min(c.timeout, c.patient)
	c.rings = now.Add(first)
	c.timer = time.AfterFunc(first, c.ring)
	c.give(errSlowAnswer, now, c.timeout)
	return ctx
}

// now is time.Now for who asks only how long something takes: it looks at one of the
// machine's clocks and not at two.
func (c *clock) now() time.Time { return c.came.Add(time.Since(c.came)) }

// give begins a turn. A timer that rings too early for it is left alone: most
// exchanges are over by then. The lock is held.
func (c *clock) give(blame *ending, now time.Time, most time.Duration) {
	c.until, c.blame = now.Add(most), blame
	if !c.expires.IsZero() && c.expires.Before(c.until) {
		c.until, c.blame = c.expires, errExpired
	}
	if c.rings.IsZero() || c.until.Before(c.rings) {
		c.rings = c.until
		c.timer.Reset(c.until.Sub(now))
	}
}

// ring stops the exchange, unless there is time left.
func (c *clock) ring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rings = time.Time{}
	switch left := time.Until(c.until); {
	case c.blame == nil: // nobody's turn, or it is over
	case left > 0:
		c.rings = c.until
		c.timer.Reset(left)
	default:
		c.stop(c.blame)
	}
}

// halt stops the exchange, whosever turn it is.
func (c *clock) halt(why *ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blame != nil {
		c.stop(why)
	}
}

// stop also ends the reads and writes that hang: they heed no context. The cause
// is set first, since a missed deadline looks like a caller that left. The lock is
// held.
func (c *clock) stop(why *ending) {
	c.late, c.blame = why, nil
	c.cancel()
	deadline := past()
	if c.tunnel { // which may have a last word for the caller
		deadline = time.Now().Add(closing)
	}
	control := http.NewResponseController(c.caller)
	if c.tunnel || why == errSlowBody {
		_ = control.SetReadDeadline(deadline)
	}
	if c.answered {
		_ = control.SetWriteDeadline(deadline)
	}
}

// began is called when the upstream's answer is there. It reports false if the
// time was up.
func (c *clock) began() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered, c.blame = true, nil
	return c.late == nil
}

func (c *clock) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
	c.answered, c.blame = true, nil
	c.cancel()
}

// cause returns why the clock stopped the exchange, or nil if it did not.
func (c *clock) cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late != nil {
		return c.late
	}
	return nil
}

// ended is cause, with what there is to say about it.
func (c *clock) ended() *ending {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.late
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
	start := c.now()
	if err := c.wait(start); err != nil {
		return 0, err
	}
	n, err := c.body.Read(p)
	c.got(n, start, c.now())
	return n, err
}

// wait begins the caller's turn, unless the upstream answers already.
func (c *clock) wait(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late != nil {
		return c.late
	}
	if !c.answered {
		c.give(errSlowBody, now, c.patient-c.waited)
	}
	return nil
}

// got ends it.
func (c *clock) got(n int, start, now time.Time) {
	c.taken.Add(int64(n))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answered || c.late != nil {
		return
	}
	c.piece += int64(n)
	c.waited += now.Sub(start)
	if c.piece >= bodyPiece {
		c.piece, c.waited = 0, 0
	}
	c.give(errSlowAnswer, now, c.timeout)
}

// Close closes the caller's body.
func (c *clock) Close() error { return c.body.Close() }

// moved gives an answer, or a tunnel, another spell.
func (c *clock) moved(idle time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.blame == nil: // it is over
	case c.tunnel:
		c.give(errIdleTunnel, time.Now(), idle)
	default:
		c.give(errStalled, time.Now(), idle)
	}
}

// An answerBody is the upstream's body under a clock.
type answerBody struct {
	io.ReadCloser
	clock *clock
	idle  time.Duration
	res   *http.Response
}

// watch puts the body of res under the clock.
func (c *clock) watch(res *http.Response, idle time.Duration, expires time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expires = expires
	c.give(errStalled, time.Now(), idle)
	res.Body = &answerBody{ReadCloser: res.Body, clock: c, idle: idle, res: res}
}

// Read gives the answer another spell with every byte that moved: those before
// went to the caller, or this would not be called.
func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.clock.moved(b.idle)
	}
	if err == io.EOF { //nolint:errorlint // as ReverseProxy does
		// An upstream that is left over TLS may say politely that it ends.
		if late := b.clock.cause(); late != nil {
			err = late
		}
	} else if err != nil {
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
