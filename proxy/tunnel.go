package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// A tunnel is the upstream's end of a WebSocket. It lives for as long as bytes move
// through it, and no longer than the identity that opened it: whoever lost his
// access would keep it for as long as he keeps the connection.
type tunnel struct {
	io.ReadWriteCloser
	clock *clock
	idle  time.Duration
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
	c.give(errIdleTunnel, idle)
}

// Read reads what the upstream says.
func (t *tunnel) Read(p []byte) (int, error) { return t.moved(t.ReadWriteCloser.Read(p)) }

// Write says to the upstream what the caller says.
func (t *tunnel) Write(p []byte) (int, error) { return t.moved(t.ReadWriteCloser.Write(p)) }

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

// tunnels are the WebSockets that are open: http.Server forgets a connection that
// was taken over, and its Shutdown neither waits for one nor closes it.
type tunnels struct {
	mu    sync.Mutex
	open  map[*clock]bool
	shut  bool
	ended chan struct{} // closed with the last one; nil: nobody waits
}

func (t *tunnels) add(c *clock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = make(map[*clock]bool)
	}
	t.open[c] = true
	if t.shut {
		c.halt(errDrained)
	}
}

func (t *tunnels) remove(c *clock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
	if len(t.open) == 0 && t.ended != nil {
		close(t.ended)
		t.ended = nil
	}
}

// none returns what is closed when no tunnel is open.
func (t *tunnels) none() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open) == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	if t.ended == nil {
		t.ended = make(chan struct{})
	}
	return t.ended
}

func (t *tunnels) halt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shut = true
	for c := range t.open {
		c.halt(errDrained)
	}
}

// Drain waits until the last WebSocket is closed, and closes those that are left
// when ctx ends. It belongs behind Shutdown of the http.Server, which knows nothing
// of them.
func (p *Proxy) Drain(ctx context.Context) {
	select {
	case <-p.tunnels.none():
	case <-ctx.Done():
	}
	p.tunnels.halt()
	last := time.NewTimer(time.Second) // their goroutines are on their way out
	defer last.Stop()
	select {
	case <-p.tunnels.none():
	case <-last.C:
	}
}
