package config_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"amlproxy/internal/config"
)

func TestTracingIsWhatOpenTelemetrySays(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		want    string // the endpoint; empty: none
		warns   string
	}{
		"nothing":            {nil, "", ""},
		"empty is none":      {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT="}, "", ""},
		"of all signals":     {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"}, "http://127.0.0.1:4318/v1/traces", ""},
		"below a path":       {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://c.example/otlp/"}, "https://c.example/otlp/v1/traces", ""},
		"of traces":          {[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://c.example/in", "OTEL_EXPORTER_OTLP_ENDPOINT=https://other.example"}, "https://c.example/in", ""},
		"of traces, no path": {[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://c.example"}, "https://c.example/", ""},
		"disabled":           {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://c.example", "OTEL_SDK_DISABLED=TRUE"}, "", ""},
		"no exporter":        {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://c.example", "OTEL_TRACES_EXPORTER=none"}, "", ""},
		"otlp":               {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://c.example", "OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"}, "https://c.example/v1/traces", ""},
		"another exporter":   {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://c.example", "OTEL_TRACES_EXPORTER=zipkin"}, "", "OTEL_TRACES_EXPORTER"},
		"another protocol":   {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://c.example", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, "", "OTEL_EXPORTER_OTLP_PROTOCOL"},
		"in the clear":       {[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://c.example"}, "http://c.example/v1/traces", "OTEL_EXPORTER_OTLP_ENDPOINT"},
	} {
		s, err := config.Load(oneRoute(c.environ...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := ""
		if s.Tracing.Endpoint != nil {
			got = s.Tracing.Endpoint.String()
		}
		warned := slices.ContainsFunc(s.Warnings, func(w string) bool { return c.warns != "" && strings.Contains(w, c.warns) })
		if got != c.want || warned != (c.warns != "") {
			t.Errorf("%s: %q, warnings %q", name, got, s.Warnings)
		}
	}
}

func TestTracingsOptions(t *testing.T) {
	s, err := config.Load(oneRoute(
		"OTEL_EXPORTER_OTLP_ENDPOINT=https://c.example", "OTEL_EXPORTER_OTLP_TIMEOUT=2500", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
		"OTEL_EXPORTER_OTLP_HEADERS=authorization=Basic%20Y2FuYXJ5, x-tenant = ml", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE=/ca.pem",
		"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=/c.pem", "OTEL_EXPORTER_OTLP_CLIENT_KEY=/k.pem"))
	if err != nil {
		t.Fatal(err)
	}
	got := s.Tracing
	if got.Timeout != 2500*time.Millisecond || !got.Gzip || got.CAFile != "/ca.pem" || got.CertFile != "/c.pem" || got.KeyFile != "/k.pem" ||
		len(got.Headers) != 2 || got.Headers[0].Name != "authorization" || got.Headers[0].Value.Reveal() != "Basic Y2FuYXJ5" ||
		got.Headers[1].Name != "x-tenant" || got.Headers[1].Value.Reveal() != "ml" {
		t.Errorf("%+v", got)
	}
}

func TestTracingsMistakesPrintNoSecret(t *testing.T) {
	for _, wrong := range []string{
		"OTEL_EXPORTER_OTLP_HEADERS=canary", "OTEL_EXPORTER_OTLP_HEADERS=a=%zzcanary", "OTEL_EXPORTER_OTLP_HEADERS=a b=canary",
		"OTEL_EXPORTER_OTLP_HEADERS=a=canary%0a", "OTEL_EXPORTER_OTLP_TIMEOUT=10s", "OTEL_EXPORTER_OTLP_COMPRESSION=zip",
		"OTEL_EXPORTER_OTLP_CLIENT_KEY=/k.pem", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://u:canary@c.example", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=c.example:4318",
	} {
		name, _, _ := strings.Cut(wrong, "=")
		_, err := config.Load(oneRoute("OTEL_EXPORTER_OTLP_ENDPOINT=https://c.example", wrong))
		if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), strings.TrimSuffix(name, "KEY")) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}
