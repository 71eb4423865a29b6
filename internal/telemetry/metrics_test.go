package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"amlproxy/internal/telemetry"
	"amlproxy/proxy"
	"amlproxy/upstream"
)

func newMetrics(t *testing.T, routes ...string) (m *telemetry.Metrics, url string) {
	t.Helper()
	m, err := telemetry.NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range routes {
		m.Watch(route, 0, func() upstream.Status { return upstream.Status{} })
	}
	server := httptest.NewServer(m.Handler())
	t.Cleanup(server.Close)
	return m, server.URL
}

// fetch returns what Prometheus is sent.
func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %v %s", resp.StatusCode, err, body)
	}
	return string(body)
}

// scrape returns the samples of amlproxy as Prometheus reads them, by series:
// `name{label="value",…}`, labels in alphabetical order and empty ones left out.
func scrape(t *testing.T, url string) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(fetch(t, url)))
	if err != nil {
		t.Fatal(err)
	}
	samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.Now()}, slices.Collect(maps.Values(families))...)
	if err != nil {
		t.Fatal(err)
	}
	series := make(map[string]float64)
	for _, s := range samples {
		for name, value := range s.Metric {
			if value == "" {
				delete(s.Metric, name)
			}
		}
		if strings.HasPrefix(string(s.Metric[model.MetricNameLabel]), "amlproxy_") {
			series[strings.ReplaceAll(s.Metric.String(), `", `, `",`)] = float64(s.Value)
		}
	}
	return series
}

func want(t *testing.T, got, wanted map[string]float64) {
	t.Helper()
	for series, value := range wanted {
		if have, ok := got[series]; !ok || have != value {
			t.Errorf("%s is %v (%t), want %v", series, have, ok, value)
		}
	}
}

func absent(t *testing.T, got map[string]float64, series ...string) {
	t.Helper()
	for _, name := range series {
		if value, ok := got[name]; ok {
			t.Errorf("%s is there: %v", name, value)
		}
	}
}

func TestRequestsAreCounted(t *testing.T) {
	m, url := newMetrics(t, "digits")
	for _, r := range []proxy.Record{
		{Route: "digits", Status: 200, Duration: 20 * time.Millisecond},
		{Route: "digits", Status: 204, Duration: 2 * time.Second},
		{Route: "digits", Status: 101, Upgraded: true},
		{Route: "digits", Status: 404},
		{Route: "digits", Status: 499, Err: context.Canceled},
		{Route: "digits", Status: 777},
		{Status: 200, Endpoint: "livez"},
		{Status: 404, Problem: "not-found"},
		{Route: "digits", Status: 429, Problem: "rate-limited"},
	} {
		m.Record(&r)
	}
	want(t, scrape(t, url), map[string]float64{
		`amlproxy_requests_total{code="1xx",route="digits"}`:                  1,
		`amlproxy_requests_total{code="2xx",route="digits"}`:                  2,
		`amlproxy_requests_total{code="3xx",route="digits"}`:                  0,
		`amlproxy_requests_total{code="4xx",route="digits"}`:                  3,
		`amlproxy_requests_total{code="5xx",route="digits"}`:                  0,
		`amlproxy_requests_total{code="other",route="digits"}`:                1,
		`amlproxy_requests_total{code="2xx"}`:                                 1,
		`amlproxy_requests_total{code="4xx"}`:                                 1,
		`amlproxy_request_duration_seconds_count{route="digits"}`:             7,
		`amlproxy_request_duration_seconds_sum{route="digits"}`:               2.02,
		`amlproxy_request_duration_seconds_bucket{le="0.025",route="digits"}`: 6,
		`amlproxy_refusals_total{problem="rate-limited",route="digits"}`:      1,
		`amlproxy_refusals_total{problem="not-found"}`:                        1,
		`amlproxy_retries_total{outcome="ok",route="digits"}`:                 0,
		`amlproxy_credential_usable{backend="0",route="digits"}`:              0,
		`amlproxy_credential_waits_total{backend="0",route="digits"}`:         0,
		`amlproxy_request_duration_seconds_bucket{le="+Inf"}`:                 2,
		`amlproxy_request_duration_seconds_bucket{le="+Inf",route="digits"}`:  7,
		`amlproxy_request_duration_seconds_bucket{le="1",route="digits"}`:     6,
		`amlproxy_request_duration_seconds_bucket{le="2.5",route="digits"}`:   7,
	})
}

