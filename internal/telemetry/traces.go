package telemetry

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"amlproxy/internal/secret"
	"amlproxy/proxy"
)

// TracesConfig is what NewTraces needs.
type TracesConfig struct {
	Endpoint *url.URL      // that spans are posted to (OTLP over HTTP)
	Headers  []Header      // sent along
	Client   *http.Client  // its redirect policy is not used
	Timeout  time.Duration // of one batch, repeats included
	Gzip     bool
	Version  string // of this program
	Log      *zap.Logger
	Metrics  *Metrics
}

// A Header is one that lets the proxy in at the collector.
type Header struct {
	Name  string
	Value secret.Value
}

// Traces makes a span of each request and sends them in batches, from a goroutine
// of its own: no request waits for it, and what does not fit into its queue is
// dropped. A span holds what an access line does, without who called: it leaves
// the house, maybe for somebody else's. What is sampled, and how, is for the SDK's
// own variables (OTEL_TRACES_SAMPLER; by default as the caller did, else all).
type Traces struct {
	provider *sdktrace.TracerProvider
	exporter sdktrace.SpanExporter
	tracer   trace.Tracer
	metrics  *Metrics
	client   *http.Client
}

// NewTraces returns Traces that send nothing yet; see [Traces.Start].
func NewTraces(cfg TracesConfig) (*Traces, error) {
	log := cfg.Log.Named("traces")
	// The SDK has one place for its complaints, for the whole process.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("OpenTelemetry", zap.Error(err)) }))
	client := *cfg.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	exporter, err := otlptrace.New(context.Background(), &collector{
		url: cfg.Endpoint.String(), headers: cfg.Headers, client: &client, timeout: cfg.Timeout, gzip: cfg.Gzip, log: log, metrics: cfg.Metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	about, err := resource.New(context.Background(),
		resource.WithAttributes(attribute.String("service.name", "amlproxy"), attribute.String("service.version", cfg.Version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		log.Warn("OTEL_RESOURCE_ATTRIBUTES cannot be read in full", zap.Error(err))
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(about))
	return &Traces{provider: provider, exporter: exporter, tracer: provider.Tracer("amlproxy"), metrics: cfg.Metrics, client: &client}, nil
}

// Start begins to send spans. Close has to follow.
func (t *Traces) Start() {
	t.provider.RegisterSpanProcessor(sdktrace.NewBatchSpanProcessor(t.exporter))
}

// Close sends what is left, for as long as ctx lets it, and ends what was started.
func (t *Traces) Close(ctx context.Context) error {
	defer t.client.CloseIdleConnections()
	return t.provider.Shutdown(ctx)
}

// Begin is a [proxy.Trace].
func (t *Traces) Begin(start time.Time, parent, state string) (traceparent string, end func(*proxy.Record)) {
	ctx := within(context.Background(), parent, state)
	_, span := t.tracer.Start(ctx, "request", trace.WithTimestamp(start), trace.WithSpanKind(trace.SpanKindServer))
	of := span.SpanContext()
	traceparent = "00-" + of.TraceID().String() + "-" + of.SpanID().String() + "-" + of.TraceFlags().String()
	if !span.IsRecording() {
		return traceparent, nil
	}
	return traceparent, func(r *proxy.Record) { t.end(span, r) }
}

// within returns a context in which a span is the child of the caller's. parent is
// valid or empty.
func within(ctx context.Context, parent, state string) context.Context {
	if parent == "" {
		return ctx
	}
	var of trace.SpanContextConfig
	of.TraceID, _ = trace.TraceIDFromHex(parent[3:35])
	of.SpanID, _ = trace.SpanIDFromHex(parent[36:52])
	if flags, err := hex.DecodeString(parent[53:55]); err == nil {
		of.TraceFlags = trace.TraceFlags(flags[0])
	}
	of.TraceState, _ = trace.ParseTraceState(state) // else none: it is no part of the trace's identity
	of.Remote = true
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(of))
}

// end completes the span of a request, and leaves those of health checks alone: a
// span that does not end is forgotten.
func (t *Traces) end(span trace.Span, r *proxy.Record) {
	if r.Endpoint == "livez" || r.Endpoint == "readyz" {
		return
	}
	span.SetName(method(r.Method) + " " + about(r))
	span.SetAttributes(attributes(r)...)
	if r.Resent > 0 {
		span.AddEvent("sent again with another credential", trace.WithTimestamp(r.Start.Add(r.Resent)))
	}
	if r.Began > 0 {
		span.AddEvent("the model began to answer", trace.WithTimestamp(r.Start.Add(r.Began)))
	}
	if r.Status >= 500 || r.Aborted { // OpenTelemetry's conventions: a server's span fails with 5xx alone
		span.SetStatus(codes.Error, failure(r))
	}
	span.End(trace.WithTimestamp(r.Start.Add(r.Duration)))
	t.metrics.spans.made.Inc()
}

// about is what a request is about, in words of the settings and of ours: a
// span's name must not be the caller's to choose.
func about(r *proxy.Record) string {
	switch {
	case r.Route != "":
		return r.Route
	case r.Endpoint != "":
		return "/" + r.Endpoint
	}
	return "(none)"
}

// method returns the known methods, and _OTHER for what is none, as the
// conventions say.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return m
	}
	return "_OTHER"
}

// failure is the problem of a refusal, or the status: the cause is in the log,
// under the request's id.
func failure(r *proxy.Record) string {
	switch {
	case r.Problem != "":
		return r.Problem
	case r.Aborted:
		return "aborted"
	}
	return fmt.Sprint(r.Status)
}

// attributes are those of OpenTelemetry's conventions for HTTP where there is one.
func attributes(r *proxy.Record) []attribute.KeyValue {
	all := []attribute.KeyValue{
		attribute.String("http.request.method", method(r.Method)),
		attribute.Int("http.response.status_code", r.Status),
		attribute.String("client.address", r.Address.String()),
		attribute.Int64("http.request.body.size", r.RequestBytes),
		attribute.Int64("http.response.body.size", r.ResponseBytes),
	}
	text := func(key, value string) {
		if value != "" {
			all = append(all, attribute.String(key, clean(value)))
		}
	}
	text("url.path", r.Path)
	text("server.address", r.Host)
	text("user_agent.original", r.UserAgent)
	text("amlproxy.request_id", r.RequestID)
	text("amlproxy.route", r.Route)
	text("amlproxy.endpoint", r.Endpoint)
	if r.Problem != "" || r.Status >= 500 || r.Aborted {
		text("error.type", failure(r))
	}
	if r.Sends > 0 {
		text("amlproxy.credential", string(r.Kind))
		text("amlproxy.upstream.request_id", r.UpstreamRequestID)
		all = append(all, attribute.Int("amlproxy.upstream.sends", r.Sends), attribute.Int("amlproxy.upstream.status_code", r.UpstreamStatus))
	}
	return all
}

// clean makes of what a caller wrote what a span can hold: one string that is no
// UTF-8 would cost all spans that are sent with it, and long ones fill the queue.
func clean(s string) string {
	const most = 1 << 10
	return strings.ToValidUTF8(s[:min(len(s), most)], "\uFFFD")
}
