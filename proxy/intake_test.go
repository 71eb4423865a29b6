package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/proxy"
)

// dial opens a connection that gives up after 20 s, far beyond what any bound here
// should take.
func (h *house) dial(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", h.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c, bufio.NewReader(c)
}

// final reads the answer behind the interim ones.
func final(b *bufio.Reader) (*http.Response, error) {
	for {
		res, err := http.ReadResponse(b, nil)
		if err != nil || res.StatusCode >= 200 {
			return res, err
		}
	}
}

// drip sends one byte at a time until the connection or the test is over.
func drip(t *testing.T, c net.Conn, every time.Duration) {
	tick := time.NewTicker(every)
	t.Cleanup(tick.Stop)
	go func() {
		for {
			select {
			case <-tick.C:
			case <-t.Context().Done():
				return
			}
			if _, err := io.WriteString(c, "a"); err != nil {
				return
			}
		}
	}()
}

// TestRefusedCallerWhoSendsNoBodyIsAnsweredAtOnceAndLetGo: net/http would wait for
// the body before it answers, and again before it closes.
func TestRefusedCallerWhoSendsNoBodyIsAnsweredAtOnceAndLetGo(t *testing.T) {
	h := open(t, proxy.Config{Login: gate{}, Routes: []proxy.Route{{Name: "m", Transport: model(t, func(http.ResponseWriter, *http.Request) {})}}})
	for _, framing := range []string{"Content-Length: 200000", "Content-Length: 10", "Transfer-Encoding: chunked", "Content-Length: 10\r\nExpect: 100-continue", "Content-Length: 99999999999"} {
		for target, want := range map[string]int{"/nope": 404, "/models/m": 401, "/models/m/nope": 404, "/models//m": 400, "/livez": 405, "/oauth2/sign_out": 200} {
			t.Run(target+" "+framing, func(t *testing.T) {
				t.Parallel()
				c, b := h.dial(t)
				start := time.Now()
				_, _ = io.WriteString(c, "POST "+target+" HTTP/1.1\r\nHost: x\r\n"+framing+"\r\n\r\n")
				res, err := http.ReadResponse(b, nil)
				if err != nil || res.StatusCode != want || !res.Close {
					t.Fatalf("%v %v", res, err)
				}
				if took := time.Since(start); took > 2*time.Second {
					t.Errorf("answered after %v", took)
				}
				if _, err := io.ReadAll(b); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took > 6*time.Second {
					t.Errorf("closed after %v", took)
				}
			})
		}
	}
}

// TestRefusedCallerKeepsHisConnection if his body is small and there.
func TestRefusedCallerKeepsHisConnection(t *testing.T) {
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Transport: model(t, func(http.ResponseWriter, *http.Request) {})}}})
	c, b := h.dial(t)
	for range 3 {
		_, _ = io.WriteString(c, "POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
		_, _ = io.WriteString(c, "POST /models/m HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
		_, _ = io.WriteString(c, "POST /models/m HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\nContent-Length: 2\r\n\r\n{}")
		for _, want := range []int{404, 401, 200} {
			res, err := http.ReadResponse(b, nil)
			if err != nil || res.StatusCode != want || res.Close {
				t.Fatalf("want %d: %v %v", want, res, err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
		}
	}
}

// reader is a Login that reads the form.
type reader struct{ gate }

func (reader) Callback(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return &authn.Error{Kind: authn.ErrInvalid, Malformed: true, Err: err}
	}
	_, err = fmt.Fprintf(w, "%d bytes", len(body))
	return err
}

// TestFormThatDripsIsCut: it is read before anything is known about who sends it.
func TestFormThatDripsIsCut(t *testing.T) {
	h := open(t, proxy.Config{Login: reader{}, ReadTimeout: 200 * time.Millisecond})
	c, b := h.dial(t)
	_, _ = io.WriteString(c, "POST /oauth2/callback HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\n")
	drip(t, c, 10*time.Millisecond)
	start := time.Now()
	res, err := http.ReadResponse(b, nil)
	if err != nil || res.StatusCode != http.StatusBadRequest || !res.Close || time.Since(start) > 5*time.Second {
		t.Fatalf("%v %v after %v", res, err, time.Since(start))
	}
	if a := h.ask(t, "POST", "/oauth2/callback", "code=x"); a.status != 200 || a.body != "6 bytes" {
		t.Errorf("%d %q", a.status, a.body)
	}
}

// TestDeadlineOfOneRequestDoesNotReachTheNext, nor the answer of its own.
func TestDeadlineOfOneRequestDoesNotReachTheNext(t *testing.T) {
	slow := time.NewTicker(300 * time.Millisecond)
	t.Cleanup(slow.Stop)
	h := open(t, proxy.Config{ReadTimeout: 100 * time.Millisecond, Routes: []proxy.Route{{Name: "m", Public: true, Transport: model(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		<-slow.C
		<-slow.C
		_, _ = w.Write(body)
	})}}})
	c, b := h.dial(t)
	for range 2 {
		_, _ = io.WriteString(c, "POST /models/m HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
		res, err := http.ReadResponse(b, nil)
		if err != nil || res.StatusCode != http.StatusOK || res.Close {
			t.Fatalf("%v %v", res, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
	}
}

// TestSlowUploadIsNotCutByTheTimeoutOfTheAnswer, which begins with its last byte.
func TestSlowUploadIsNotCutByTheTimeoutOfTheAnswer(t *testing.T) {
	h := open(t, proxy.Config{ReadTimeout: 100 * time.Millisecond, Routes: []proxy.Route{{Name: "m", Public: true, Timeout: 150 * time.Millisecond, Transport: model(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, "%d", n)
	})}}})
	tick := time.NewTicker(40 * time.Millisecond)
	t.Cleanup(tick.Stop)
	for _, length := range []int64{40 * 10, 40 * 40_000, -1} { // held, streamed, chunked
		part := strings.Repeat("a", int(max(length, 400)/40))
		in, out := io.Pipe()
		go func() {
			for range 40 {
				<-tick.C
				_, _ = io.WriteString(out, part)
			}
			_ = out.Close()
		}()
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL+"/models/m", in)
		r.ContentLength = length
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if want := fmt.Sprint(40 * len(part)); res.StatusCode != http.StatusOK || string(body) != want {
			t.Errorf("%d: %d %s, want %s", length, res.StatusCode, body, want)
		}
	}
}

// TestUploadThatDripsIsCut, however it is framed and sent on.
func TestUploadThatDripsIsCut(t *testing.T) {
	h := open(t, proxy.Config{BodyTimeout: 300 * time.Millisecond, Routes: []proxy.Route{{Name: "m", Public: true, Transport: model(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	})}}})
	for _, framing := range []string{"Content-Length: 60000\r\n\r\n", "Content-Length: 6000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nffffff\r\n"} {
		c, b := h.dial(t)
		_, _ = io.WriteString(c, "POST /models/m HTTP/1.1\r\nHost: x\r\n"+framing)
		drip(t, c, 10*time.Millisecond)
		start := time.Now()
		res, err := final(b)
		if err != nil || res.StatusCode != http.StatusRequestTimeout || !res.Close || time.Since(start) > 5*time.Second {
			t.Fatalf("%q: %v %v after %v", framing, res, err, time.Since(start))
		}
	}
}