func TestRetriesAreCountedByWhatBecameOfThem(t *testing.T) {
	m, url := newMetrics(t, "digits")
	retried := func(r proxy.Record) {
		r.Route, r.Retried, r.Sends = "digits", true, 2
		m.Record(&r)
	}
	retried(proxy.Record{Status: 200})
	retried(proxy.Record{Status: 400}) // the input was wrong, the credential was not
	retried(proxy.Record{Status: 502, Problem: "credential-rejected", Err: fmt.Errorf("digits: %w", upstream.ErrRejected)})
	retried(proxy.Record{Status: 499, Err: context.Canceled})
	retried(proxy.Record{Status: 503, UpstreamStatus: 503})
	retried(proxy.Record{Status: 502, Problem: "upstream-unreachable", Err: io.ErrUnexpectedEOF})
	m.Record(&proxy.Record{Route: "digits", Status: 502, Problem: "credential-rejected", Sends: 1, Err: upstream.ErrRejected})
	want(t, scrape(t, url), map[string]float64{
		`amlproxy_retries_total{outcome="ok",route="digits"}`:                   2,
		`amlproxy_retries_total{outcome="rejected",route="digits"}`:             1,
		`amlproxy_retries_total{outcome="canceled",route="digits"}`:             1,
		`amlproxy_retries_total{outcome="failed",route="digits"}`:               2,
		`amlproxy_refusals_total{problem="credential-rejected",route="digits"}`: 2,
	})
}

func TestFetchesAreCounted(t *testing.T) {
	m, url := newMetrics(t)
	first, second := m.Event("digits", 0), m.Event("digits", 1)
	first(upstream.Event{Cause: upstream.CauseStart, Changed: true, Duration: 300 * time.Millisecond})
	first(upstream.Event{Cause: upstream.CauseDue, Duration: 300 * time.Millisecond})
	first(upstream.Event{Cause: upstream.CauseDue, Duration: 10 * time.Second, Err: errors.New("listkeys: 503")})
	second(upstream.Event{Cause: upstream.CauseRejected, Changed: true})
	want(t, scrape(t, url), map[string]float64{
		`amlproxy_credential_fetches_total{backend="0",cause="start",outcome="changed",route="digits"}`:    1,
		`amlproxy_credential_fetches_total{backend="0",cause="due",outcome="confirmed",route="digits"}`:    1,
		`amlproxy_credential_fetches_total{backend="0",cause="due",outcome="failed",route="digits"}`:       1,
		`amlproxy_credential_fetches_total{backend="0",cause="rejected",outcome="failed",route="digits"}`:  0,
		`amlproxy_credential_fetches_total{backend="1",cause="rejected",outcome="changed",route="digits"}`: 1,
		`amlproxy_credential_fetch_duration_seconds_count{backend="0",route="digits"}`:                     3,
		`amlproxy_credential_fetch_duration_seconds_sum{backend="0",route="digits"}`:                       10.6,
		`amlproxy_credential_fetch_duration_seconds_bucket{backend="0",le="0.5",route="digits"}`:           2,
		`amlproxy_credential_fetch_duration_seconds_count{backend="1",route="digits"}`:                     1,
	})
}

func TestWhatIsHeldIsReadAtEachScrape(t *testing.T) {
	m, url := newMetrics(t)
	status := upstream.Status{Err: errors.New("not yet"), Waits: 3}
	m.Watch("digits", 0, func() upstream.Status { return status })
	m.Watch("digits", 1, func() upstream.Status { return upstream.Status{Kind: upstream.Key, Usable: true, Fetched: time.Now()} })

	const labels = `{backend="0",route="digits"}`
	got := scrape(t, url)
	want(t, got, map[string]float64{
		"amlproxy_credential_usable" + labels: 0, "amlproxy_credential_waits_total" + labels: 3,
		`amlproxy_credential_usable{backend="1",route="digits"}`:          1,
		`amlproxy_credential_info{backend="1",kind="key",route="digits"}`: 1,
	})
	absent(t, got, "amlproxy_credential_age_seconds"+labels, "amlproxy_credential_expires_in_seconds"+labels,
		"amlproxy_credential_info"+labels,
		`amlproxy_credential_expires_in_seconds{backend="1",route="digits"}`) // a key never expires

	now := time.Now()
	status = upstream.Status{Kind: upstream.Token, Usable: true, Fetched: now.Add(-time.Hour), Expires: now.Add(2 * time.Hour)}
	got = scrape(t, url)
	want(t, got, map[string]float64{
		"amlproxy_credential_usable" + labels: 1, `amlproxy_credential_info{backend="0",kind="token",route="digits"}`: 1,
	})
	between(t, got, "amlproxy_credential_age_seconds"+labels, 3600, 3660)
	between(t, got, "amlproxy_credential_expires_in_seconds"+labels, 7140, 7200)

	status.Usable, status.Expires = false, now.Add(-time.Minute)
	between(t, scrape(t, url), "amlproxy_credential_expires_in_seconds"+labels, -120, -60)
}

