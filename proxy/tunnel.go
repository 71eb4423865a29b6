package proxy

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// closing is how long a WebSocket that the proxy ends stays open for its Close
// frame to be read (RFC 6455 section 7.1.1).
const closing = time.Second

// A tunnel is the upstream's end of a WebSocket. It lives for as long as bytes move
// through it, and no longer than the identity that opened it: whoever lost his
// access would keep it for as long as he keeps the connection.
type tunnel struct {
	io.ReadWriteCloser
	clock  *clock
	idle   time.Duration
	frames frames // of the upstream; belongs to whoever reads
}

// enter puts the WebSocket that res opens under the clock.
func (c *clock) enter(res *http.Response, idle time.Duration, expires time.Time) {
	conn, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		return // ReverseProxy says so
	}
	res.Body = &tunnel{ReadWriteCloser: conn, clock: c, idle: idle}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tunnel, c.expires = true, expires
	c.give(errIdleTunnel, time.Now(), idle)
}

// Read reads what the upstream says. When the proxy ended the WebSocket, which
// closes the upstream's connection, the last that the caller reads is why, if it
// can be said there.
func (t *tunnel) Read(p []byte) (int, error) {
	n, err := t.moved(t.ReadWriteCloser.Read(p))
	t.frames.pass(p[:n])
	why := t.clock.ended()
	if n > 0 || err == nil || why == nil {
		return n, err
	}
	if !t.frames.between() {
		return 0, why
	}
	t.frames.closed = true
	return copy(p, why.frame()), io.EOF
}

// Write says to the upstream what the caller says. When the proxy ended the
// WebSocket it goes nowhere: an error would end the exchange before Read did.
func (t *tunnel) Write(p []byte) (int, error) {
	n, err := t.moved(t.ReadWriteCloser.Write(p))
	if err != nil && t.clock.ended() != nil {
		return len(p), nil //nolint:nilerr // see above
	}
	return n, err
}

func (t *tunnel) moved(n int, err error) (int, error) {
	if n > 0 {
		t.clock.moved(t.idle)
	}
	return n, err
}

// CloseWrite tells the upstream that the caller has said everything.
func (t *tunnel) CloseWrite() error {
	if half, ok := t.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported // which ends both directions
}
