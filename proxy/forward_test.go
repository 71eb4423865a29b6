package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"amlproxy/proxy"
	"amlproxy/upstream"
)

// model is an upstream made of a handler.
func model(t *testing.T, serve http.HandlerFunc) http.RoundTripper {
	t.Helper()
	s := httptest.NewServer(serve)
	t.Cleanup(s.Close)
	return to(t, s.URL+"/score")
}

func TestUpstreamFailuresAreNamed(t *testing.T) {
	for _, c := range []struct {
		err        error
		status     int
		problem    string
		retryAfter string
	}{
		{fmt.Errorf("x: %w", upstream.ErrRejected), 502, "credential-rejected", ""},
		{fmt.Errorf("x: %w", upstream.ErrNoCredential), 503, "credential-unavailable", "5"},
		{fmt.Errorf("%w: %w", upstream.ErrNoCredential, &upstream.RetryAfterError{After: 1500 * time.Millisecond, Err: io.EOF}), 503, "credential-unavailable", "2"},
		{upstream.ErrNotReplayable, 503, "credential-renewing", "1"},
		{fmt.Errorf("%w: %w", upstream.ErrRequestBody, &http.MaxBytesError{Limit: 5}), 413, "too-large", ""},
		{fmt.Errorf("%w: %w", upstream.ErrRequestBody, io.ErrUnexpectedEOF), 400, "bad-body", ""},
		{context.DeadlineExceeded, 504, "upstream-timeout", ""},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, 502, "upstream-unreachable", ""},
		{errors.New("CANARY-CAUSE"), 502, "upstream-unreachable", ""},
	} {
		h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, c.err })}}})
		a := h.ask(t, "POST", "/models/m", "{}", "Origin: https://x")
		rec := h.record(t)
		if a.status != c.status || a.problem(t)["type"] != c.problem || a.Header.Get("Retry-After") != c.retryAfter || strings.Contains(a.body, "CANARY") {
			t.Errorf("%v: %d %q %s", c.err, a.status, a.Header.Get("Retry-After"), a.body)
		}
		if rec.Status != c.status || rec.Problem != c.problem || !errors.Is(rec.Err, c.err) {
			t.Errorf("%v: record %+v", c.err, rec)
		}
	}
}

func TestUpstreamStatusPassesUnchangedButForOnesAboutOurCredential(t *testing.T) {
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: model(t, func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.RawQuery)
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Ms-Azureml-Model-Error-Statuscode", "500")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "from the model")
	})}}})
	for _, status := range []int{200, 201, 301, 307, 400, 403, 404, 408, 424, 429, 500, 502, 503, 504, 599} {
		a := h.ask(t, "POST", "/models/m?"+strconv.Itoa(status), "{}")
		if a.status != status || a.body != "from the model" || a.Header.Get("Retry-After") != "7" || a.Header.Get("Ms-Azureml-Model-Error-Statuscode") != "500" {
			t.Errorf("%d: %d %q %v", status, a.status, a.body, a.Header)
		}
		if rec := h.record(t); rec.UpstreamStatus != status || rec.Sends != 1 || rec.Kind != upstream.Key || rec.Problem != "" || rec.ResponseBytes != 14 || rec.RequestBytes != 2 {
			t.Errorf("%d: record %+v", status, rec)
		}
	}
	for _, status := range []string{"401", "407"} {
		if a := h.ask(t, "POST", "/models/m?"+status, "{}"); a.status != http.StatusBadGateway || a.problem(t)["type"] != "credential-rejected" {
			t.Errorf("%s: %d %s", status, a.status, a.body)
		}
	}
}

func TestModelsAnswerIsNotAPageOfThisOrigin(t *testing.T) {
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Transport: model(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<script>alert(1)</script>")
	})}}})
	a := h.ask(t, "GET", "/models/m", "", "Cookie: amlproxy=alice")
	if a.Header.Get("Content-Security-Policy") != "sandbox" || a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", a.Header)
	}
	if got := a.Header.Values("Set-Cookie"); len(got) != 1 || got[0] != "amlproxy=renewed" {
		t.Errorf("the renewed session: %q", got)
	}
}

