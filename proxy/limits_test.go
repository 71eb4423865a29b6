package proxy_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

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
