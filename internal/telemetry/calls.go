package telemetry

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What came of a call to the provider or the workspace.
const (
	callOK          = "ok"
	callRefused     = "refused"     // 4xx
	callThrottled   = "throttled"   // 429
	callFailed      = "failed"      // 5xx
	callUnreachable = "unreachable" // no answer
)

// Calls counts the calls to one party, by what they are for. The zero value
// counts nothing.
type Calls struct {
	total     *prometheus.CounterVec
	durations *prometheus.HistogramVec
	kinds     map[string]bool
}

func (m *Metrics) newCalls(party, whom, by string) *Calls {
	return &Calls{
		total: m.counter("amlproxy_"+party+"_calls_total",
			"Calls to "+whom+", by what they are for and outcome: ok, refused (4xx), throttled (429), failed (5xx), unreachable (no answer).",
			by, "outcome"),
		durations: m.histogram("amlproxy_"+party+"_call_duration_seconds",
			"Time until "+whom+" began to answer, or did not.",
			[]float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15}, by),
		kinds: make(map[string]bool),
	}
}

// Expect makes the series of kinds appear; a call of any other kind is counted
// under the last of them.
func (c *Calls) Expect(kinds ...string) {
	for _, kind := range kinds {
		c.kinds[kind] = true
		c.durations.WithLabelValues(kind)
		for _, outcome := range []string{callOK, callRefused, callThrottled, callFailed, callUnreachable} {
			c.total.WithLabelValues(kind, outcome)
		}
	}
}

// Through returns a Transport that counts what goes through base, by what kind
// says that it is for. Not the answer's body: who reads it sees to that.
func (c *Calls) Through(base http.RoundTripper, kind func(*http.Request) string) http.RoundTripper {
	return counted{c, base, kind}
}

type counted struct {
	calls *Calls
	base  http.RoundTripper
	kind  func(*http.Request) string
}

// RoundTrip implements [http.RoundTripper].
func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	kind, start := c.kind(r), time.Now()
	resp, err := c.base.RoundTrip(r)
	if !c.calls.kinds[kind] {
		kind = other
	}
	c.calls.durations.WithLabelValues(kind).Observe(time.Since(start).Seconds())
	c.calls.total.WithLabelValues(kind, callOutcome(resp, err)).Inc()
	return resp, err
}

// CloseIdleConnections is what [http.Client.CloseIdleConnections] looks for.
func (c counted) CloseIdleConnections() {
	if base, ok := c.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

func callOutcome(resp *http.Response, err error) string {
	switch {
	case err != nil:
		return callUnreachable
	case resp.StatusCode == http.StatusTooManyRequests:
		return callThrottled
	case resp.StatusCode >= 500:
		return callFailed
	case resp.StatusCode >= 400:
		return callRefused
	}
	return callOK
}
