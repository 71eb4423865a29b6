package telemetry_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/internal/telemetry"
	"amlproxy/proxy"
)

func TestWhatGoesOnIsAskedForAtAScrape(t *testing.T) {
	m, url := newMetrics(t, "digits")
	absent(t, scrape(t, url), `amlproxy_requests_in_flight{route="digits"}`)
	m.Loads(func() []proxy.Load {
		return []proxy.Load{{Route: "digits", Requests: 5, Streams: 2, WebSockets: 1, MaxConcurrent: 64}}
	})
	want(t, scrape(t, url), map[string]float64{
		`amlproxy_requests_in_flight{route="digits"}`: 5, `amlproxy_streams{route="digits"}`: 2,
		`amlproxy_websockets{route="digits"}`: 1, `amlproxy_concurrency_limit{route="digits"}`: 64,
	})
}

func TestBytesLimitsAndTheFirstByteAreCounted(t *testing.T) {
	m, url := newMetrics(t, "digits")
	for _, r := range []proxy.Record{
		{Admitted: true, Status: 200, Began: 30 * time.Millisecond, RequestBytes: 100, ResponseBytes: 7},
		{Admitted: true, Status: 502, Problem: "upstream-unreachable", RequestBytes: 20},
		{Status: 429, Problem: "rate-limited"},
		{Status: 429, Problem: "too-many-at-once"},
		{Status: 403, Problem: "not-allowed"},
		{Status: 403, Problem: "never heard of"},
	} {
		r.Route = "digits"
		m.Record(&r)
	}
	want(t, scrape(t, url), map[string]float64{
		`amlproxy_request_bytes_total{route="digits"}`:                                120,
		`amlproxy_response_bytes_total{route="digits"}`:                               7,
		`amlproxy_request_first_byte_seconds_count{route="digits"}`:                   1,
		`amlproxy_request_first_byte_seconds_bucket{le="0.05",route="digits"}`:        1,
		`amlproxy_request_first_byte_seconds_bucket{le="0.025",route="digits"}`:       0,
		`amlproxy_limits_total{limit="rate",outcome="taken",route="digits"}`:          3,
		`amlproxy_limits_total{limit="rate",outcome="refused",route="digits"}`:        1,
		`amlproxy_limits_total{limit="concurrency",outcome="taken",route="digits"}`:   2,
		`amlproxy_limits_total{limit="concurrency",outcome="refused",route="digits"}`: 1,
		`amlproxy_refusals_total{problem="not-allowed",route="digits"}`:               1,
		`amlproxy_refusals_total{problem="other",route="digits"}`:                     1,
		`amlproxy_refusals_total{problem="credential-rejected",route="digits"}`:       0,
		`amlproxy_limits_total{limit="rate",outcome="taken"}`:                         0,
		`amlproxy_request_first_byte_seconds_count`:                                   0,
	})
}

func TestLoginsAndSessionsAreCounted(t *testing.T) {
	m, url := newMetrics(t)
	for _, e := range []authn.Event{
		{Kind: authn.LoginStarted, Outcome: authn.OK},
		{Kind: authn.LoginEnded, Outcome: authn.OK},
		{Kind: authn.LoginEnded, Outcome: authn.Loop},
		{Kind: authn.SessionStarted, Outcome: authn.OK},
		{Kind: authn.SessionRenewed, Outcome: authn.Unavailable},
		{Kind: authn.SessionEnded, Outcome: authn.BackChannel},
		{Kind: "other", Outcome: "made up"},
	} {
		m.Session(e)
	}
	want(t, scrape(t, url), map[string]float64{
		`amlproxy_logins_started_total`:                          1,
		`amlproxy_logins_total{outcome="ok"}`:                    1,
		`amlproxy_logins_total{outcome="loop"}`:                  1,
		`amlproxy_logins_total{outcome="forbidden"}`:             0,
		`amlproxy_sessions_started_total`:                        1,
		`amlproxy_session_renewals_total{outcome="unavailable"}`: 1,
		`amlproxy_session_renewals_total{outcome="ok"}`:          0,
		`amlproxy_session_ends_total{reason="back-channel"}`:     1,
		`amlproxy_session_ends_total{reason="sign-out"}`:         0,
	})
}

// Calls are counted by what they are for, and by nothing that anybody answers.
func TestCallsAreCountedByOutcome(t *testing.T) {
	m, url := newMetrics(t)
	m.Workspace.Expect("keys", "other")
	status := http.StatusOK
	azure := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	kind := "keys"
	client := &http.Client{Transport: m.Workspace.Through(http.DefaultTransport, func(*http.Request) string { return kind })}
	call := func() {
		resp, err := client.Get(azure.URL)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
	for _, status = range []int{200, 202, 302, 404, 429, 503} {
		call()
	}
	kind = "nothing that was expected"
	call()
	azure.Close()
	kind = "keys"
	call()
	want(t, scrape(t, url), map[string]float64{
		`amlproxy_workspace_calls_total{operation="keys",outcome="ok"}`:          3,
		`amlproxy_workspace_calls_total{operation="keys",outcome="refused"}`:     1,
		`amlproxy_workspace_calls_total{operation="keys",outcome="throttled"}`:   1,
		`amlproxy_workspace_calls_total{operation="keys",outcome="failed"}`:      1,
		`amlproxy_workspace_calls_total{operation="keys",outcome="unreachable"}`: 1,
		`amlproxy_workspace_calls_total{operation="other",outcome="failed"}`:     1,
		`amlproxy_workspace_call_duration_seconds_count{operation="keys"}`:       7,
	})
}

// A request is not to pay for being counted: no series is looked up by its labels.
func TestCountingARecordAllocatesNothing(t *testing.T) {
	m, err := telemetry.NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	r := proxy.Record{Status: 502, Problem: "upstream-unreachable", Retried: true, Admitted: true, Began: time.Second, Duration: time.Second}
	if n := testing.AllocsPerRun(100, func() { m.Record(&r) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	m, err := telemetry.NewMetrics()
	if err != nil {
		b.Fatal(err)
	}
	r := proxy.Record{Status: 200, Admitted: true, Began: time.Millisecond, Duration: time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		m.Record(&r)
	}
}
