package app_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestCallerWhoHoldsBackABodyIsAnsweredOnBothListeners, and "OPTIONS *" is answered
// by us and not by net/http.
func TestCallerWhoHoldsBackABodyIsAnsweredOnBothListeners(t *testing.T) {
	model := httptest.NewServer(http.NotFoundHandler())
	defer model.Close()
	r := run(t, public(model.URL+"/score"))
	defer func() { r.stop(); <-r.done }()
	ask := func(url, request string) int {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(8 * time.Second)) // less than any timeout
		_, _ = io.WriteString(c, request)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s %.30q: %v", url, request, err)
			return 0
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	for _, url := range []string{r.url, r.admin} {
		if status := ask(url, "POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"); status != http.StatusNotFound {
			t.Errorf("%s: %d", url, status)
		}
		if status := ask(url, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"); status == http.StatusOK {
			t.Errorf("%s: OPTIONS * got %d", url, status)
		}
	}
	if status := ask(r.url, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"); status != http.StatusBadRequest {
		t.Errorf("OPTIONS *: %d", status)
	}
}

// TestStopClosesWebSockets at DRAIN_TIMEOUT.
func TestStopClosesWebSockets(t *testing.T) {
	over := make(chan struct{})
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close(); close(over) }()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(io.Discard, rw)
	}))
	defer model.Close()
	r := run(t, public(model.URL+"/score", "AMLPROXY_DRAIN_TIMEOUT=100ms"))
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(c, "GET /models/m HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	b := bufio.NewReader(c)
	if res, err := http.ReadResponse(b, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", res, err)
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	if said, _ := io.ReadAll(b); !strings.HasPrefix(string(said), "\x88") || !strings.HasSuffix(string(said), "shutting down") {
		t.Errorf("the last words are %q", said)
	}
	<-over
}
