package telemetry

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"amlproxy/proxy"
)

// loads is a collector that asks what goes on when it is scraped.
type loads struct {
	requests, streams, websockets, most *prometheus.Desc

	ask atomic.Pointer[func() []proxy.Load]
}

func (m *Metrics) newLoads() *loads {
	of := func(name, help string) *prometheus.Desc { return m.describe(name, gauge, help, "route") }
	return &loads{
		requests:   of("amlproxy_requests_in_flight", "Requests under way, streams and WebSockets among them."),
		streams:    of("amlproxy_streams", "Answers under way whose end nobody knows ahead, such as event streams."),
		websockets: of("amlproxy_websockets", "WebSockets that are open."),
		most:       of("amlproxy_concurrency_limit", "How many requests may be under way at once; 0: any number."),
	}
}

// Loads has ask say, at each scrape, what goes on at each route. It must not
// block: a scrape waits for it.
func (m *Metrics) Loads(ask func() []proxy.Load) { m.loads.ask.Store(&ask) }

// Describe implements [prometheus.Collector].
func (l *loads) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{l.requests, l.streams, l.websockets, l.most} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (l *loads) Collect(to chan<- prometheus.Metric) {
	ask := l.ask.Load()
	if ask == nil {
		return
	}
	for _, at := range (*ask)() {
		send(to, l.requests, prometheus.GaugeValue, float64(at.Requests), at.Route)
		send(to, l.streams, prometheus.GaugeValue, float64(at.Streams), at.Route)
		send(to, l.websockets, prometheus.GaugeValue, float64(at.WebSockets), at.Route)
		send(to, l.most, prometheus.GaugeValue, float64(at.MaxConcurrent), at.Route)
	}
}

func send(to chan<- prometheus.Metric, d *prometheus.Desc, t prometheus.ValueType, value float64, labels ...string) {
	metric, err := prometheus.NewConstMetric(d, t, value, labels...)
	if err != nil {
		metric = prometheus.NewInvalidMetric(d, err)
	}
	to <- metric
}
