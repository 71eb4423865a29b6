package telemetry

import (
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"amlproxy/upstream"
)

// credentials is a collector that reads what each backend holds when it is
// scraped, so that ages are right then and nothing has to run in between.
type credentials struct {
	usable, age, expires, info, waits *prometheus.Desc

	mu      sync.Mutex
	watched map[backend]func() upstream.Status
}

// A backend is the n-th of a route, from 0: the order is the settings' own, and
// a number tells Prometheus nothing about a workspace.
type backend struct {
	route string
	n     int
}

// newCredentials describes the series of one backend.
func (m *Metrics) newCredentials() *credentials {
	of := func(name, kind, help string, more ...string) *prometheus.Desc {
		labels := append([]string{"route", "backend"}, more...)
		return m.describe(name, kind, help, labels...)
	}
	return &credentials{
		usable: of("amlproxy_credential_usable", gauge,
			"1 if a request could be sent with the credential now, else 0."),
		age: of("amlproxy_credential_age_seconds", gauge,
			"Time since the credential was last fetched or confirmed; absent until it was."),
		expires: of("amlproxy_credential_expires_in_seconds", gauge,
			"Time until the credential is worthless, negative from then on; absent for one that never is."),
		info: of("amlproxy_credential_info", gauge,
			"Always 1; kind is what the endpoint wants (none, key, token, entra). Absent while that is not known.", "kind"),
		waits: of("amlproxy_credential_waits_total", counter,
			"Requests that had to wait because no usable credential was held."),
		watched: make(map[backend]func() upstream.Status),
	}
}

// Watch makes route known, and reports at each scrape what status says of its n-th
// backend, from 0. Another Watch of the same backend takes the place of the first.
// status must not block: a scrape waits for it.
func (m *Metrics) Watch(route string, n int, status func() upstream.Status) {
	m.serve(route)
	c := m.credentials
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watched[backend{route, n}] = status
}

// Unwatch reports the n-th backend of a route no more. What was counted for the
// route stays, as Prometheus expects of a counter.
func (m *Metrics) Unwatch(route string, n int) {
	c := m.credentials
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watched, backend{route, n})
}

// Describe implements [prometheus.Collector].
func (c *credentials) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.usable, c.age, c.expires, c.info, c.waits} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *credentials) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	watched := maps.Clone(c.watched) // nothing is asked under the lock
	c.mu.Unlock()
	for of, status := range watched {
		c.collect(to, of, status())
	}
}

func (c *credentials) collect(to chan<- prometheus.Metric, of backend, s upstream.Status) {
	send := func(d *prometheus.Desc, t prometheus.ValueType, value float64, more ...string) {
		send(to, d, t, value, append([]string{of.route, strconv.Itoa(of.n)}, more...)...)
	}
	usable := 0.0
	if s.Usable {
		usable = 1
	}
	send(c.usable, prometheus.GaugeValue, usable)
	send(c.waits, prometheus.CounterValue, float64(s.Waits))
	if s.Kind != "" {
		send(c.info, prometheus.GaugeValue, 1, string(s.Kind))
	}
	if !s.Fetched.IsZero() {
		send(c.age, prometheus.GaugeValue, time.Since(s.Fetched).Seconds())
	}
	if !s.Expires.IsZero() {
		send(c.expires, prometheus.GaugeValue, time.Until(s.Expires).Seconds())
	}
}
