package upstream_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"testing"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
)

// instant is an endpoint that answers in no time.
type instant struct{}

func (instant) RoundTrip(r *http.Request) (*http.Response, error) {
	_, err := io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, err
}

// BenchmarkTransport sends 1 KiB, and 100 KiB, with a key that is held.
func BenchmarkTransport(b *testing.B) {
	b.Run("1 KiB", func(b *testing.B) { benchmarkTransport(b, 1<<10) })
	b.Run("100 KiB", func(b *testing.B) { benchmarkTransport(b, 100<<10) })
}

func benchmarkTransport(b *testing.B, size int) {
	scoring, err := url.Parse("http://127.0.0.1:5001/score")
	if err != nil {
		b.Fatal(err)
	}
	cache := upstream.Cached(upstream.Static(upstream.Lease{Scoring: scoring, Kind: upstream.Key, Primary: secret.New("the key")}), nil)
	defer cache.Close()
	t := &upstream.Transport{Backends: []upstream.Backend{cache}, Base: instant{}, ReplayLimit: 1 << 20}
	body := bytes.Repeat([]byte("1"), size)
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://upstream/score", http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.ContentLength = int64(len(body))
	b.ReportAllocs()
	for b.Loop() {
		req.Body = io.NopCloser(bytes.NewReader(body))
		if _, err := t.RoundTrip(req); err != nil {
			b.Fatal(err)
		}
	}
}
