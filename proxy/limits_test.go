package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"amlproxy/internal/soak"
	"amlproxy/proxy"
)

func TestRateLimitIsPerCaller(t *testing.T) {
	transport := model(t, func(http.ResponseWriter, *http.Request) {})
	limit := func(by proxy.LimitBy) *proxy.RateLimit {
		return &proxy.RateLimit{Requests: 1, Per: time.Hour, Burst: 2, By: by}
	}
	for _, c := range []struct {
		by     proxy.LimitBy
		second string // who asks when alice's bucket is empty
		status int
	}{{"", "bob", 200}, {proxy.ByUser, "bob", 200}, {proxy.ByClient, "batch", 200}, {proxy.ByClient, "bob", 200}, {proxy.ByRoute, "bob", 429}, {proxy.ByAddress, "bob", 429}} {
		h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Transport: transport, RateLimit: limit(c.by)}}})
		for i, want := range []int{200, 200, 429, 429} {
			a := h.ask(t, "GET", "/models/m", "", "Authorization: Bearer alice")
			if a.status != want {
				t.Errorf("by %q: request %d: %d, want %d", c.by, i, a.status, want)
			}
			if seconds, _ := strconv.Atoi(a.Header.Get("Retry-After")); want == 429 && (seconds < 3500 || seconds > 3600 || a.problem(t)["type"] != "rate-limited") {
				t.Errorf("by %q: Retry-After %q %s", c.by, a.Header.Get("Retry-After"), a.body)
			}
		}
		if a := h.ask(t, "GET", "/models/m", "", "Authorization: Bearer "+c.second); a.status != c.status {
			t.Errorf("by %q: %s gets %d, want %d", c.by, c.second, a.status, c.status)
		}
	}
}

func TestRateLimitOfAPublicRouteIsPerAddress(t *testing.T) {
	h := open(t, proxy.Config{TrustedProxies: nil, Routes: []proxy.Route{{
		Name: "m", Public: true, Transport: model(t, func(http.ResponseWriter, *http.Request) {}),
		RateLimit: &proxy.RateLimit{Requests: 1, Per: time.Hour},
	}}})
	for i, want := range []int{200, 429, 429} { // a forged address makes no new caller
		if a := h.ask(t, "GET", "/models/m", "", fmt.Sprintf("X-Forwarded-For: 203.0.113.%d", i), "Cookie: amlproxy=alice"); a.status != want {
			t.Errorf("request %d: %d, want %d", i, a.status, want)
		}
	}
}

func TestConcurrencyIsLimitedAndGivenBack(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, MaxConcurrent: 1, Transport: model(t, func(http.ResponseWriter, *http.Request) {
		inside <- struct{}{}
		<-leave
	})}}})
	for range 3 {
		done := make(chan int)
		go func() { done <- h.ask(t, "GET", "/models/m", "").status }()
		<-inside
		if a := h.ask(t, "GET", "/models/m", ""); a.status != 429 || a.Header.Get("Retry-After") != "1" || a.problem(t)["type"] != "too-many-at-once" {
			t.Errorf("%d %s", a.status, a.body)
		}
		leave <- struct{}{}
		if status := <-done; status != 200 {
			t.Errorf("the first: %d", status)
		}
	}
}

func TestIPv6SubscriberHasOneBucket(t *testing.T) {
	h := open(t, proxy.Config{TrustedProxies: []netip.Prefix{prefix("127.0.0.1/32")}, Routes: []proxy.Route{{
		Name: "m", Public: true, Transport: model(t, func(http.ResponseWriter, *http.Request) {}),
		RateLimit: &proxy.RateLimit{Requests: 1, Per: time.Hour, By: proxy.ByAddress},
	}}})
	for _, c := range []struct {
		address string
		status  int
	}{{"2001:db8::1", 200}, {"2001:db8::ffff:2", 429}, {"2001:db8:0:1::1", 200}, {"192.0.2.1", 200}, {"::ffff:192.0.2.1", 429}, {"192.0.2.2", 200}} {
		if a := h.ask(t, "GET", "/models/m", "", "X-Forwarded-For: "+c.address); a.status != c.status {
			t.Errorf("%s: %d, want %d", c.address, a.status, c.status)
		}
	}
}

// openWith is open for who wants to change the routes later.
func openWith(t *testing.T, c proxy.Config) (*house, *proxy.Proxy) {
	t.Helper()
	h := open(t, c)
	p, ok := h.Config.Handler.(*proxy.Proxy)
	if !ok {
		t.Fatal("the handler is no Proxy")
	}
	return h, p
}

