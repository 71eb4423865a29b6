package telemetry

import (
	"strconv"

	"amlproxy/upstream"
)

// What a fetch brought.
const (
	fetchChanged   = "changed"   // requests use something else than before
	fetchConfirmed = "confirmed" // what is in use is still good
	fetchFailed    = "failed"
)

func (m *Metrics) newFetches() {
	m.fetches = m.counter("amlproxy_credential_fetches_total",
		"Times that a credential was asked for, by cause (start: none was held; due: a planned renewal; rejected: the endpoint answered 401; suspect: it broke off an upload without an answer) and outcome (changed, confirmed, failed).",
		"route", "backend", "cause", "outcome")
	m.fetchDurations = m.histogram("amlproxy_credential_fetch_duration_seconds",
		"Time that asking for a credential took, all its calls together, whatever came of it.",
		[]float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30, 60}, "route", "backend")
}

// Event returns, for the n-th backend of a route, from 0, a consumer of upstream's
// Events.
func (m *Metrics) Event(route string, n int) func(upstream.Event) {
	number := strconv.Itoa(n)
	for _, cause := range []upstream.Cause{upstream.CauseStart, upstream.CauseDue, upstream.CauseRejected, upstream.CauseSuspect} {
		for _, outcome := range []string{fetchChanged, fetchConfirmed, fetchFailed} {
			m.fetches.WithLabelValues(route, number, string(cause), outcome)
		}
	}
	took := m.fetchDurations.WithLabelValues(route, number)
	return func(e upstream.Event) {
		m.fetches.WithLabelValues(route, number, string(e.Cause), fetchOutcome(e)).Inc()
		took.Observe(e.Duration.Seconds())
	}
}

func fetchOutcome(e upstream.Event) string {
	switch {
	case e.Err != nil:
		return fetchFailed
	case e.Changed:
		return fetchChanged
	}
	return fetchConfirmed
}
