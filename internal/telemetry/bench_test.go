package telemetry_test

import (
	"net/netip"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/internal/telemetry"
	"amlproxy/proxy"
	"amlproxy/upstream"
)

// ordinary is the Record of a request that went well.
func ordinary() proxy.Record {
	return proxy.Record{
		Start: time.Now(), Duration: 42 * time.Millisecond, Began: 41 * time.Millisecond,
		RequestID: "5Q2JDYPX4NT6AMZ3VQWFO7KLHE", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
		Method: "POST", Path: "/models/model", Host: "models.example.com", Proto: "HTTP/1.1", UserAgent: "bench",
		Address: netip.MustParseAddr("192.0.2.7"), Route: "model", Admitted: true,
		Identity: &authn.Identity{Issuer: "https://idp.example", Subject: "alice", Method: authn.ByBearer},
		Status:   200, RequestBytes: 1 << 10, ResponseBytes: 1 << 10, UpstreamStatus: 200, Sends: 1, Kind: upstream.Key,
	}
}

func BenchmarkMetrics(b *testing.B) {
	m, err := telemetry.NewMetrics()
	if err != nil {
		b.Fatal(err)
	}
	m.Watch("model", 0, func() upstream.Status { return upstream.Status{} })
	r := ordinary()
	b.ReportAllocs()
	for b.Loop() {
		m.Record(&r)
	}
}
