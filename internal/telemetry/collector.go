package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// A collector is where spans are posted to (OpenTelemetry Protocol 1.x, OTLP/HTTP
// with protobuf). OpenTelemetry's own client for that is not used: it brings gRPC
// along, which this program speaks to nobody, and 2 MB of it.
type collector struct {
	url     string
	headers []Header
	client  *http.Client
	timeout time.Duration
	gzip    bool
	log     *zap.Logger
	metrics *Metrics
}

// Start implements otlptrace.Client.
func (c *collector) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *collector) Stop(context.Context) error { return nil }

// UploadTraces implements otlptrace.Client. What failed is logged here and counted,
// and told to nobody else: the SDK would print it.
func (c *collector) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	n := 0
	for _, of := range spans {
		for _, scope := range of.ScopeSpans {
			n += len(scope.Spans)
		}
	}
	if err := c.upload(ctx, spans); err != nil {
		c.metrics.spans.lost.Add(float64(n))
		c.log.Warn("spans are lost", zap.Int("spans", n), zap.Error(err))
		return nil // see above
	}
	c.metrics.spans.sent.Add(float64(n))
	return nil
}

func (c *collector) upload(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// On the wire, TracesData is ExportTraceServiceRequest.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err == nil && c.gzip {
		body, err = zipped(body)
	}
	if err != nil {
		return err
	}
	for wait := time.Second; ; wait *= 2 {
		after, err := c.post(ctx, body)
		var again *againError
		if !errors.As(err, &again) {
			return err
		}
		timer := time.NewTimer(max(after, wait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

func zipped(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	err := w.Close()
	return b.Bytes(), err
}

// againError is a failure that may pass.
type againError struct{ error }

// post posts once. It returns how long the collector asks to wait.
func (c *collector) post(ctx context.Context, body []byte) (after time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("User-Agent", "amlproxy")
	if c.gzip {
		r.Header.Set("Content-Encoding", "gzip")
	}
	for _, h := range c.headers {
		r.Header.Set(h.Name, h.Value.Reveal())
	}
	answer, err := c.client.Do(r)
	if err != nil {
		return 0, &againError{err}
	}
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10)
	_ = answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.ParseUint(answer.Header.Get("Retry-After"), 10, 16)
		return time.Duration(seconds) * time.Second, &againError{fmt.Errorf("the collector answered %d", answer.StatusCode)}
	}
	if answer.StatusCode/100 != 2 {
		return 0, fmt.Errorf("the collector answered %d", answer.StatusCode)
	}
	return 0, nil
}