func TestBodyLargerThanAllowedIsRefused(t *testing.T) {
	got := make(chan int64, 10)
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, MaxBody: 10, Transport: model(t, func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got <- n
	})}}})
	if a := h.ask(t, "POST", "/models/m", "0123456789"); a.status != 200 || <-got != 10 {
		t.Errorf("10 bytes: %d", a.status)
	}
	if a := h.ask(t, "POST", "/models/m", "01234567890"); a.status != 413 || a.problem(t)["type"] != "too-large" {
		t.Errorf("11 bytes: %d", a.status)
	}
	if status := h.raw(t, "POST /models/m HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n"); status != 413 {
		t.Errorf("11 bytes, chunked: %d", status)
	}
	if status := h.raw(t, "POST /models/m HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"); status != 400 {
		t.Errorf("broken chunk: %d", status)
	}
}

func TestSilentUpstreamIsTimedOut(t *testing.T) {
	gone := make(chan struct{})
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Timeout: 50 * time.Millisecond, Transport: model(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	})}}})
	if a := h.ask(t, "GET", "/models/m", ""); a.status != http.StatusGatewayTimeout || a.problem(t)["type"] != "upstream-timeout" {
		t.Errorf("%d %s", a.status, a.body)
	}
	<-gone // the upstream is told
	if rec := h.record(t); rec.Status != 504 || !errors.Is(rec.Err, context.DeadlineExceeded) {
		t.Errorf("record %+v", rec)
	}
}

func TestCallerWhoSendsNoBodyIsTimedOut(t *testing.T) {
	h := open(t, proxy.Config{BodyTimeout: 50 * time.Millisecond, Routes: []proxy.Route{{Name: "m", Public: true, Timeout: 50 * time.Millisecond, Transport: model(t, func(http.ResponseWriter, *http.Request) {})}}})
	for _, framing := range []string{"Content-Length: 100", "Transfer-Encoding: chunked"} {
		if status := h.raw(t, "POST /models/m HTTP/1.1\r\nHost: x\r\n"+framing+"\r\n\r\n"); status != http.StatusRequestTimeout {
			t.Errorf("%s: %d, want 408", framing, status)
		}
	}
}

func TestStalledAnswerIsBrokenOffAndNeverLooksWhole(t *testing.T) {
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, IdleTimeout: 50 * time.Millisecond, Transport: model(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})}}})
	if a := h.ask(t, "GET", "/models/m", ""); a.status != 200 || a.err == nil {
		t.Errorf("%d %q %v", a.status, a.body, a.err)
	}
	if rec := h.record(t); !rec.Aborted || rec.Err == nil || !strings.Contains(rec.Err.Error(), "no byte") {
		t.Errorf("record %+v", rec)
	}
}

func TestAnswerBrokenOffByTheUpstreamNeverLooksWhole(t *testing.T) {
	up := record(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf \r\n")
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: to(t, up.url())}}})
	if a := h.ask(t, "GET", "/models/m", ""); a.err == nil {
		t.Errorf("%q looks whole", a.body)
	}
	if rec := h.record(t); !rec.Aborted || !errors.Is(rec.Err, io.ErrUnexpectedEOF) || rec.Status != 200 {
		t.Errorf("record %+v", rec)
	}
}

func TestEventsAreFlushedAtOnce(t *testing.T) {
	next := make(chan string)
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: model(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for event := range next {
			_, _ = io.WriteString(w, event+"\n")
			_ = http.NewResponseController(w).Flush()
		}
	})}}})
	go func() { next <- "one" }()
	res, err := http.Get(h.URL + "/models/m")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	for _, want := range []string{"one", "two", "three"} {
		if want != "one" {
			next <- want
		}
		if !lines.Scan() || lines.Text() != want { // would hang if it were buffered
			t.Fatalf("%q, want %q", lines.Text(), want)
		}
	}
	close(next)
}

func TestCallerWhoLeavesCancelsTheUpstream(t *testing.T) {
	arrived, told := make(chan struct{}), make(chan struct{})
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: model(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(told)
	})}}})
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-arrived; leave() }()
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, h.URL+"/models/m", http.NoBody)
	if _, err := http.DefaultClient.Do(r); err == nil {
		t.Fatal("answered")
	}
	<-told
	if rec := h.record(t); rec.Status != 499 || rec.ResponseBytes != 0 || rec.Aborted || rec.Err == nil {
		t.Errorf("record %+v", rec)
	}
}

