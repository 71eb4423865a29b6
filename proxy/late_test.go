package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"amlproxy/proxy"
)

// A body that is read to its end, and closed only when the exchange was stopped.
type lastMoment struct {
	io.Reader
	stopped <-chan struct{}
}

func (b lastMoment) Close() error { <-b.stopped; return nil }

// Time may be up after the last byte of an answer and before its end. What stops a
// write that hangs must not stop those of the next answer on the connection.
func TestTimeThatIsUpAtTheLastMomentIsNotTheNextRequests(t *testing.T) {
	answer := strings.Repeat("x", 64<<10) // more than net/http keeps back
	h := open(t, proxy.Config{Routes: []proxy.Route{
		{Name: "late", Public: true, IdleTimeout: 20 * time.Millisecond, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			body := lastMoment{strings.NewReader(answer), r.Context().Done()}
			return &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Length": {strconv.Itoa(len(answer))}}, Body: body, ContentLength: int64(len(answer))}, nil
		})},
	}})
	c, err := net.Dial("tcp", h.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	from := bufio.NewReader(c)
	ask := func(path string) (*http.Response, error) {
		_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: models.example.com\r\n\r\n", path)
		return http.ReadResponse(from, nil)
	}
	res, err := ask("/models/late/score")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != answer {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	// It may be closed, which a caller sees before it sends again; but not kept and dumb.
	if _, err := from.Peek(1); err != io.EOF {
		t.Errorf("the connection is kept with a deadline that was missed: %v", err)
	}
}
