package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"amlproxy/internal/secret"
	"amlproxy/proxy"
	"amlproxy/upstream"
)

// A leg is a version of HTTP on both sides of the proxy.
type leg struct {
	name   string
	http2  bool
	client *http.Client
	url    string
	house  *house
}

// legs runs a proxy in front of a model over HTTP/1.1, and one over HTTP/2, both
// to callers and to the model.
func legs(t *testing.T, serve http.HandlerFunc) []leg {
	t.Helper()
	var all []leg
	for _, two := range []bool{false, true} {
		m := httptest.NewUnstartedServer(serve)
		m.EnableHTTP2 = two
		m.StartTLS()
		t.Cleanup(m.Close)
		t.Cleanup(m.CloseClientConnections)
		u, err := url.Parse(m.URL + "/score")
		if err != nil {
			t.Fatal(err)
		}
		backend := upstream.Cached(upstream.Static(upstream.Lease{Scoring: u, Kind: upstream.Key, Primary: secret.New(credential)}), nil)
		t.Cleanup(func() { _ = backend.Close() })
		base := m.Client().Transport.(*http.Transport).Clone()
		base.ForceAttemptHTTP2 = two
		base.ExpectContinueTimeout = time.Second
		t.Cleanup(base.CloseIdleConnections)
		h := &house{news: make(chan struct{}, 1)}
		p, err := proxy.New(proxy.Config{
			Record: func(r *proxy.Record) {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.records = append(h.records, *r)
				select {
				case h.news <- struct{}{}:
				default:
				}
			},
			Routes: []proxy.Route{{Name: "m", Public: true, Methods: []string{"GET", "POST"}, Transport: &upstream.Transport{Backends: []upstream.Backend{backend}, Base: base, ReplayLimit: 1 << 20}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		h.Server = httptest.NewUnstartedServer(p)
		h.EnableHTTP2 = two
		h.StartTLS()
		t.Cleanup(h.Close)
		t.Cleanup(h.CloseClientConnections)
		h.Client().Transport.(*http.Transport).ExpectContinueTimeout = 20 * time.Second
		all = append(all, leg{map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[two], two, h.Client(), h.URL + "/models/m", h})
	}
	return all
}

func (l leg) get(t *testing.T, ctx context.Context, query string) *http.Response { //nolint:revive // t comes first
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+query, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := l.client.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", l.name, err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if l.http2 != (res.ProtoMajor == 2) {
		t.Fatalf("%s: %s", l.name, res.Proto)
	}
	return res
}

// TestAnswersOfUnknownLengthAreFlushedAtOnce, events or not: the model sends the
// next piece only when the one before it was read.
func TestAnswersOfUnknownLengthAreFlushedAtOnce(t *testing.T) {
	next := make(chan string)
	for _, l := range legs(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		for piece := range next {
			if piece == "" {
				return
			}
			_, _ = io.WriteString(w, piece+"\n")
			_ = http.NewResponseController(w).Flush()
		}
	}) {
		for _, kind := range []string{"text/event-stream", "application/json", "application/x-ndjson", "text/event-stream; charset=utf-8"} {
			go func() { next <- "one" }()
			res := l.get(t, t.Context(), "?type="+url.QueryEscape(kind))
			lines := bufio.NewScanner(res.Body)
			for _, want := range []string{"one", "two", "three"} {
				if want != "one" {
					next <- want
				}
				if !lines.Scan() || lines.Text() != want { // would hang if it were buffered
					t.Fatalf("%s, %s: %q, want %q", l.name, kind, lines.Text(), want)
				}
			}
			next <- ""
			if lines.Scan() || lines.Err() != nil {
				t.Errorf("%s, %s: %q %v", l.name, kind, lines.Text(), lines.Err())
			}
		}
	}
}

// TestTrailersPass, those that were announced and those that were not.
func TestTrailersPass(t *testing.T) {
	for _, l := range legs(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"Unannounced", "1")
		w.Header().Set(http.TrailerPrefix+"Set-Cookie", "amlproxy=evil")
	}) {
		res := l.get(t, t.Context(), "")
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != "body" || res.Trailer.Get("Grpc-Status") != "0" || res.Trailer.Get("Unannounced") != "1" || res.Trailer.Get("Set-Cookie") != "" {
			t.Errorf("%s: %q %v %v", l.name, body, res.Trailer, err)
		}
	}
}

