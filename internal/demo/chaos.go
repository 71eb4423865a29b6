package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"amlproxy/proxy"
	"amlproxy/upstream/azuremltest"
)

// A tally counts what callers noticed, from the proxy's own Records.
type tally struct{ rotations, requests, retries, failures atomic.Int64 }

func (t *tally) observe(r *proxy.Record) {
	if r.Route == "" {
		return
	}
	t.requests.Add(1)
	if r.Retried {
		t.retries.Add(1)
	}
	if r.Status >= http.StatusInternalServerError {
		t.failures.Add(1)
	}
}

func (t *tally) String() string {
	return fmt.Sprintf("rotations %d, requests %d, retries %d, failures %d", t.rotations.Load(), t.requests.Load(), t.retries.Load(), t.failures.Load())
}

// chaos takes the credential of one endpoint after the other away, as somebody
// in the portal might, and prints what became of it.
func (w *World) chaos(ctx context.Context, every time.Duration, t *tally, out io.Writer) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for rotations := 1; ; rotations++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		m := w.Models[rotations%len(w.Models)]
		what := Rotate(m.Scoring, rotations)
		t.rotations.Add(1)
		if _, err := fmt.Fprintf(out, "chaos: %-36s %s\n", m.Name()+": "+what, t); err != nil {
			return err
		}
	}
}

// Rotate makes the credential that s wants worthless, and says how. Of a pair of
// keys it regenerates the primary when n is odd, and both when it is even.
func Rotate(s *azuremltest.Scoring, n int) string {
	if s.Auth() != azuremltest.Key {
		s.RevokeTokens()
		return "tokens revoked"
	}
	if n%2 == 0 {
		s.RegenerateKey(azuremltest.Both)
		return "both keys regenerated"
	}
	s.RegenerateKey(azuremltest.Primary)
	return "primary key regenerated"
}
