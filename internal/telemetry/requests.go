package telemetry

import (
	"errors"

	"amlproxy/proxy"
	"amlproxy/upstream"
)

// noRoute stands for requests that found no route, and for the proxy's own
// endpoints. No route is called so.
const noRoute = ""

// clientGone is the status of a Record whose caller left before the answer.
const clientGone = 499

// The ways in which a request that was sent twice can end.
const (
	retryOK       = "ok"       // the second credential was accepted
	retryRejected = "rejected" // it was answered 401 as well
	retryCanceled = "canceled" // the caller left
	retryFailed   = "failed"   // anything else that is no answer, or a 5xx
)

func (m *Metrics) newRequests() {
	m.requests = m.counter("amlproxy_requests_total",
		"Requests that ended, by the class of the status that the caller was sent (1xx, 2xx, 3xx, 4xx, 5xx, other); a caller that left before is counted under 4xx.",
		"route", "code")
	m.durations = m.histogram("amlproxy_request_duration_seconds",
		"Time from the arrival of a request to the last byte of its answer, or until its caller left.",
		[]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 180}, "route")
	m.retries = m.counter("amlproxy_retries_total",
		"Requests sent a second time because the endpoint answered 401, by outcome: ok, rejected (401 again), canceled (the caller left), failed (anything else that ended with a 5xx).",
		"route", "outcome")
	m.refusals = m.counter("amlproxy_refusals_total",
		"Requests that the proxy refused by itself, by the problem type of its answer.",
		"route", "problem")
}

// serve makes route known and its series appear.
func (m *Metrics) serve(route string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.routes[route] = true
	for status := 0; status < 600; status += 100 {
		m.requests.WithLabelValues(route, classOf(status))
	}
	m.durations.WithLabelValues(route)
	for _, outcome := range []string{retryOK, retryRejected, retryCanceled, retryFailed} {
		m.retries.WithLabelValues(route, outcome)
	}
}

// Record takes a Record into account. Of what it holds, only names that are the
// settings' or the proxy's own become labels: a route that was never watched is
// counted as none.
func (m *Metrics) Record(r proxy.Record) {
	route := m.known(r.Route)
	m.requests.WithLabelValues(route, classOf(r.Status)).Inc()
	m.durations.WithLabelValues(route).Observe(r.Duration.Seconds())
	if r.Retried {
		m.retries.WithLabelValues(route, retryOutcome(r)).Inc()
	}
	if r.Problem != "" {
		m.refusals.WithLabelValues(route, r.Problem).Inc()
	}
}

func (m *Metrics) known(route string) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.routes[route] {
		return route
	}
	return noRoute
}

// classOf returns "2xx" for 204. An upstream may answer with any three digits.
func classOf(status int) string {
	switch status / 100 {
	case 1:
		return "1xx"
	case 2:
		return "2xx"
	case 3:
		return "3xx"
	case 4:
		return "4xx"
	case 5:
		return "5xx"
	}
	return "other"
}

func retryOutcome(r proxy.Record) string {
	switch {
	case errors.Is(r.Err, upstream.ErrRejected):
		return retryRejected
	case r.Status == clientGone:
		return retryCanceled
	case r.Status >= 500:
		return retryFailed
	}
	return retryOK
}