// TestInterimAnswersPass: 103 as it is, and 100 when the model wants the body.
func TestInterimAnswersPass(t *testing.T) {
	for _, l := range legs(t, func(w http.ResponseWriter, r *http.Request) {
		var n int64
		if r.URL.RawQuery == "" {
			n, _ = io.Copy(io.Discard, r.Body) // net/http sends no 100 over HTTP/2 behind a 103
		}
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		if r.URL.RawQuery == "refuse" {
			w.WriteHeader(http.StatusConflict)
		}
		_, _ = fmt.Fprint(w, n)
	}) {
		for query, want := range map[string]int{"": http.StatusOK, "?refuse": http.StatusConflict} {
			var hints, continues atomic.Int32
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				Got100Continue: func() { continues.Add(1) },
				Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
					if code == http.StatusEarlyHints && h.Get("Link") != "" {
						hints.Add(1)
					}
					return nil
				},
			})
			const size = 2 << 20 // more than is held before it is sent on
			r, _ := http.NewRequestWithContext(ctx, http.MethodPost, l.url+query, strings.NewReader(strings.Repeat("a", size)))
			r.Header.Set("Expect", "100-continue")
			res, err := l.client.Do(r)
			if err != nil {
				t.Fatalf("%s%s: %v", l.name, query, err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode != want || want == http.StatusOK && string(body) != fmt.Sprint(size) || hints.Load() != 1 || want == http.StatusOK != (continues.Load() == 1) {
				t.Errorf("%s%s: %d %q, %d hints, %d continues", l.name, query, res.StatusCode, body, hints.Load(), continues.Load())
			}
		}
	}
}

// TestCallerWhoLeavesAStreamCancelsTheUpstream, whatever the version.
func TestCallerWhoLeavesAStreamCancelsTheUpstream(t *testing.T) {
	told := make(chan struct{})
	for _, l := range legs(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		told <- struct{}{}
	}) {
		for range 5 {
			ctx, leave := context.WithCancel(t.Context())
			res := l.get(t, ctx, "")
			if _, err := io.ReadFull(res.Body, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			leave()
			<-told
			if rec := l.house.record(t); rec.Status != http.StatusOK || rec.Aborted && !strings.Contains(rec.Err.Error(), "left") {
				t.Errorf("%s: record %+v", l.name, rec)
			}
		}
	}
}

// TestResetInTheMiddleIsAlwaysNoticed: no caller takes a part for the whole.
func TestResetInTheMiddleIsAlwaysNoticed(t *testing.T) {
	for _, l := range legs(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RawQuery {
		case "length":
			w.Header().Set("Content-Length", "1000")
		case "events":
			w.Header().Set("Content-Type", "text/event-stream")
		}
		_, _ = io.WriteString(w, "data: half\n\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}) {
		for _, how := range []string{"length", "chunked", "events"} {
			for range 20 {
				r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, l.url+"?"+how, http.NoBody)
				res, err := l.client.Do(r)
				if err != nil {
					continue
				}
				_, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err == nil && res.StatusCode == http.StatusOK {
					t.Errorf("%s, %s: it looks whole", l.name, how)
				}
			}
		}
	}
}

// TestFailedUpgradeLeavesAConnectionOfRequests: whatever the model answers to an
// Upgrade but 101, what follows on the connection is read as the next request, or
// not at all. A tunnel would take it past every rule.
func TestFailedUpgradeLeavesAConnectionOfRequests(t *testing.T) {
	const smuggled = "GET /models/closed HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nRAW", "HTTP/1.1 101 Switching Protocols\r\n\r\nRAW",
	} {
		var after atomic.Int64 // bytes that reached the model behind the request
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer func() { _ = c.Close() }()
					b := bufio.NewReader(c)
					if _, err := http.ReadRequest(b); err != nil {
						return
					}
					_, _ = io.WriteString(c, answer)
					n, _ := io.Copy(io.Discard, b)
					after.Add(n)
				}()
			}
		}()
		h := open(t, proxy.Config{Routes: []proxy.Route{
			{Name: "m", Public: true, Transport: to(t, "http://"+l.Addr().String()+"/score")},
			{Name: "closed", Transport: to(t, "http://"+l.Addr().String()+"/score")},
		}})
		c, b := h.dial(t)
		_, _ = io.WriteString(c, "GET /models/m HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"+smuggled)
		first, err := http.ReadResponse(b, nil)
		if err != nil || first.StatusCode == http.StatusSwitchingProtocols {
			t.Fatalf("%.30q: %v %v", answer, first, err)
		}
		_, _ = io.Copy(io.Discard, first.Body)
		second, err := http.ReadResponse(b, nil)
		switch {
		case err != nil && !first.Close:
			t.Errorf("%.30q: the connection was said to stay, and %v", answer, err)
		case err == nil && second.StatusCode != http.StatusUnauthorized:
			t.Errorf("%.30q: the next request got %d", answer, second.StatusCode)
		}
		if n := after.Load(); n > 0 {
			t.Errorf("%.30q: %d bytes went through a tunnel", answer, n)
		}
		if rec := h.record(t); rec.Upgraded {
			t.Errorf("%.30q: record %+v", answer, rec)
		}
	}
}