func between(t *testing.T, got map[string]float64, series string, low, high float64) {
	t.Helper()
	if value, ok := got[series]; !ok || value < low || value > high {
		t.Errorf("%s is %v (%t), want between %v and %v", series, value, ok, low, high)
	}
}

func TestABackendWatchedTwiceIsReportedOnce(t *testing.T) {
	m, url := newMetrics(t, "digits")
	m.Watch("digits", 0, func() upstream.Status { return upstream.Status{Usable: true} })
	want(t, scrape(t, url), map[string]float64{`amlproxy_credential_usable{backend="0",route="digits"}`: 1})
}

// No backend may keep the others from being seen.
func TestOneBrokenSeriesDoesNotHideTheOthers(t *testing.T) {
	m, url := newMetrics(t, "digits")
	m.Watch("strange", 0, func() upstream.Status { return upstream.Status{Kind: "\xff", Usable: true} })
	want(t, scrape(t, url), map[string]float64{
		`amlproxy_credential_usable{backend="0",route="digits"}`:  0,
		`amlproxy_credential_usable{backend="0",route="strange"}`: 1,
	})
	if text := fetch(t, url); !strings.Contains(text, `promhttp_metric_handler_errors_total{cause="gathering"} 1`) {
		t.Error("nobody was told of it")
	}
}

// A source that never answers is one of the things that a scrape has to show.
func TestAScrapeDoesNotWaitForAzure(t *testing.T) {
	m, url := newMetrics(t)
	asked := make(chan struct{})
	c := upstream.Cached(hanging(asked), m.Event("digits", 0))
	defer c.Close()
	m.Watch("digits", 0, c.Status)
	c.Warm()
	<-asked

	ctx, leave := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() { _, err := c.Target(ctx); waiting <- err }()
	for scrape(t, url)[`amlproxy_credential_waits_total{backend="0",route="digits"}`] == 0 { // until it waits
		if t.Context().Err() != nil {
			t.Fatal("the request that waits is not counted")
		}
	}
	want(t, scrape(t, url), map[string]float64{
		`amlproxy_credential_usable{backend="0",route="digits"}`: 0, `amlproxy_credential_waits_total{backend="0",route="digits"}`: 1,
	})
	leave()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// hanging is a Source that says when it is asked and answers nothing.
type hanging chan struct{}

func (asked hanging) Fetch(ctx context.Context, _ *upstream.Lease) (*upstream.Lease, error) {
	close(asked)
	<-ctx.Done()
	return nil, ctx.Err()
}

// The names follow the conventions of Prometheus, the Go client's included.
func TestNamesAreWhatPrometheusExpects(t *testing.T) {
	m, url := newMetrics(t, "digits")
	m.Event("digits", 0)
	m.Watch("digits", 0, func() upstream.Status {
		return upstream.Status{Kind: upstream.Token, Usable: true, Fetched: time.Now(), Expires: time.Now().Add(time.Hour)}
	})
	m.Record(&proxy.Record{Route: "digits", Status: 502, Problem: "credential-rejected"})
	problems, err := promlint.New(strings.NewReader(fetch(t, url))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestTheRuntimeAndTheBuildAreReported(t *testing.T) {
	_, url := newMetrics(t)
	text := fetch(t, url)
	for _, name := range []string{"go_goroutines ", "process_open_fds ", "go_build_info{"} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("no %s", name)
		}
	}
}

// Two in one process share nothing: there is no registry but their own.
func TestMetricsAreNoGlobals(t *testing.T) {
	one, _ := newMetrics(t, "digits")
	_, other := newMetrics(t, "digits")
	one.Record(&proxy.Record{Route: "digits", Status: 200})
	want(t, scrape(t, other), map[string]float64{`amlproxy_requests_total{code="2xx",route="digits"}`: 0})
}
