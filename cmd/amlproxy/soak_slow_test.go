package main_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"amlproxy/internal/soak"
)

// TestSoakSlowCallers: whoever sends his headers, or his body, a byte at a time is
// cut off, and others are served meanwhile (slowloris).
func TestSoakSlowCallers(t *testing.T) {
	model := func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }
	header, every := 10*time.Second, time.Second
	var environ []string
	if !soak.On() {
		header, every = time.Second, 50*time.Millisecond
		environ = []string{"AMLPROXY_READ_HEADER_TIMEOUT=1s"}
	}
	r := newRig(t, model, environ...)
	var headers, bodies []net.Conn
	for range many(1000, 20) {
		headers = append(headers, r.dial(t, "GET /models/m HTTP/1.1\r\nHost: x\r\nX-A: "))
	}
	for range many(200, 0) {
		bodies = append(bodies, r.dial(t, "POST /models/m HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"))
	}
	var first, last, lastBody time.Duration
	var wait sync.WaitGroup
	wait.Go(func() { first, last = closedAfter(t, headers, every, 40*time.Second) })
	wait.Go(func() { _, lastBody = closedAfter(t, bodies, every, 70*time.Second) })
	median, _ := r.serves(t, 200)
	wait.Wait()
	if last > 3*header || first < header/2 {
		t.Errorf("slow headers were cut off after %v to %v", first, last)
	}
	soak.Note(t, "F28", fmt.Sprintf("%d callers send headers at 1 byte/s", len(headers)), "closed in 10-30 s, others served", fmt.Sprintf("closed after %.1f-%.1f s, others %s", first.Seconds(), last.Seconds(), ms(median)))
	if len(bodies) > 0 {
		if lastBody > 60*time.Second {
			t.Errorf("slow bodies were cut off after %v", lastBody)
		}
		soak.Note(t, "F29", fmt.Sprintf("%d callers send a body at 1 byte/s", len(bodies)), "closed in 60 s", fmt.Sprintf("closed after %.1f s", lastBody.Seconds()))
	}
}

// TestSoakStalledReaders: answers that nobody reads wait in the model.
func TestSoakStalledReaders(t *testing.T) {
	block := make([]byte, 1<<20)
	r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			return
		}
		for range 256 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	for range 20 {
		r.dial(t, "GET /models/m?large HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	_, _ = r.serves(t, many(2000, 100)) // long enough for all that will pile up
	median, longest := r.serves(t, 200)
	grown := r.grew(t, "VmHWM")
	if grown > 64<<20 {
		t.Errorf("it grew by %s", mib(grown))
	}
	if soak.On() && median > 50*time.Millisecond {
		t.Errorf("others took %v", median)
	}
	soak.Note(t, "F30", "20 callers do not read their 256 MiB", "growth <= 64 MiB, others < 50 ms", fmt.Sprintf("%s, median %s, longest %s", mib(grown), ms(median), ms(longest)))
}

// TestSoakIdleConnections: all are kept, for little, and others are served.
func TestSoakIdleConnections(t *testing.T) {
	r := newRig(t, func(http.ResponseWriter, *http.Request) {})
	n := many(10_000, 300)
	all := make([]net.Conn, n)
	begun := time.Now()
	for i := range all {
		all[i] = r.dial(t, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	one := make([]byte, 1)
	for _, c := range all {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.ReadFull(c, one); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(begun)
	median, _ := r.serves(t, 200)
	grown := r.grew(t, "VmRSS")
	fds := r.fds(t)
	each := grown / int64(n)
	if fds < n {
		t.Errorf("%d connections are open", fds)
	}
	if soak.On() && each > 64<<10 {
		t.Errorf("%d bytes each", each)
	}
	alive := 0
	for _, c := range all {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
			continue
		}
		if said, _ := io.ReadAll(c); strings.Count(string(said), "HTTP/1.1 200 OK") == 1 {
			alive++
		}
	}
	if alive != n {
		t.Errorf("%d of %d still work", alive, n)
	}
	soak.Note(t, "F31", fmt.Sprintf("%d idle connections, opened in %.1f s", n, took.Seconds()), "<= 16 KiB each (limit 64), 0 refused", fmt.Sprintf("%.1f KiB each, %d of %d still work, others %s", float64(each)/1024, alive, n, ms(median)))
}

// TestSoakFileDescriptors: with 256 of them, and more callers than that, the proxy
// goes on listening and serves when they are gone.
func TestSoakFileDescriptors(t *testing.T) {
	r := newRigUnder(t, []string{"sh", "-c", `ulimit -n 256 && exec "$@"`, "sh"}, func(http.ResponseWriter, *http.Request) {})
	var all []net.Conn
	for range 600 {
		c, err := net.DialTimeout("tcp", r.address, time.Second)
		if err != nil {
			break // the kernel's queue is full, too
		}
		all = append(all, c)
	}
	await(t, "it has none left", func() bool { return r.fds(t) >= 250 })
	for _, c := range all {
		_ = c.Close()
	}
	r.client.CloseIdleConnections()
	begun := time.Now()
	await(t, "it serves again", func() bool { _, err := r.get(); return err == nil })
	took := time.Since(begun)
	if soak.On() && took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	soak.Note(t, "F35", fmt.Sprintf("256 file descriptors, %d callers", len(all)), "200 in 2 s after they are gone", fmt.Sprintf("%.2f s", took.Seconds()))
}
