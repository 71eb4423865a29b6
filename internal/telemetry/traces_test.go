package telemetry_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"amlproxy/internal/secret"
	"amlproxy/internal/telemetry"
	"amlproxy/proxy"
	"amlproxy/upstream"
)

// A receiver is a collector that keeps what it is sent.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	data     []*tracepb.TracesData
	statuses []int // of the next answers; then 200
}

func receive(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, req)
	body, _ := io.ReadAll(req.Body)
	if len(r.statuses) > 0 {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(r.statuses[0])
		r.statuses = r.statuses[1:]
		return
	}
	if req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		body, _ = io.ReadAll(z)
	}
	data := new(tracepb.TracesData)
	if err := proto.Unmarshal(body, data); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.data = append(r.data, data)
}

// spans returns the spans that came, and the attributes of who sent them.
func (r *receiver) spans() (all []*tracepb.Span, about map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.data {
		for _, of := range d.ResourceSpans {
			about = plain(of.Resource.Attributes)
			for _, scope := range of.ScopeSpans {
				all = append(all, scope.Spans...)
			}
		}
	}
	return all, about
}

func plain(attributes []*commonpb.KeyValue) map[string]string {
	all := make(map[string]string)
	for _, a := range attributes {
		all[a.Key] = a.Value.GetStringValue()
		if _, is := a.Value.Value.(*commonpb.AnyValue_IntValue); is {
			all[a.Key] = fmt.Sprint(a.Value.GetIntValue())
		}
	}
	return all
}

// traces starts Traces that send to r. What they log is returned by log.
func traces(t *testing.T, r *receiver, alter ...func(*telemetry.TracesConfig)) (tr *telemetry.Traces, m *telemetry.Metrics, log func() string) {
	t.Helper()
	var b bytes.Buffer
	logger, err := telemetry.NewLogger(&b, "debug", "json")
	if err != nil {
		t.Fatal(err)
	}
	m, err = telemetry.NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := url.Parse(r.URL + "/v1/traces")
	if err != nil {
		t.Fatal(err)
	}
	cfg := telemetry.TracesConfig{
		Endpoint: endpoint, Client: &http.Client{Transport: &http.Transport{}}, Timeout: 10 * time.Second, Version: "v1", Log: logger, Metrics: m,
		Headers: []telemetry.Header{{Name: "Authorization", Value: secret.New("canary-otlp")}},
	}
	for _, a := range alter {
		a(&cfg)
	}
	tr, err = telemetry.NewTraces(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tr.Start()
	return tr, m, b.String
}

func shut(t *testing.T, tr *telemetry.Traces) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := tr.Close(ctx); err != nil {
		t.Error(err)
	}
}

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"

func TestASpanIsMadeOfARecord(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for _, zip := range []bool{false, true} {
		r := receive(t)
		tr, m, log := traces(t, r, func(c *telemetry.TracesConfig) { c.Gzip = zip })
		start := time.Now().Add(-time.Minute)
		traceparent, end := tr.Begin(start, parent+"01", "a=b")
		end(&proxy.Record{
			Start: start, Duration: 2 * time.Second, Began: time.Second, Resent: 500 * time.Millisecond, Sends: 2, Retried: true,
			Method: "POST", Path: "/models/digits/\xff", Host: "models.example", UserAgent: "curl", Address: netip.MustParseAddr("192.0.2.1"),
			Route: "digits", RequestID: "r1", Status: 502, Problem: "upstream-unreachable", Kind: upstream.Key, Err: errors.New("canary-cause"),
		})
		shut(t, tr)
		spans, about := r.spans()
		if len(spans) != 1 {
			t.Fatalf("%d spans: %s", len(spans), log())
		}
		s := spans[0]
		if ours := fmt.Sprintf("00-%x-%x-01", s.TraceId, s.SpanId); ours != traceparent || ours[:35] != parent[:35] {
			t.Errorf("the model was told of %s, the span is %s", traceparent, ours)
		}
		if got := fmt.Sprintf("%x", s.ParentSpanId); got != "00f067aa0ba902b7" || s.TraceState != "a=b" || s.Name != "POST digits" ||
			s.Kind != tracepb.Span_SPAN_KIND_SERVER || s.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR ||
			s.StartTimeUnixNano != uint64(start.UnixNano()) || s.EndTimeUnixNano-s.StartTimeUnixNano != uint64(2*time.Second) || len(s.Events) != 2 {
			t.Errorf("%v", s)
		}
		attributes := plain(s.Attributes)
		for key, want := range map[string]string{
			"http.request.method": "POST", "url.path": "/models/digits/\uFFFD", "http.response.status_code": "502", "error.type": "upstream-unreachable",
			"amlproxy.route": "digits", "amlproxy.upstream.sends": "2", "amlproxy.credential": "key", "amlproxy.request_id": "r1",
		} {
			if attributes[key] != want {
				t.Errorf("%s is %q", key, attributes[key])
			}
		}
		if about["service.name"] != "amlproxy" || about["service.version"] != "v1" {
			t.Errorf("%v", about)
		}
		if text := s.String() + log(); strings.Contains(text, "canary") {
			t.Errorf("a secret or a cause is in it: %s", text)
		}
		if got := r.requests[0].Header.Get("Authorization"); got != "canary-otlp" || r.requests[0].URL.Path != "/v1/traces" {
			t.Errorf("%q to %s", got, r.requests[0].URL)
		}
		server := httptest.NewServer(m.Handler())
		want(t, scrape(t, server.URL), map[string]float64{`amlproxy_spans_total`: 1, `amlproxy_spans_exported_total{outcome="sent"}`: 1})
		server.Close()
		r.Close()
	}
}

