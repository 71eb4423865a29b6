package telemetry_test

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/internal/secret"
	"amlproxy/proxy"
	"amlproxy/upstream"
)

// seriesOf counts all series, those of other people's collectors included.
func seriesOf(t *testing.T, url string) int {
	t.Helper()
	n := 0
	for line := range strings.Lines(fetch(t, url)) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n
}

// Everything that a caller can choose is another each time; what the proxy
// chooses takes all its values, and one route that is in no settings.
func TestTenThousandHostileRecordsAddNoSeries(t *testing.T) {
	m, address := newMetrics(t, "digits", "iris")
	routes, problems := []string{"digits", "iris", "", "not-in-the-settings"}, []string{"", "not-found", "credential-rejected"}
	for i, route := range routes {
		for _, problem := range problems {
			m.Record(&proxy.Record{Route: route, Status: 100 * i, Problem: problem})
		}
	}
	before := seriesOf(t, address)
	for i := range 10_000 {
		hostile := rand.Text() + "\"} 1\namlproxy_forged{a=\"\xff\x00"
		m.Record(&proxy.Record{
			Method: hostile, Path: hostile, Host: hostile, Proto: hostile, UserAgent: hostile, RequestID: hostile, TraceParent: hostile,
			Address: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), UpstreamRequestID: hostile, Kind: upstream.Kind(hostile),
			Identity: &authn.Identity{Issuer: hostile, Subject: hostile, Client: hostile, Name: hostile, Groups: []string{hostile}},
			Route:    routes[i%len(routes)], Endpoint: hostile, Status: i - 1000, UpstreamStatus: i, Retried: i%2 == 0, Sends: i,
			Problem: problems[i%len(problems)], Err: errors.New(hostile), Duration: time.Duration(i) * time.Second,
		})
	}
	m.Record(&proxy.Record{Route: rand.Text(), Status: 200})
	if after := seriesOf(t, address); after != before {
		t.Errorf("%d series, %d before", after, before)
	}
	if text := fetch(t, address); strings.Contains(text, "forged") || strings.Contains(text, "not-in-the-settings") {
		t.Error("a caller's text is in the metrics")
	}
}

// The same through a real proxy, 10,000 requests from raw connections: whatever is
// sent, the Records that come of it add nothing (CVE-2023-45142: a series for each
// method that somebody thinks of).
func TestHostileRequestsAddNoSeries(t *testing.T) {
	m, address := newMetrics(t, "digits")
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	defer model.Close()
	front := front(t, m, model.URL)

	send := func(unlike string) {
		for _, request := range []string{
			"%[1]s /models/digits HTTP/1.1\r\nHost: x\r\n\r\n",
			"GET /%[1]s HTTP/1.1\r\nHost: x\r\n\r\n",
			"GET /models/digits/%[1]s?%[1]s HTTP/1.1\r\nHost: %[1]s.example\r\nUser-Agent: %[1]s\r\nX-Request-Id: %[1]s\r\n\r\n",
			"GET /models/%[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n",
			"GET /oauth2/%[1]s HTTP/1.1\r\nHost: x\r\n\r\n",
			"GET /livez/..%%2f%[1]s HTTP/1.1\r\nHost: x\r\n\r\n",
			"POST /models/digits HTTP/1.1\r\nHost: x\r\nOrigin: https://%[1]s.example\r\nContent-Length: 2\r\n\r\n{}",
			"OPTIONS /models/digits HTTP/1.1\r\nHost: x\r\nOrigin: https://%[1]s.example\r\nAccess-Control-Request-Method: %[1]s\r\n\r\n",
			"GET /livez HTTP/1.1\r\nHost: %[1]s:\"\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %[1]s\r\nCookie: amlproxy=%[1]s\r\n\r\n",
		} {
			raw(t, front, fmt.Sprintf(request, unlike))
		}
	}
	send("first")
	before := seriesOf(t, address)
	for range 1000 {
		send(rand.Text())
	}
	if after := seriesOf(t, address); after != before {
		t.Errorf("%d series, %d before", after, before)
	}
	if got := scrape(t, address)[`amlproxy_requests_total{code="2xx",route="digits"}`]; got < 1001 {
		t.Errorf("%v requests reached the model, want one of each kind", got)
	}
}

