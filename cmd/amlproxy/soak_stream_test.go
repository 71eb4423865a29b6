package main_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"amlproxy/internal/soak"
)

// TestSoakEventStreams: events reach the callers as they are made, and the model is
// told when the callers leave.
func TestSoakEventStreams(t *testing.T) {
	n := many(200, 20)
	first, stopped := make(chan time.Time, n), make(chan time.Time, n)
	r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		send := func() bool {
			_, err := fmt.Fprintf(w, "data: %d\n\n", time.Now().UnixNano())
			return err == nil && http.NewResponseController(w).Flush() == nil
		}
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for send() {
			select {
			case <-tick.C:
			case <-r.Context().Done():
				stopped <- time.Now()
				return
			}
		}
		stopped <- time.Now()
	})
	ctx, leave := context.WithCancel(t.Context())
	late := make([]time.Duration, n*10)
	var all sync.WaitGroup
	tick := time.NewTicker(5 * time.Millisecond) // what is measured is not how fast 400 connections can be opened
	defer tick.Stop()
	for i := range n {
		<-tick.C
		all.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"?stream", http.NoBody)
			resp, err := r.client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			lines := bufio.NewScanner(resp.Body)
			for event := 0; event < 10 && lines.Scan(); {
				var sent int64
				if got, _ := fmt.Sscanf(lines.Text(), "data: %d", &sent); got == 1 {
					late[i*10+event] = time.Since(time.Unix(0, sent))
					event++
				}
			}
			first <- time.Now()
			<-ctx.Done()
		})
	}
	for range n {
		<-first
	}
	leave()
	left := time.Now()
	all.Wait()
	var told time.Duration
	for range n {
		select {
		case at := <-stopped:
			told = max(told, at.Sub(left))
		case <-time.After(20 * time.Second):
			t.Fatal("a model was not told")
		}
	}
	firsts := make([]time.Duration, n)
	for i := range firsts {
		firsts[i] = late[i*10]
	}
	slices.Sort(late)
	slices.Sort(firsts)
	if soak.On() && (firsts[n*99/100] > 50*time.Millisecond || told > time.Second) {
		t.Errorf("the first event was %v late, models were told after %v", firsts[n*99/100], told)
	}
	soak.Note(t, "F26", fmt.Sprintf("%d event streams at 10 events/s each", n), "first event <= 50 ms late (99 %), model told of leavers <= 1 s",
		fmt.Sprintf("first %s, any %s, told %s", ms(firsts[n*99/100]), ms(late[len(late)*99/100]), ms(told)))
}

// TestSoakUploads of a gibibyte, with its length and without.
func TestSoakUploads(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n, " ", err)
	})
	size := uploadSize()
	for _, length := range []int64{size, -1} {
		begun := time.Now()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url, io.LimitReader(zeros{}, size))
		req.ContentLength = length
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		took := time.Since(begun)
		if want := fmt.Sprint(size, " <nil>"); string(body) != want {
			t.Errorf("%d %s, want %s", resp.StatusCode, body, want)
		}
		rate := float64(size) / (1 << 20) / took.Seconds()
		grown := r.grew(t, "VmHWM")
		if grown > mostGrowth {
			t.Errorf("it grew by %s", mib(grown))
		}
		if soak.On() && rate < 100 {
			t.Errorf("%.0f MiB/s", rate)
		}
		how := map[bool]string{true: "with its length", false: "chunked"}[length > 0]
		soak.Note(t, "F33", mib(size)+" uploaded, "+how, "growth <= 16 MiB, >= 100 MiB/s", fmt.Sprintf("%s, %.0f MiB/s", mib(grown), rate))
	}
}

// TestSoakModelInTrouble: one that is silent, resets, is away and comes back.
func TestSoakModelInTrouble(t *testing.T) {
	var reached atomic.Int64
	r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		_, _ = io.Copy(io.Discard, r.Body) // or net/http would not see that the proxy leaves
		switch r.URL.RawQuery {
		case "silent":
			<-r.Context().Done()
		case "reset":
			if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
			}
		}
	}, "AMLPROXY_ROUTES_0_TIMEOUT=1s")
	call := func(method, query, key string) (int, time.Duration) {
		begun := time.Now()
		req, _ := http.NewRequestWithContext(t.Context(), method, r.url+query, strings.NewReader(strings.Repeat("a", many(1000, 10))))
		if key != "" {
			req.Header.Set("Idempotency-Key", key)
		}
		resp, err := r.client.Do(req)
		if err != nil {
			return 0, time.Since(begun)
		}
		_ = resp.Body.Close()
		return resp.StatusCode, time.Since(begun)
	}

	status, took := call(http.MethodPost, "?silent", "")
	if status != http.StatusGatewayTimeout || took < time.Second || soak.On() && took > 2*time.Second {
		t.Errorf("a silent model: %d after %v", status, took)
	}
	soak.Note(t, "F25", "the model is silent; timeout 1 s", "504 after the timeout +-1 s", fmt.Sprintf("%d after %.2f s", status, took.Seconds()))

	reached.Store(0)
	asked := 0
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, key := range []string{"", "same"} {
			for range many(250, 5) {
				asked++
				if status, _ := call(method, "?reset", key); status != http.StatusBadGateway {
					t.Errorf("%s, reset: %d", method, status)
				}
			}
		}
	}
	if reached.Load() != int64(asked) {
		t.Errorf("%d requests reached the model for %d", reached.Load(), asked)
	}
	soak.Note(t, "F23", fmt.Sprintf("the model resets %d GET and POST before an answer", asked), "502, none sent twice", fmt.Sprintf("%d reached it", reached.Load()))

	address := r.model.Listener.Addr().String()
	r.model.CloseClientConnections()
	r.model.Close()
	var down time.Duration
	for range many(100, 5) {
		status, took := call(http.MethodPost, "", "")
		if status != http.StatusBadGateway {
			t.Errorf("the model is away: %d", status)
		}
		down = max(down, took)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	r.model = httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	_ = r.model.Listener.Close()
	r.model.Listener = l
	r.model.Start()
	begun := time.Now()
	await(t, "the model is reached again", func() bool { status, _ := call(http.MethodPost, "", ""); return status == http.StatusOK })
	back := time.Since(begun)
	if soak.On() && (down > time.Second || back > time.Second) {
		t.Errorf("502 after %v, back after %v", down, back)
	}
	soak.Note(t, "F27", "the model is away, and back", "502 and back in 1 s each", fmt.Sprintf("502 after %s at most, back after %s", ms(down), ms(back)))
}

// TestSoakBrokenAnswers: the model resets in the middle, and every caller notices.
func TestSoakBrokenAnswers(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RawQuery {
		case "":
			return
		case "length":
			w.Header().Set("Content-Length", "100000")
		case "events":
			w.Header().Set("Content-Type", "text/event-stream")
		}
		_, _ = io.WriteString(w, "data: half\n\n")
		_ = http.NewResponseController(w).Flush()
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
	})
	asked, noticed := 0, 0
	for _, how := range []string{"length", "chunked", "events"} {
		for range many(300, 10) {
			asked++
			resp, err := r.client.Get(r.url + "?" + how)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK { // the reset came before the answer did
					err = io.ErrUnexpectedEOF
				}
			}
			if err != nil {
				noticed++
			}
		}
	}
	if noticed != asked {
		t.Errorf("%d of %d looked whole", asked-noticed, asked)
	}
	soak.Note(t, "F24", fmt.Sprintf("the model resets in the middle of %d answers", asked), "100 % noticed by the caller", fmt.Sprintf("%d noticed", noticed))
}