func TestAReloadDoesNotFillBuckets(t *testing.T) {
	transport := model(t, func(http.ResponseWriter, *http.Request) {})
	routes := func(burst int) []proxy.Route {
		return []proxy.Route{{Name: "m", Public: true, Transport: transport, RateLimit: &proxy.RateLimit{Requests: 1, Per: time.Hour, Burst: burst}}}
	}
	h, p := openWith(t, proxy.Config{Routes: routes(2)})
	ask := func(what string, want ...int) {
		t.Helper()
		for _, status := range want {
			if a := h.ask(t, "GET", "/models/m", ""); a.status != status {
				t.Errorf("%s: %d, want %d", what, a.status, status)
			}
		}
	}
	ask("at first", 200)
	for range 3 {
		if err := p.SetRoutes(routes(2)); err != nil {
			t.Fatal(err)
		}
	}
	ask("the same limit again", 200, 429)
	if err := p.SetRoutes(routes(1)); err != nil {
		t.Fatal(err)
	}
	ask("another limit", 200, 429)
	if err := p.SetRoutes([]proxy.Route{{Name: "m", Public: true, Transport: transport}}); err != nil {
		t.Fatal(err)
	}
	ask("none", 200, 200)
}

func TestAReloadForgetsNoRunningRequest(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	routes := []proxy.Route{{Name: "m", Public: true, MaxConcurrent: 1, Transport: model(t, func(http.ResponseWriter, *http.Request) {
		inside <- struct{}{}
		<-leave
	})}}
	h, p := openWith(t, proxy.Config{Routes: routes})
	done := make(chan int)
	go func() { done <- h.ask(t, "GET", "/models/m", "").status }()
	<-inside
	if err := p.SetRoutes(routes); err != nil {
		t.Fatal(err)
	}
	if a := h.ask(t, "GET", "/models/m", ""); a.status != 429 {
		t.Errorf("a second one after a reload: %d", a.status)
	}
	close(leave)
	if status := <-done; status != 200 {
		t.Errorf("the first: %d", status)
	}
	go func() { done <- h.ask(t, "GET", "/models/m", "").status }()
	<-inside
	if status := <-done; status != 200 {
		t.Errorf("after it: %d", status)
	}
}

// counter is a Limiter that other replicas may take from.
type counter struct {
	mu   sync.Mutex
	fail error
	wait time.Duration
	keys map[string]int
}

func (c *counter) Take(_ context.Context, key string, limit proxy.RateLimit) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if limit.Requests == 0 || limit.Per == 0 || limit.Burst == 0 || limit.By == "" {
		return 0, fmt.Errorf("not complete: %+v", limit)
	}
	if c.fail != nil {
		return 0, c.fail
	}
	c.keys[key]++
	return c.wait, nil
}

func TestASharedLimitCountsUntilItFails(t *testing.T) {
	shared := &counter{keys: map[string]int{}}
	h := open(t, proxy.Config{Limiter: shared, Routes: []proxy.Route{
		{Name: "m", Transport: model(t, func(http.ResponseWriter, *http.Request) {}), RateLimit: &proxy.RateLimit{Requests: 1, Per: time.Hour}},
	}})
	ask := func(want ...int) answer {
		t.Helper()
		var a answer
		for _, status := range want {
			if a = h.ask(t, "GET", "/models/m", "", "Authorization: Bearer alice"); a.status != status {
				t.Errorf("%d, want %d", a.status, status)
			}
		}
		return a
	}
	ask(200, 200, 200)
	shared.wait = 1200 * time.Millisecond
	if got := ask(429).Header.Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After: %s, want it rounded up", got)
	}
	shared.fail = io.ErrUnexpectedEOF
	ask(200, 429)
	shared.fail, shared.wait = nil, 0
	ask(200, 200)
	if len(shared.keys) != 1 {
		t.Errorf("one caller has %d keys", len(shared.keys))
	}
	for key := range shared.keys {
		if strings.Contains(key, "a1") || len(key) != 22 {
			t.Errorf("the key %q tells who it is", key)
		}
	}
}

// TestACrowdCannotFillTheMemory: what 100,000 addresses leave behind is bounded,
// and reached after 10,000.
func TestACrowdCannotFillTheMemory(t *testing.T) {
	const most = 8 << 20
	crowd := 12_000
	if soak.On() {
		crowd = 100_000
	}
	p, err := proxy.New(proxy.Config{
		Record: func(*proxy.Record) {}, TrustedProxies: []netip.Prefix{prefix("192.0.2.1/32")},
		Routes: []proxy.Route{{Name: "m", Public: true, Transport: nobody{}, RateLimit: &proxy.RateLimit{Requests: 1, Per: time.Hour, By: proxy.ByAddress}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	for i := range crowd {
		r := httptest.NewRequest(http.MethodGet, "/models/m", http.NoBody) // from 192.0.2.1
		r.Header.Set("X-Forwarded-For", netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String())
		w := httptest.NewRecorder()
		if p.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Fatalf("address %d: %d", i, w.Code)
		}
	}
	grown := int64(heap()) - int64(before)
	if grown > most {
		t.Errorf("%d bytes, want at most %d", grown, most)
	}
	soak.Note(t, "F34", fmt.Sprintf("a rate limit and callers from %d addresses", crowd), "at most 8 MiB are kept", fmt.Sprintf("%d KiB", grown>>10))
	runtime.KeepAlive(p)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// nobody is a model that needs no network.
type nobody struct{}

func (nobody) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}
