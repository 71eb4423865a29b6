package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/proxy"
)

// echo is a model that speaks through WebSockets, or something like them.
func echo(t *testing.T) http.RoundTripper {
	return model(t, func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(c, rw)
	})
}

// upgrade opens a WebSocket and says hello.
func upgrade(t *testing.T, address string, fields ...string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	b := bufio.NewReader(c)
	_, _ = io.WriteString(c, "GET /models/m HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+strings.Join(append(fields, ""), "\r\n")+"\r\n")
	res, err := http.ReadResponse(b, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", res, err)
	}
	_, _ = io.WriteString(c, "hello\n")
	if line, err := b.ReadString('\n'); line != "hello\n" {
		t.Fatalf("%q %v", line, err)
	}
	return c, b
}

// shortLived is an Authenticator of identities that end soon.
type shortLived time.Duration

func (s shortLived) Authenticate(http.Header, *http.Request) (*authn.Identity, error) {
	return &authn.Identity{Issuer: "i", Subject: "s", Method: authn.ByBearer, Expires: time.Now().Add(time.Duration(s))}, nil
}

// TestWebSocketDoesNotOutliveTheIdentity, however busy it is, and one in which
// nothing moves ends as well.
func TestWebSocketDoesNotOutliveTheIdentity(t *testing.T) {
	for name, c := range map[string]struct {
		who  authn.Authenticator
		idle time.Duration
		busy bool
		why  string
	}{
		"busy": {shortLived(400 * time.Millisecond), 0, true, "expired"},
		"idle": {shortLived(time.Hour), 200 * time.Millisecond, false, "no byte"},
	} {
		h := open(t, proxy.Config{Authenticator: c.who, Routes: []proxy.Route{{Name: "m", IdleTimeout: c.idle, Transport: echo(t)}}})
		conn, b := upgrade(t, h.Listener.Addr().String())
		if c.busy {
			drip(t, conn, 20*time.Millisecond)
		}
		start := time.Now()
		if _, _ = io.ReadAll(b); time.Since(start) > 10*time.Second {
			t.Errorf("%s: still open", name)
		}
		if rec := h.record(t); rec.Status != 101 || rec.Err == nil || !strings.Contains(rec.Err.Error(), c.why) {
			t.Errorf("%s: record %+v", name, rec)
		}
	}
}

// TestBusyWebSocketIsNotIdle.
func TestBusyWebSocketIsNotIdle(t *testing.T) {
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, IdleTimeout: 300 * time.Millisecond, Timeout: 100 * time.Millisecond, Transport: echo(t)}}})
	conn, b := upgrade(t, h.Listener.Addr().String())
	drip(t, conn, 20*time.Millisecond)
	if n, err := io.ReadFull(b, make([]byte, 50)); err != nil {
		t.Errorf("after %d bytes: %v", n, err)
	}
}

// TestWebSocketDoesNotSurviveADrain, of which http.Server knows nothing.
func TestWebSocketDoesNotSurviveADrain(t *testing.T) {
	records := make(chan proxy.Record, 1)
	p, err := proxy.New(proxy.Config{Record: func(r *proxy.Record) { records <- *r }, Routes: []proxy.Route{{Name: "m", Public: true, Transport: echo(t)}}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	conn, b := upgrade(t, s.Listener.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	drained := make(chan struct{})
	go func() { p.Drain(ctx); close(drained) }()
	_, _ = io.WriteString(conn, "more\n")
	if line, err := b.ReadString('\n'); line != "more\n" {
		t.Fatalf("cut before its time: %q %v", line, err)
	}
	cancel()
	<-drained
	if _, err := b.ReadByte(); err == nil {
		t.Error("still open")
	}
	if rec := <-records; rec.Status != 101 || rec.Err == nil || !strings.Contains(rec.Err.Error(), "shut down") {
		t.Errorf("record %+v", rec)
	}
}

// TestOnlyASCIIIsAWebSocket: strings.EqualFold takes "ſ" for an s and the Kelvin sign
// for a k, and so may a model.
func TestOnlyASCIIIsAWebSocket(t *testing.T) {
	up := record(t, "")
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: to(t, up.url())}}})
	for _, value := range []string{"web\u017focket", "websoc\u212aet", "WEB\u017fOC\u212aET"} {
		h.raw(t, "GET /models/m HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "+value+"\r\n\r\n")
		h.record(t)
		if head, _ := up.last(t); len(fields(head, "Upgrade"))+len(fields(head, "Connection")) > 0 {
			t.Errorf("%q is sent:\n%s", value, head)
		}
	}
}

// TestUpgradeThatIsRefusedEndsTheConnection to the model, which else stays open for
// as long as nobody collects garbage.
func TestUpgradeThatIsRefusedEndsTheConnection(t *testing.T) {
	for _, said := range [][2]string{ // the caller's Upgrade, the model's fields
		{"websocket", "Upgrade: websocket\r\n"},
		{"websocket", "Connection: Upgrade\r\nUpgrade: web\u017focket\r\n"},
		{"web\u017focket", "Connection: Upgrade\r\nUpgrade: websocket\r\n"},
	} {
		ended := make(chan error, 1)
		transport := model(t, func(w http.ResponseWriter, _ *http.Request) {
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				ended <- err
				return
			}
			defer func() { _ = c.Close() }()
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n"+said[1]+"\r\n")
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			_, err = io.Copy(io.Discard, rw)
			ended <- err
		})
		h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: transport}}})
		h.raw(t, "GET /models/m HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "+said[0]+"\r\n\r\n")
		if err := <-ended; errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: the connection to the model stays open", said)
		}
	}
}
