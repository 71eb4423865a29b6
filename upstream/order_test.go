package upstream_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
)

// at returns a backend with one key for the endpoint at base.
func at(t *testing.T, base, key string) upstream.Backend {
	t.Helper()
	scoring, err := url.Parse(base + "/score")
	if err != nil {
		t.Fatal(err)
	}
	c := upstream.Cached(upstream.Static(upstream.Lease{Scoring: scoring, Kind: upstream.Key, Primary: secret.New(key)}), nil)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// nowhere is an address that refuses connections.
func nowhere(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func TestTheNextBackendIsCalledWithItsOwnKey(t *testing.T) {
	for name, body := range map[string]func() io.Reader{
		"kept": func() io.Reader { return strings.NewReader("rows") }, "streamed": func() io.Reader { return unsized("rows") },
		"large": func() io.Reader { return strings.NewReader(strings.Repeat("x", 2<<20)) },
	} {
		t.Run(name, func(t *testing.T) {
			second := newEndpoint(t, "s")
			rt := &upstream.Transport{Backends: []upstream.Backend{at(t, nowhere(t), "f"), at(t, second.URL, "s")}, ReplayLimit: 1 << 20}
			want, _ := io.ReadAll(body())
			code, answer, err := post(t, rt, "/score", body())
			if err != nil || code != http.StatusOK || answer != "scored "+string(want) {
				t.Fatalf("%d, %d bytes, %v", code, len(answer), err)
			}
			if got := second.seen(); len(got) != 1 || got[0].authorization != "Bearer s" {
				t.Errorf("the second saw %d requests", len(got))
			}
		})
	}
}

func TestABackendWithoutACredentialIsPassedOver(t *testing.T) {
	second := newEndpoint(t, "s")
	down := upstream.Cached(&workspace{err: errors.New("region down")}, nil)
	defer down.Close()
	rt := &upstream.Transport{Backends: []upstream.Backend{down, at(t, second.URL, "s")}}
	if code, _, err := post(t, rt, "/score", nil); err != nil || code != http.StatusOK {
		t.Fatal(code, err)
	}
}

// Whatever a backend answers is its answer, and a connection that came about and
// broke is no reason to score twice.
func TestOnlyAFailedDialTakesTheNextBackend(t *testing.T) {
	second := newEndpoint(t, "s")
	refusing := newEndpoint(t, "another key")
	closing, _ := raw(t, func(_ int, conn net.Conn, _ *http.Request) { conn.Close() })
	busy, _ := raw(t, func(_ int, conn net.Conn, _ *http.Request) {
		_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	})
	for name, first := range map[string]string{"401": refusing.URL, "closes": closing, "503": busy} {
		t.Run(name, func(t *testing.T) {
			rt := &upstream.Transport{
				Backends: []upstream.Backend{at(t, first, "f"), at(t, second.URL, "s")},
				Base:     &http.Transport{DisableKeepAlives: true},
			}
			code, _, err := post(t, rt, "/score", strings.NewReader("rows"))
			if err == nil && code == http.StatusOK {
				t.Error("the second backend answered")
			}
			if len(second.seen()) != 0 {
				t.Error("the request was sent to both")
			}
		})
	}
}

func TestAnUnreachableBackendIsNotDialledByEveryRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := map[string]int{}
		base := roundTrip(func(r *http.Request) (*http.Response, error) {
			dials[r.URL.Host]++
			if r.URL.Host == "first.example" {
				return nil, &net.OpError{Op: "dial", Err: errors.New("timed out")}
			}
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})
		rt := &upstream.Transport{Backends: []upstream.Backend{at(t, "http://first.example", "f"), at(t, "http://second.example", "s")}, Base: base}
		for range 100 {
			if code, _, err := post(t, rt, "/score", nil); err != nil || code != http.StatusOK {
				t.Fatal(code, err)
			}
		}
		if dials["first.example"] != 1 || dials["second.example"] != 100 {
			t.Errorf("dials: %v", dials)
		}
		time.Sleep(11 * time.Second)
		if _, _, err := post(t, rt, "/score", nil); err != nil {
			t.Fatal(err)
		}
		if dials["first.example"] != 2 {
			t.Errorf("not tried again after the pause: %v", dials)
		}
	})
}

func TestWithEveryBackendDownTheLastErrorIsTold(t *testing.T) {
	rt := &upstream.Transport{Backends: []upstream.Backend{at(t, nowhere(t), "f"), at(t, nowhere(t), "s")}}
	for range 3 {
		if _, _, err := post(t, rt, "/score", nil); err == nil || errors.Is(err, upstream.ErrNoCredential) {
			t.Error(err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// One region hangs before it has said anything; the other has a credential.
func TestABackendThatStillWaitsIsNotWaitedForWhenAnotherIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := upstream.Cached(&workspace{delay: time.Hour}, nil)
		defer hung.Close()
		hung.Warm()
		ready := upstream.Cached(&workspace{lease: pair("B", "")}, nil)
		defer ready.Close()
		ready.Warm()
		synctest.Wait()
		rt := &upstream.Transport{Backends: []upstream.Backend{hung, ready}, Base: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})}
		for range 6 {
			begun := time.Now()
			if _, _, err := post(t, rt, "/score", nil); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(begun); waited != 0 {
				t.Errorf("a request waited %v", waited)
			}
			time.Sleep(11 * time.Second)
		}
	})
}