// TestUpstreamThatDoesNotTakeTheBodyIsTimedOut, and the caller is not blamed.
func TestUpstreamThatDoesNotTakeTheBodyIsTimedOut(t *testing.T) {
	over := make(chan struct{})
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Timeout: 300 * time.Millisecond, Transport: model(t, func(http.ResponseWriter, *http.Request) { <-over })}}})
	t.Cleanup(func() { close(over) })
	c, b := h.dial(t)
	_, _ = io.WriteString(c, "POST /models/m HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n")
	go func() { _, _ = io.Copy(c, io.LimitReader(endless{}, 60_000_000)) }()
	if res, err := final(b); err != nil || res.StatusCode != http.StatusGatewayTimeout {
		t.Fatalf("%v %v", res, err)
	}
}

// TestEarlyAnswerIsNotHeldByABodyThatDrips: the model refuses without reading.
func TestEarlyAnswerIsNotHeldByABodyThatDrips(t *testing.T) {
	up := record(t, "")
	_ = up.listener.Close()
	early := model(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusTeapot)
	})
	for name, route := range map[string]struct {
		transport http.RoundTripper
		want      int
	}{"refused": {early, http.StatusTeapot}, "unreachable": {to(t, up.url()), http.StatusBadGateway}} {
		h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: route.transport}}})
		for _, framing := range []string{"Content-Length: 6000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nfffffff\r\n"} {
			c, b := h.dial(t)
			_, _ = io.WriteString(c, "POST /models/m HTTP/1.1\r\nHost: x\r\n"+framing)
			drip(t, c, 10*time.Millisecond)
			start := time.Now()
			res, err := final(b)
			if err != nil || res.StatusCode != route.want || !res.Close || time.Since(start) > 5*time.Second {
				t.Fatalf("%s, %q: %v %v after %v", name, framing, res, err, time.Since(start))
			}
			_ = h.record(t) // the exchange is over
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestTwoFramingsAreForwardedAsOne: net/http reads one of the two lengths, and what
// it does not read must not become a request of its own behind us.
func TestTwoFramingsAreForwardedAsOne(t *testing.T) {
	up := record(t, "")
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: to(t, up.url())}}})
	for _, framing := range []string{"Content-Length: 100\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 1"} {
		status := h.raw(t, "POST /models/m HTTP/1.1\r\nHost: x\r\n"+framing+"\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
		head, body := up.last(t)
		if status != http.StatusOK || body != "{}" || len(fields(head, "Content-Length"))+len(fields(head, "Transfer-Encoding")) != 1 {
			t.Errorf("%q: %d\n%s\n%q", framing, status, head, body)
		}
	}
	for _, framing := range []string{"Content-Length: 1\r\nContent-Length: 2", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: xchunked", "Content-Length: +2"} {
		if status := h.raw(t, "POST /models/m HTTP/1.1\r\nHost: x\r\n"+framing+"\r\n\r\n2\r\n{}\r\n0\r\n\r\n"); status != http.StatusBadRequest && status != http.StatusNotImplemented {
			t.Errorf("%q: %d", framing, status)
		}
	}
}
