package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestAnswerBeforeTheBodyMixesNothingUp: the upstream answers without having read the
// body, as one does that refuses it, and keeps its connection. What the caller still
// sends is of no later request, at neither end (CVE-2024-24791), however many do so
// at once.
func TestAnswerBeforeTheBodyMixesNothingUp(t *testing.T) {
	c := newCourt(t, 500*time.Millisecond, (*httptest.Server).Start)
	body := strings.Repeat(smuggled, 2<<20/len(smuggled)+1) // more than is kept for a retry
	var all sync.WaitGroup
	for n := range 4 {
		for name, framing := range map[string]string{
			"a length":            fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body),
			"a length, expecting": fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
			"chunks":              fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%s", len(body), body, chunkedEnd),
			"chunks, expecting":   fmt.Sprintf("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%s", len(body), body, chunkedEnd),
			"a length, cut":       fmt.Sprintf("Content-Length: %d\r\n\r\n%s", 2*len(body), body),
		} {
			below := fmt.Sprintf("/early/%d/%d", n, len(name))
			all.Go(func() { c.sendEarly(t, name, below, framing) })
		}
	}
	all.Wait()
	for range 20 {
		c.checkVictim(t, "early answers")
	}
	c.CloseClientConnections()
	c.Close()
	c.up.mu.Lock()
	defer c.up.mu.Unlock()
	for _, b := range c.up.broken {
		t.Errorf("the upstream saw what is no request: %.300s", b)
	}
	for _, seen := range c.up.byID {
		if len(seen) != 1 || strings.Contains(seen[0].target, "smuggled") {
			t.Errorf("the upstream saw %.300q", seen)
		}
	}
}

// sendEarly sends one request to the upstream that answers early, and reads all
// answers: the first is its own, and nobody answers what is in the body.
func (c *court) sendEarly(t *testing.T, name, below, framing string) {
	t.Helper()
	conn, err := net.Dial("tcp", c.Listener.Addr().String())
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		_, _ = io.WriteString(conn, "POST /models/public"+below+" HTTP/1.1\r\nHost: x\r\n"+framing+
			"GET /models/public/last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	}()
	r := bufio.NewReader(conn)
	for {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return // cut off in the middle of the body: so be it
		}
		said, _ := io.ReadAll(res.Body)
		if res.StatusCode == http.StatusContinue {
			continue
		}
		if res.StatusCode == http.StatusOK && string(said) != "POST "+below && string(said) != "GET /last" || res.StatusCode == http.StatusUnauthorized {
			t.Errorf("%s: %d %q", name, res.StatusCode, said)
		}
		if res.Close {
			return
		}
	}
}
