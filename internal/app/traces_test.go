package app_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"amlproxy/upstream/azuremltest"
)

// A collector keeps the spans that it is sent, and every byte.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans map[string]*tracepb.Span // by name
	raw   strings.Builder
	heads strings.Builder
}

func collect(t *testing.T) *collector {
	t.Helper()
	c := &collector{spans: map[string]*tracepb.Span{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw.Write(body)
		_ = r.Header.Write(&c.heads)
		data := new(tracepb.TracesData)
		if err := proto.Unmarshal(body, data); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s %v", r.URL.Path, err)
		}
		for _, of := range data.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				for _, s := range scope.Spans {
					c.spans[s.Name] = s
				}
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) span(t *testing.T, name string) *tracepb.Span {
	t.Helper()
	var s *tracepb.Span
	until(t, "the span "+name, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		s = c.spans[name]
		return s != nil
	})
	return s
}

// caller → proxy → model: the span is the caller's child, and what the model is
// told is the span, in both sends of a request that a rotation hit.
func TestSpansLinkTheCallerAndTheModel(t *testing.T) {
	nothing := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, nothing) }) // behind the collector's end
	defer http.DefaultClient.CloseIdleConnections()
	azure, err := azuremltest.Start(azuremltest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer azure.Close()
	told := make(chan http.Header, 1)
	digits, err := azure.AddService(azuremltest.Service{Name: "digits", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { told <- r.Header; _, _ = io.Copy(w, r.Body) })})
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, azure.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	spans := collect(t)
	r := run(t, append(azure.Environ(), "AMLPROXY_CA_FILE="+ca,
		"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_SERVICE=digits", "AMLPROXY_ROUTES_0_PUBLIC=true",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+spans.URL, "OTEL_EXPORTER_OTLP_HEADERS=x-tenant=ml"))
	call := func(traceparent string) http.Header {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/models/m", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Traceparent", traceparent)
		req.Header.Set("Tracestate", "vendor=1")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
		return <-told
	}
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	unsampled := call("00-" + trace + "-" + parent + "-00")
	if got := unsampled.Get("Traceparent"); !strings.HasPrefix(got, "00-"+trace+"-") || !strings.HasSuffix(got, "-00") || strings.Contains(got, parent) {
		t.Errorf("unsampled: %s", got)
	}
	digits.RegenerateKey(azuremltest.Primary)
	digits.RegenerateKey(azuremltest.Secondary)
	header := call("00-" + trace + "-" + parent + "-01")
	r.stop() // and what is left is sent
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	s := spans.span(t, "GET m")
	if got := fmt.Sprintf("00-%x-%x-01", s.TraceId, s.SpanId); header.Get("Traceparent") != got || header.Get("Tracestate") != "vendor=1" {
		t.Errorf("the model was told of %s, the span is %s", header.Get("Traceparent"), got)
	}
	if fmt.Sprintf("%x %x", s.TraceId, s.ParentSpanId) != trace+" "+parent || s.TraceState != "vendor=1" {
		t.Errorf("%v", s)
	}
	if len(s.Events) != 2 || !strings.HasPrefix(s.Events[0].Name, "sent again") || s.Events[0].TimeUnixNano > s.Events[1].TimeUnixNano ||
		s.Events[1].TimeUnixNano > s.EndTimeUnixNano || s.Events[0].TimeUnixNano < s.StartTimeUnixNano {
		t.Errorf("%v", s.Events)
	}
	if len(spans.spans) != 1 || !strings.Contains(spans.heads.String(), "X-Tenant: ml") {
		t.Errorf("%d spans, sent with %s", len(spans.spans), spans.heads.String())
	}
}
