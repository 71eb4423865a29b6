package app_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"amlproxy/internal/soak"
)

// F38, F39: settings are taken over again and again, and every other time there is
// a mistake in them. No request fails, no answer is of a route that is half taken
// over, and no connection is dropped.
func reloadsUnderLoad(t *testing.T, reloads, callers int, pace time.Duration) {
	t.Helper()
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	}))
	defer model.Close()
	routes := func(n int) string {
		text := fmt.Sprintf("routes:\n  - {name: m, url: %q, auth: key, key: key-%d, public: true, timeout: %ds}\n", model.URL+"/score", n, 10+n)
		if n%2 == 1 {
			text += "  - {name: broken, public: true}\n"
		}
		return text
	}
	r := newReloading(t, routes(0))
	var all sync.WaitGroup
	var answered, dialled, failed atomic.Int64
	over := make(chan struct{})
	started := time.Now()
	for range callers {
		client := &http.Client{Transport: &http.Transport{DialContext: countedDials(&dialled)}}
		all.Go(func() {
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for {
				select {
				case <-over:
					return
				case <-tick.C:
				}
				resp, err := client.Post(r.url+"/models/m", "application/json", strings.NewReader("{}"))
				if err != nil {
					failed.Add(1)
					t.Errorf("after %d answers: %v", answered.Load(), err)
					continue
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "Bearer key-") {
					failed.Add(1)
					t.Errorf("%s %q %v", resp.Status, body, err)
				}
				answered.Add(1)
			}
		})
	}
	for n := 1; n <= reloads; n++ {
		before := answered.Load()
		r.write(routes(n))
		r.hangup <- syscall.SIGHUP
		until(t, "there are answers between two reloads", func() bool { return answered.Load() >= before+int64(callers) || t.Failed() })
		outcome := map[int]string{0: "ok", 1: "mistake"}[n%2]
		until(t, "the reload is over", func() bool {
			return r.metric(`amlproxy_reloads_total{outcome="`+outcome+`"}`) == fmt.Sprint((n+1)/2)
		})
	}
	close(over)
	all.Wait()
	if dialled.Load() != int64(callers) {
		t.Errorf("%d callers made %d connections", callers, dialled.Load())
	}
	soak.Note(t, "F38, F39", fmt.Sprintf("%d reloads, every other one a mistake", reloads), "0 failed at 500/s, no connection dropped",
		fmt.Sprintf("%d requests at %.0f/s on %d connections, %d failed", answered.Load(), float64(answered.Load())/time.Since(started).Seconds(), dialled.Load(), failed.Load()))
}

// TestSoakReload is F38 and F39: 8 reloads, and 200 at 500 requests/s in make soak.
func TestSoakReload(t *testing.T) {
	if soak.On() {
		reloadsUnderLoad(t, 200, 50, 100*time.Millisecond)
		return
	}
	reloadsUnderLoad(t, 8, 8, 5*time.Millisecond)
}

// countedDials is how a client connects whose connections are counted.
func countedDials(n *atomic.Int64) func(context.Context, string, string) (net.Conn, error) {
	var d net.Dialer
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		n.Add(1)
		return d.DialContext(ctx, network, address)
	}
}
