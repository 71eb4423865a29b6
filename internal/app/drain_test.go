package app_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"amlproxy/internal/app"
	"amlproxy/internal/config"
)

// replaced runs an App that is stopped as an orchestrator stops a replica.
func replaced(t *testing.T, environ []string) (url string, stop context.CancelCauseFunc, done chan error) {
	t.Helper()
	settings, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	a, err := app.New(settings, app.Options{Log: io.Discard, Listener: l, AdminListener: listen(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	done = make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() { stop(nil) })
	return "http://" + l.Addr().String(), stop, done
}

// F36: whoever could connect gets an answer, to the last; and whoever asks is told
// early on that this replica is going.
func TestAReplacedReplicaLosesNoRequest(t *testing.T) {
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "scored")
	}))
	defer model.Close()
	url, stop, done := replaced(t, public(model.URL+"/score", "AMLPROXY_DRAIN_DELAY=300ms"))
	kept := &http.Client{Transport: &http.Transport{}}
	until(t, "it is ready", func() bool { status, _ := get(t, kept, url+"/readyz"); return status == http.StatusOK })

	var all sync.WaitGroup
	var answered, told, refused atomic.Int64
	for i := range 16 {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: i%2 == 0}}
		all.Go(func() {
			for {
				resp, err := client.Post(url+"/models/m", "application/json", strings.NewReader("{}"))
				if err != nil {
					if !errors.Is(err, syscall.ECONNREFUSED) {
						t.Errorf("after %d answers: %v", answered.Load(), err)
					}
					refused.Add(1)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || string(body) != "scored" {
					t.Errorf("%s %q %v", resp.Status, body, err)
				}
				if resp.Close && i%2 == 1 {
					told.Add(1)
				}
				answered.Add(1)
			}
		})
	}
	until(t, "there is load", func() bool { return answered.Load() > 200 })
	stop(app.ErrReplaced)
	until(t, "readiness goes, where callers are served still", func() bool {
		status, _ := get(t, kept, url+"/readyz")
		return status == http.StatusServiceUnavailable
	})
	all.Wait()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if told.Load() == 0 || refused.Load() != 16 {
		t.Errorf("%d answers said that they were the last on their connection, %d clients were refused in the end", told.Load(), refused.Load())
	}
	t.Logf("%d answers", answered.Load())
}

// An interrupt, or a delay of 0s, does not wait.
func TestAStopThatNobodyTakesOverDoesNotLinger(t *testing.T) {
	model := httptest.NewServer(http.NotFoundHandler())
	defer model.Close()
	for name, test := range map[string]struct {
		delay string
		cause error
	}{"interrupt": {"10m", nil}, "no delay": {"0s", app.ErrReplaced}} {
		t.Run(name, func(t *testing.T) {
			url, stop, done := replaced(t, public(model.URL+"/score", "AMLPROXY_DRAIN_DELAY="+test.delay))
			until(t, "it is ready", func() bool { status, _ := get(t, http.DefaultClient, url+"/readyz"); return status == http.StatusOK })
			stop(test.cause)
			if err := <-done; err != nil {
				t.Error(err)
			}
			if conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")); err == nil {
				_ = conn.Close()
				t.Error("somebody still listens")
			}
		})
	}
}
