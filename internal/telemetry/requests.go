package telemetry

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"amlproxy/proxy"
	"amlproxy/upstream"
)

// noRoute stands for requests that found no route, and for the proxy's own
// endpoints. No route is called so.
const noRoute = ""

// clientGone is the status of a Record whose caller left before the answer.
const clientGone = 499

// other is what is counted of a value that nobody announced.
const other = "other"

// The ways in which a request that was sent twice can end.
const (
	retryOK       = "ok"       // the second credential was accepted
	retryRejected = "rejected" // it was answered 401 as well
	retryCanceled = "canceled" // the caller left
	retryFailed   = "failed"   // anything else that is no answer, or a 5xx
)

// Which limit let a request through, or did not.
const (
	limitRate        = "rate"
	limitConcurrency = "concurrency"
	limitTaken       = "taken"
	limitRefused     = "refused"
)

// The problems of a request that a limit refused.
const (
	problemRate        = "rate-limited"
	problemConcurrency = "too-many-at-once"
)

// requests are the metrics of Records.
type requests struct {
	total, retries, refusals, limits, received, sent *prometheus.CounterVec
	durations, began                                 *prometheus.HistogramVec
}

// A model answers within milliseconds, or thinks for minutes.
func buckets() []float64 {
	return []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}
}

func (m *Metrics) newRequests() {
	m.requests = requests{
		total: m.counter("amlproxy_requests_total",
			"Requests that ended, by the class of the status that the caller was sent (1xx, 2xx, 3xx, 4xx, 5xx, other); a caller that left before is counted under 4xx.",
			"route", "code"),
		durations: m.histogram("amlproxy_request_duration_seconds",
			"Time from the arrival of a request to the last byte of its answer, or until its caller left.",
			buckets(), "route"),
		began: m.histogram("amlproxy_request_first_byte_seconds",
			"Time from the arrival of a request until the model began to answer; requests that it did not answer are left out.",
			buckets(), "route"),
		received: m.counter("amlproxy_request_bytes_total", "Bytes of the bodies of requests, as far as they were read.", "route"),
		sent:     m.counter("amlproxy_response_bytes_total", "Bytes of the bodies of answers.", "route"),
		retries: m.counter("amlproxy_retries_total",
			"Requests sent a second time because the endpoint answered 401, by outcome: ok, rejected (401 again), canceled (the caller left), failed (anything else that ended with a 5xx).",
			"route", "outcome"),
		refusals: m.counter("amlproxy_refusals_total",
			"Requests that the proxy refused by itself, by the problem type of its answer.",
			"route", "problem"),
		limits: m.counter("amlproxy_limits_total",
			"Requests that came as far as a limit of the route (rate, concurrency), by outcome (taken, refused); a limit that is not set takes all.",
			"route", "limit", "outcome"),
	}
}

// series are those of one route, looked up once: a request costs a few additions.
type series struct {
	classes                         [7]prometheus.Counter // by the first digit of the status; 6: other
	durations, began                prometheus.Observer
	received, sent                  prometheus.Counter
	retries, refusals               map[string]prometheus.Counter
	rate, rateRefused               prometheus.Counter
	concurrency, concurrencyRefused prometheus.Counter
}

func (v *requests) of(route string) *series {
	s := &series{
		durations: v.durations.WithLabelValues(route), began: v.began.WithLabelValues(route),
		received: v.received.WithLabelValues(route), sent: v.sent.WithLabelValues(route),
		retries: make(map[string]prometheus.Counter), refusals: make(map[string]prometheus.Counter),
		rate:               v.limits.WithLabelValues(route, limitRate, limitTaken),
		rateRefused:        v.limits.WithLabelValues(route, limitRate, limitRefused),
		concurrency:        v.limits.WithLabelValues(route, limitConcurrency, limitTaken),
		concurrencyRefused: v.limits.WithLabelValues(route, limitConcurrency, limitRefused),
	}
	for i, class := range []string{other, "1xx", "2xx", "3xx", "4xx", "5xx", other} {
		s.classes[i] = v.total.WithLabelValues(route, class)
	}
	for _, outcome := range []string{retryOK, retryRejected, retryCanceled, retryFailed} {
		s.retries[outcome] = v.retries.WithLabelValues(route, outcome)
	}
	for _, problem := range append(proxy.Problems(), other) {
		s.refusals[problem] = v.refusals.WithLabelValues(route, problem)
	}
	return s
}

// serve makes route known and its series appear.
func (m *Metrics) serve(route string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.routes[route] == nil {
		m.routes[route] = m.requests.of(route)
	}
}

// known returns the series of a route; one that was never watched is counted as none.
func (m *Metrics) known(route string) *series {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if s := m.routes[route]; s != nil {
		return s
	}
	return m.routes[noRoute]
}

// Record takes a Record into account. Of what it holds, only names that are the
// settings' or the proxy's own choose a series.
func (m *Metrics) Record(r *proxy.Record) {
	s := m.known(r.Route)
	s.classes[classOf(r.Status)].Inc()
	s.durations.Observe(r.Duration.Seconds())
	s.received.Add(float64(max(r.RequestBytes, 0)))
	s.sent.Add(float64(max(r.ResponseBytes, 0)))
	if r.Began > 0 {
		s.began.Observe(r.Began.Seconds())
	}
	if r.Retried {
		s.retries[retryOutcome(r)].Inc()
	}
	s.limited(r)
	if r.Problem != "" {
		s.refused(r.Problem).Inc()
	}
}

func (s *series) refused(problem string) prometheus.Counter {
	if c := s.refusals[problem]; c != nil {
		return c
	}
	return s.refusals[other]
}

// limited counts what the limits said: that of the rate is asked first.
func (s *series) limited(r *proxy.Record) {
	switch {
	case r.Problem == problemRate:
		s.rateRefused.Inc()
	case r.Problem == problemConcurrency:
		s.rate.Inc()
		s.concurrencyRefused.Inc()
	case r.Admitted:
		s.rate.Inc()
		s.concurrency.Inc()
	}
}

// classOf returns 2 for 204, and 6 for what is no status: an upstream may answer
// with any three digits.
func classOf(status int) int {
	if class := status / 100; class >= 1 && class <= 5 {
		return class
	}
	return 6
}

func retryOutcome(r *proxy.Record) string {
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