// Who is asked not to record does not, and the model is told so; what was begun
// elsewhere goes on.
func TestSamplingFollowsTheCaller(t *testing.T) {
	r := receive(t)
	tr, _, _ := traces(t, r)
	for _, c := range []struct {
		parent string
		made   bool
	}{{parent + "00", false}, {parent + "01", true}, {"", true}} {
		traceparent, end := tr.Begin(time.Now(), c.parent, "")
		if (end != nil) != c.made || strings.HasSuffix(traceparent, "-01") != c.made || len(traceparent) != 55 || traceparent == c.parent {
			t.Errorf("%q became %q, %t", c.parent, traceparent, end != nil)
		}
		if c.parent != "" && traceparent[:35] != c.parent[:35] {
			t.Errorf("%q left its trace: %q", c.parent, traceparent)
		}
		if end != nil {
			end(&proxy.Record{Endpoint: "readyz", Start: time.Now()})
		}
	}
	shut(t, tr)
	if spans, _ := r.spans(); len(spans) > 0 {
		t.Errorf("health checks have spans: %v", spans)
	}
}

func TestTheSamplerIsOpenTelemetrysToSet(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
	t.Setenv("OTEL_SERVICE_NAME", "scoring")
	r := receive(t)
	tr, _, _ := traces(t, r)
	if _, end := tr.Begin(time.Now(), "", ""); end != nil {
		t.Error("a span is made all the same")
	}
	_, end := tr.Begin(time.Now(), parent+"01", "")
	end(&proxy.Record{Start: time.Now(), Status: 200})
	shut(t, tr)
	if spans, about := r.spans(); len(spans) != 1 || about["service.name"] != "scoring" {
		t.Errorf("%v %v", spans, about)
	}
}

// A collector in trouble costs spans and nothing else: a line in the log, a count.
func TestLostSpansAreCountedAndLogged(t *testing.T) {
	for name, c := range map[string]struct {
		statuses []int
		sent     float64
		asked    int
	}{
		"refused":   {[]int{401}, 0, 1},
		"redirects": {[]int{307}, 0, 1}, // followed, it would carry the header elsewhere
		"for now":   {[]int{503}, 1, 2},
	} {
		r := receive(t)
		r.statuses = c.statuses
		tr, m, log := traces(t, r)
		_, end := tr.Begin(time.Now(), "", "")
		end(&proxy.Record{Start: time.Now(), Status: 200})
		shut(t, tr)
		server := httptest.NewServer(m.Handler())
		want(t, scrape(t, server.URL), map[string]float64{
			`amlproxy_spans_exported_total{outcome="sent"}`: c.sent, `amlproxy_spans_exported_total{outcome="lost"}`: 1 - c.sent,
		})
		server.Close()
		if len(r.requests) != c.asked || strings.Contains(log(), "spans are lost") == (c.sent > 0) || strings.Contains(log(), "canary") {
			t.Errorf("%s: asked %d times; %s", name, len(r.requests), log())
		}
	}
}

// While the collector hangs, requests go on, and what is kept of them is bounded.
func TestACollectorThatHangsSlowsNobody(t *testing.T) {
	release := make(chan struct{})
	r := &receiver{Server: httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))}
	defer r.Close()
	defer close(release)
	tr, _, _ := traces(t, r)
	for range 10_000 {
		if _, end := tr.Begin(time.Now(), "", ""); end != nil {
			end(&proxy.Record{Start: time.Now(), Status: 200})
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = tr.Close(ctx)
}

// What a span costs the request that it is of.
func BenchmarkSpan(b *testing.B) {
	m, err := telemetry.NewMetrics()
	if err != nil {
		b.Fatal(err)
	}
	log, err := telemetry.NewLogger(io.Discard, "error", "json")
	if err != nil {
		b.Fatal(err)
	}
	tr, err := telemetry.NewTraces(telemetry.TracesConfig{Endpoint: new(url.URL), Client: http.DefaultClient, Timeout: time.Second, Log: log, Metrics: m})
	if err != nil {
		b.Fatal(err)
	}
	for name, of := range map[string]string{"recorded": parent + "01", "not recorded": parent + "00"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, end := tr.Begin(time.Now(), of, ""); end != nil {
					end(&proxy.Record{Start: time.Now(), Method: "POST", Path: "/models/m", Route: "m", Status: 200, Sends: 1})
				}
			}
		})
	}
}