// TestContinueIsTheProxysOwn: the model's 100 answers the proxy's Expect, and a
// caller who sent none gets none.
func TestContinueIsTheProxysOwn(t *testing.T) {
	up := record(t, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: to(t, up.url())}}})
	if status := h.raw(t, "POST /models/m HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"); status != http.StatusOK {
		t.Errorf("the first answer is %d", status)
	}
}

// HTTP/1.0 has no 1xx: its callers take the first answer for the last (RFC 9110
// section 15.2).
func TestInterimAnswersAreNotForHTTP10(t *testing.T) {
	up := record(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: to(t, up.url())}}})
	if status := h.raw(t, "GET /models/m HTTP/1.0\r\nHost: x\r\n\r\n"); status != http.StatusOK {
		t.Errorf("the first answer is %d", status)
	}
}

func TestInterimAnswersPassAndTakeNothingAway(t *testing.T) {
	up := record(t, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nSet-Cookie: amlproxy=evil\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, CORS: &proxy.CORS{Origins: []string{"https://a.example"}}, Transport: to(t, up.url())}}})
	c, err := net.Dial("tcp", h.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "GET /models/m HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\nConnection: close\r\n\r\n")
	got, _ := io.ReadAll(c)
	if s := string(got); !strings.HasPrefix(s, "HTTP/1.1 103") || strings.Contains(s, "evil") || !strings.Contains(s, "Access-Control-Allow-Origin: https://a.example") || !strings.Contains(s, "X-Request-Id: ") {
		t.Errorf("%s", s)
	}
	if rec := h.record(t); rec.Status != 200 {
		t.Errorf("record %+v", rec)
	}
}

func TestFailedUpgradeLeavesNoTunnel(t *testing.T) {
	for name, answer := range map[string]string{
		"nobody asked":     "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"without protocol": "HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"another protocol": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
	} {
		up := record(t, answer+"RAW")
		h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: to(t, up.url())}}})
		ask := "GET /models/m HTTP/1.1\r\nHost: x\r\n"
		if name != "nobody asked" {
			ask += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"
		}
		if status := h.raw(t, ask+"\r\n"); status != http.StatusBadGateway {
			t.Errorf("%s: %d, want 502", name, status)
		}
		if rec := h.record(t); rec.Upgraded || rec.Status != 502 {
			t.Errorf("%s: record %+v", name, rec)
		}
	}
}

func TestWebSocketPasses(t *testing.T) {
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: model(t, func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSet-Cookie: a=b\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString("echo " + line)
		_ = rw.Flush()
	})}}})
	c, err := net.Dial("tcp", h.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "GET /models/m HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	b := bufio.NewReader(c)
	res, err := http.ReadResponse(b, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("X-Request-Id") == "" || res.Header.Get("Set-Cookie") != "" {
		t.Fatalf("%v %v", res, err)
	}
	_, _ = io.WriteString(c, "hello\n")
	if line, _ := b.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("%q", line)
	}
	_ = c.Close()
	if rec := h.record(t); rec.Status != 101 || !rec.Upgraded {
		t.Errorf("record %+v", rec)
	}
}

func TestPanicIsRecordedAndAnswered(t *testing.T) {
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: roundTrip(func(*http.Request) (*http.Response, error) { panic("CANARY") })}}})
	if a := h.ask(t, "GET", "/models/m", ""); a.status != 500 || strings.Contains(a.body, "CANARY") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if rec := h.record(t); rec.Status != 500 || rec.Problem != "internal" || !strings.Contains(rec.Err.Error(), "CANARY") {
		t.Errorf("record %+v", rec)
	}
}

func TestCallerWhoDoesNotReadIsCutOff(t *testing.T) {
	told := make(chan struct{})
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, IdleTimeout: 100 * time.Millisecond, Transport: model(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(told)
		for block := make([]byte, 1<<20); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})}}})
	c, err := net.Dial("tcp", h.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "GET /models/m HTTP/1.1\r\nHost: x\r\n\r\n")
	<-told // the model is not kept waiting either
	if rec := h.record(t); !rec.Aborted || rec.Err == nil || !strings.Contains(rec.Err.Error(), "no byte") {
		t.Errorf("record %+v", rec)
	}
}
