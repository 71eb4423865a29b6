package telemetry

import (
	"errors"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics counts what Records and Events tell, for Prometheus. It has a registry
// of its own, starts nothing and needs no closing. It is safe for concurrent use.
//
// How many series there are depends on the settings and on this program alone.
// Nothing that a caller wrote becomes a label: one series for each name that
// somebody thinks of would fill the memory of the proxy and of Prometheus. A
// route's series stand at zero from the start, so that its first failure is a
// rise and not a beginning, which rate() does not see.
type Metrics struct {
	registry *prometheus.Registry
	rows     []row // of the reference
	err      error // of what could not be registered

	build    *prometheus.GaugeVec
	requests requests
	loads    *loads
	people   people
	spans    spans
	reloads  reloads
	losses   losses

	// Provider counts the calls to the identity provider, Workspace those to Azure
	// about endpoints and for the proxy's own identity.
	Provider, Workspace *Calls

	fetches        *prometheus.CounterVec
	fetchDurations *prometheus.HistogramVec
	credentials    *credentials

	mu     sync.RWMutex
	routes map[string]*series
}

// NewMetrics returns metrics that know no route yet; see [Metrics.Watch].
func NewMetrics() (*Metrics, error) {
	m := &Metrics{registry: prometheus.NewRegistry(), routes: make(map[string]*series)}
	m.newBuild()
	m.newRequests()
	m.loads = m.newLoads()
	m.register(m.loads)
	m.newPeople()
	m.newSpans()
	m.newReloads()
	m.newLosses()
	m.newFetches()
	m.credentials = m.newCredentials()
	m.register(m.credentials)
	m.Provider = m.newCalls("provider", "the identity provider", "call")
	m.Workspace = m.newCalls("workspace", "Azure (about endpoints, and for the proxy's own identity)", "operation")
	m.register(collectors.NewGoCollector())
	m.register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.register(collectors.NewBuildInfoCollector())
	if m.err != nil {
		return nil, m.err
	}
	m.serve(noRoute)
	return m, nil
}

// Handler answers scrapes. A series that cannot be had is left out and counted in
// promhttp_metric_handler_errors_total; the others are served. Who may ask is for
// the listener to decide.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, Registry: m.registry})
}

func (m *Metrics) register(c prometheus.Collector) {
	m.err = errors.Join(m.err, m.registry.Register(c))
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	m.rows = append(m.rows, row{name, counter, help, labels})
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.register(vec)
	return vec
}

// describe is for a metric whose values are asked for at a scrape.
func (m *Metrics) describe(name, kind, help string, labels ...string) *prometheus.Desc {
	m.rows = append(m.rows, row{name, kind, help, labels})
	return prometheus.NewDesc(name, help, labels, nil)
}

func (m *Metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	m.rows = append(m.rows, row{name, histogram, help, labels})
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	m.register(vec)
	return vec
}
