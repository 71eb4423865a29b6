package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"amlproxy/proxy"
)

// TestHTTP2BodyIsBoundedAndNotCut: deadlines there are of a stream, and final.
func TestHTTP2BodyIsBoundedAndNotCut(t *testing.T) {
	p, err := proxy.New(proxy.Config{
		Record: func(*proxy.Record) {}, ReadTimeout: 100 * time.Millisecond, BodyTimeout: 400 * time.Millisecond,
		Routes: []proxy.Route{{Name: "m", Public: true, Transport: model(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(p)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	tick := time.NewTicker(50 * time.Millisecond)
	t.Cleanup(tick.Stop)
	for _, c := range []struct {
		path        string
		parts, want int
	}{{"/nope", 1000, http.StatusNotFound}, {"/models/m", 1000, http.StatusRequestTimeout}, {"/models/m", 5, http.StatusOK}} {
		in, out := io.Pipe()
		go func() {
			for range c.parts {
				<-tick.C
				if _, err := out.Write([]byte("a")); err != nil {
					return
				}
			}
			_ = out.Close()
		}()
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+c.path, in)
		r.ContentLength = int64(c.parts)
		res, err := s.Client().Do(r)
		if err != nil || res.ProtoMajor != 2 || res.StatusCode != c.want {
			t.Fatalf("%s, %d parts: %v %v", c.path, c.parts, res, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		_ = in.Close()
	}
}
