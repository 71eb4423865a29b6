package proxy_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"amlproxy/proxy"
)

// TestWhatCannotBeRecordedIsNotSent: no byte of the request reaches the model, and
// only requests that would have reached it are asked about.
func TestWhatCannotBeRecordedIsNotSent(t *testing.T) {
	var reached atomic.Int64
	var full atomic.Bool
	cause := errors.New("no space left on device")
	asked := make(chan proxy.Record, 10)
	h := open(t, proxy.Config{
		Routes: []proxy.Route{{
			Name: "m", Transport: model(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) }),
			Access: &proxy.Access{Any: proxy.Rules{Groups: []string{"ml-users"}}}, RateLimit: &proxy.RateLimit{Requests: 3, Per: time.Hour},
		}},
		Admit: func(_ context.Context, r *proxy.Record) error {
			asked <- *r
			if full.Load() {
				return cause
			}
			return nil
		},
	})
	ask := func(who string, status int) answer {
		t.Helper()
		a := h.ask(t, "POST", "/models/m", "{}", "Authorization: Bearer "+who)
		if a.status != status {
			t.Errorf("%s: %d, want %d", who, a.status, status)
		}
		return a
	}
	ask("alice", 200)
	before, after := <-asked, h.record(t)
	if before.Route != "m" || before.Identity.Subject != "a1" || before.RequestID != after.RequestID || before.Start.IsZero() {
		t.Errorf("asked about %+v", before)
	}
	if before.Admitted || !after.Admitted {
		t.Errorf("admitted before: %t, and after: %t", before.Admitted, after.Admitted)
	}
	full.Store(true)
	a := ask("alice", 503)
	if a.problem(t)["type"] != "audit-unavailable" || a.Header.Get("Retry-After") == "" {
		t.Errorf("%v %s", a.Header, a.body)
	}
	<-asked
	if r := h.record(t); r.Admitted || !errors.Is(r.Err, cause) || r.Problem != "audit-unavailable" {
		t.Errorf("recorded as %+v", r)
	}
	full.Store(false)
	ask("alice", 200)
	<-asked
	ask("alice", 429)
	ask("eve", 403)
	ask("mallory", 401)
	if len(asked) != 0 {
		t.Errorf("asked about a request that was refused anyway: %+v", <-asked)
	}
	if n := reached.Load(); n != 2 {
		t.Errorf("the model was called %d times, want 2", n)
	}
}
