package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"amlproxy/internal/config"
	"amlproxy/internal/telemetry"
)

// newTraces returns what sends spans, nil if the settings name no collector.
func newTraces(s *config.Settings, pool *x509.CertPool, version string, metrics *telemetry.Metrics, log *zap.Logger) (*telemetry.Traces, error) {
	to := s.Tracing
	if to.Endpoint == nil {
		return nil, nil //nolint:nilnil // nobody is told
	}
	client, err := toCollector(to, pool)
	if err != nil {
		return nil, err
	}
	cfg := telemetry.TracesConfig{
		Endpoint: to.Endpoint, Client: client, Timeout: to.Timeout, Gzip: to.Gzip, Version: version, Metrics: metrics, Log: log,
	}
	for _, h := range to.Headers {
		cfg.Headers = append(cfg.Headers, telemetry.Header(h))
	}
	return telemetry.NewTraces(cfg)
}

// toCollector returns the client for the collector, with the roots and the
// certificate that are for it alone.
func toCollector(to config.Tracing, pool *x509.CertPool) (*http.Client, error) {
	if to.CAFile != "" {
		var err error
		if pool, err = roots(to.CAFile); err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
	}
	transport := outgoing(pool)
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 2, 2
	if to.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(to.CertFile, to.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: %w", err)
		}
		transport.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: transport}, nil
}

func (a *App) startTraces() {
	if a.traces != nil {
		a.traces.Start()
	}
}

// closeTraces sends the spans that are left, for as long as the drain may still
// take, or a second.
func (a *App) closeTraces(ctx context.Context) {
	if a.traces == nil {
		return
	}
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
	}
	if err := a.traces.Close(ctx); err != nil {
		a.log.Warn("the last spans were not sent", zap.Error(err))
	}
}