// front returns the address of a proxy with one public route to model.
func front(t *testing.T, record interface{ Record(*proxy.Record) }, model string) string {
	t.Helper()
	scoring, err := url.Parse(model + "/score")
	if err != nil {
		t.Fatal(err)
	}
	backend := upstream.Cached(upstream.Static(upstream.Lease{Scoring: scoring, Kind: upstream.Key, Primary: secret.New("key")}), nil)
	t.Cleanup(func() { _ = backend.Close() })
	p, err := proxy.New(proxy.Config{
		Authenticator: nobody{}, Record: record.Record,
		Routes: []proxy.Route{{
			Name: "digits", Path: "/models/digits", Public: true, Methods: []string{"GET", "POST"}, Paths: []string{"score"},
			CORS: &proxy.CORS{Origins: []string{"https://app.example.com"}}, MaxBody: 1 << 20, Timeout: time.Minute,
			Transport: &upstream.Transport{Backends: []upstream.Backend{backend}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

type nobody struct{}

func (nobody) Authenticate(http.Header, *http.Request) (*authn.Identity, error) {
	return nil, &authn.Error{Kind: authn.ErrNone}
}

// raw sends request on a connection of its own and waits for the answer's end,
// by when its Record was made: a Record comes before the connection is reused.
func raw(t *testing.T, address, request string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, strings.Replace(request, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, bufio.NewReader(c)); err != nil {
		t.Error(err)
	}
}

// Records, Events, new routes and scrapes come at the same time.
func TestEverythingAtOnce(t *testing.T) {
	m, address := newMetrics(t)
	var all sync.WaitGroup
	for i := range 8 {
		route := fmt.Sprintf("route-%d", i)
		all.Go(func() {
			m.Watch(route, 0, func() upstream.Status { return upstream.Status{Usable: true} })
			event := m.Event(route, 0)
			for range 100 {
				m.Record(&proxy.Record{Route: route, Status: 200, Retried: true})
				event(upstream.Event{Cause: upstream.CauseDue})
			}
		})
		all.Go(func() { fetch(t, address) })
	}
	all.Wait()
	got := scrape(t, address)
	for i := range 8 {
		series := fmt.Sprintf(`amlproxy_requests_total{code="2xx",route="route-%d"}`, i)
		if got[series] != 100 {
			t.Errorf("%s is %v", series, got[series])
		}
	}
}

// What is secret is in nothing that metrics are made of, but for errors, which
// quote what others wrote: they are counted and never shown.
func TestNoSecretIsInAMetric(t *testing.T) {
	const canary = "canary-7c1d"
	m, address := newMetrics(t)
	m.Watch("digits", 0, func() upstream.Status {
		return upstream.Status{Kind: upstream.Key, Usable: true, Err: errors.New(canary), Fetched: time.Now()}
	})
	m.Event("digits", 0)(upstream.Event{Cause: upstream.CauseDue, Err: errors.New(canary)})
	m.Record(&proxy.Record{Route: "digits", Status: 502, Problem: "credential-rejected", Err: errors.New(canary), Path: canary, UserAgent: canary})
	accepts := []string{"text/plain", "application/openmetrics-text", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"}
	for _, accept := range slices.Concat(accepts, []string{"*/*;escaping=" + canary}) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", accept)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "amlproxy_requests_total") {
			t.Fatalf("%s: %d %v", accept, resp.StatusCode, err)
		}
		if strings.Contains(string(body), canary) {
			t.Errorf("%s: the canary is in it", accept)
		}
	}
}
