package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"amlproxy/internal/soak"
)

// A rig is the built binary with one public route, m, to a model in this process:
// what is measured is another process than what measures.
type rig struct {
	p             *process
	address, url  string // host:port; of the route
	admin         string
	model         *httptest.Server
	client        *http.Client
	before        int64    // bytes that were resident when it stood
	environ, argv []string // to start it again
}

func newRig(t *testing.T, model http.HandlerFunc, environ ...string) *rig {
	t.Helper()
	return newRigUnder(t, nil, model, environ...)
}

// newRigUnder starts the binary by way of a command that ends with its name.
func newRigUnder(t *testing.T, command []string, model http.HandlerFunc, environ ...string) *rig {
	t.Helper()
	r := &rig{address: "127.0.0.1:" + freePort(t), admin: "127.0.0.1:" + freePort(t), model: httptest.NewServer(model)}
	t.Cleanup(func() { r.model.CloseClientConnections(); r.model.Close() })
	r.url = "http://" + r.address + "/models/m"
	r.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}, Timeout: time.Minute}
	t.Cleanup(r.client.CloseIdleConnections)
	r.environ = append([]string{
		"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_URL=" + r.model.URL + "/score", "AMLPROXY_ROUTES_0_AUTH=none", "AMLPROXY_ROUTES_0_PUBLIC=true",
		"AMLPROXY_ROUTES_0_MAX_BODY=2GiB", "AMLPROXY_LISTEN=" + r.address, "AMLPROXY_ADMIN_LISTEN=" + r.admin, "AMLPROXY_LOG_LEVEL=error", "AMLPROXY_DRAIN_DELAY=0s",
	}, environ...)
	r.argv = append(command, binary, "serve")
	r.start(t)
	return r
}

func (r *rig) start(t *testing.T) {
	t.Helper()
	r.p = launch(t, r.environ, r.argv[0], r.argv[1:]...)
	ready(t, r.client, "http://"+r.admin+"/readyz")
	for range 50 { // warm: its caches and buffers are no growth
		_, _ = r.get()
	}
	r.before = resident(t, r.p, "VmRSS")
}

// get calls the model, and returns how long that took.
func (r *rig) get() (time.Duration, error) {
	begun := time.Now()
	resp, err := r.client.Get(r.url)
	if err != nil {
		return time.Since(begun), err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return time.Since(begun), err
}

// serves calls the model n times, and returns how long the median took and the
// longest; none may fail.
func (r *rig) serves(t *testing.T, n int) (median, longest time.Duration) {
	t.Helper()
	all := make([]time.Duration, n)
	for i := range all {
		var err error
		if all[i], err = r.get(); err != nil {
			t.Errorf("a normal request: %v", err)
		}
	}
	slices.Sort(all)
	return all[n/2], all[n-1]
}

// dial opens a connection and says something.
func (r *rig) dial(t *testing.T, say string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, say); err != nil {
		t.Fatal(err)
	}
	return c
}

// grew is by how many bytes more are resident than at the beginning.
func (r *rig) grew(t *testing.T, field string) int64 {
	t.Helper()
	return resident(t, r.p, field) - r.before
}

func (r *rig) fds(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func (r *rig) goroutines(t *testing.T) int {
	t.Helper()
	resp, err := r.client.Get("http://" + r.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no go_goroutines")
	return 0
}

// closedAfter waits until the peer closes each connection, drip bytes into it
// meanwhile, and returns how long the first and the last took. It gives up after most.
func closedAfter(t *testing.T, all []net.Conn, every, most time.Duration) (first, last time.Duration) {
	t.Helper()
	begun := time.Now()
	var mu sync.Mutex
	var wait sync.WaitGroup
	first = most
	for _, c := range all {
		stop := make(chan struct{})
		wait.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					if _, err := io.WriteString(c, "a"); err != nil {
						return
					}
				}
			}
		})
		wait.Go(func() {
			defer close(stop)
			_ = c.SetReadDeadline(begun.Add(most))
			_, _ = io.Copy(io.Discard, c)
			mu.Lock()
			defer mu.Unlock()
			first, last = min(first, time.Since(begun)), max(last, time.Since(begun))
		})
	}
	wait.Wait()
	if last >= most {
		t.Errorf("still open after %v", most)
	}
	return first, last
}

// many is a number that only make soak can afford, or a small one.
func many[T int | time.Duration](soaking, otherwise T) T {
	if soak.On() {
		return soaking
	}
	return otherwise
}

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func ms(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
