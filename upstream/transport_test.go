package upstream_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
)

// An endpoint is a scoring server that accepts one key.
type endpoint struct {
	*httptest.Server
	mu       sync.Mutex
	accepts  string
	requests []seen
}

type seen struct{ method, uri, host, authorization, deployment, body string }

func newEndpoint(t *testing.T, accepts string) *endpoint {
	e := &endpoint{accepts: accepts}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests = append(e.requests, seen{
		r.Method, r.RequestURI, r.Host, r.Header.Get("Authorization"), r.Header.Get("azureml-model-deployment"), string(body),
	})
	if r.Header.Get("Authorization") != "Bearer "+e.accepts {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "key_auth_access_denied")
		return
	}
	_, _ = io.WriteString(w, "scored "+string(body))
}

func (e *endpoint) seen() []seen {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.requests
}

// over returns a Transport over the endpoint at base with a pair of keys.
func over(t *testing.T, base, primary, secondary string) *upstream.Transport {
	t.Helper()
	scoring, err := url.Parse(base + "/api/v1/service/diabetes/score")
	if err != nil {
		t.Fatal(err)
	}
	lease := upstream.Lease{Scoring: scoring, Kind: upstream.Key, Primary: secret.New(primary), Secondary: secret.New(secondary)}
	c := upstream.Cached(upstream.Static(lease), nil)
	base2 := &http.Transport{ExpectContinueTimeout: time.Second}
	t.Cleanup(func() { base2.CloseIdleConnections(); _ = c.Close() })
	return &upstream.Transport{Backends: []upstream.Backend{c}, Base: base2, ReplayLimit: 1 << 10}
}

func post(t *testing.T, rt http.RoundTripper, rest string, body io.Reader) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://upstream"+rest, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer), nil
}

// unsized hides the length of a body.
func unsized(s string) io.Reader { return struct{ io.Reader }{strings.NewReader(s)} }

func TestWhereARestGoes(t *testing.T) {
	e := newEndpoint(t, "p")
	rt := over(t, e.URL, "p", "")
	for rest, want := range map[string]string{
		"":                       "/api/v1/service/diabetes/score",
		"/":                      "/api/v1/service/diabetes/score",
		"/score":                 "/api/v1/service/diabetes/score",
		"/score?verbose=1&a=%3B": "/api/v1/service/diabetes/score?verbose=1&a=%3B",
		"/swagger.json":          "/api/v1/service/diabetes/swagger.json",
		"/v2/a%20b/c?":           "/api/v1/service/diabetes/v2/a%20b/c?",
	} {
		if code, _, err := post(t, rt, rest, nil); err != nil || code != 200 {
			t.Fatalf("%s: %d, %v", rest, code, err)
		}
		got := e.seen()[len(e.seen())-1]
		if got.uri != want || got.host != strings.TrimPrefix(e.URL, "http://") {
			t.Errorf("rest %q went to %s%s, want %s", rest, got.host, got.uri, want)
		}
	}
}

func TestADescriptionOnAnotherHostIsNotAsked(t *testing.T) {
	e, other := newEndpoint(t, "p"), newEndpoint(t, "p")
	scoring, _ := url.Parse(e.URL + "/score")
	description, _ := url.Parse(other.URL + "/elsewhere/swagger.json")
	c := upstream.Cached(upstream.Static(upstream.Lease{Scoring: scoring, Description: description, Kind: upstream.Key, Primary: secret.New("p")}), nil)
	defer c.Close()
	if code, _, err := post(t, &upstream.Transport{Backends: []upstream.Backend{c}}, "/swagger.json", nil); err != nil || code != 200 {
		t.Fatal(code, err)
	}
	if len(other.seen()) != 0 || e.seen()[0].uri != "/swagger.json" {
		t.Errorf("the credential went to the description's host: %+v", other.seen())
	}
}

func TestOneRetryWithTheOtherKey(t *testing.T) {
	big := strings.Repeat("x", 1<<10)
	for name, test := range map[string]struct {
		body io.Reader
		want string
	}{
		"none": {nil, ""}, "known length": {strings.NewReader("rows"), "rows"},
		"unknown length": {unsized("rows"), "rows"}, "at the limit": {unsized(big), big},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t, "s")
			rt := over(t, e.URL, "p", "s")
			var trace upstream.Trace
			req, _ := http.NewRequestWithContext(upstream.WithTrace(t.Context(), &trace), http.MethodPost, "http://upstream/score", test.body)
			resp, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			sent := e.seen()
			if resp.StatusCode != http.StatusOK || len(sent) != 2 || sent[0].body != test.want || string(answer) != "scored "+test.want {
				t.Errorf("%d %q after %+v", resp.StatusCode, answer, sent)
			}
			if trace.Sends != 2 || !trace.Retried || trace.Kind != upstream.Key {
				t.Errorf("trace %+v", trace)
			}
			if req.Header.Get("Authorization") != "" {
				t.Error("the caller's request was changed")
			}
		})
	}
}

func TestNeverAThirdTime(t *testing.T) {
	e := newEndpoint(t, "neither")
	rt := over(t, e.URL, "p", "s")
	for i := 1; i <= 5; i++ {
		_, _, err := post(t, rt, "/score", strings.NewReader("rows"))
		if !errors.Is(err, upstream.ErrRejected) {
			t.Fatal(err)
		}
		if n := len(e.seen()); n > 2*i {
			t.Fatalf("%d requests upstream for %d", n, i)
		}
	}
}

func TestNothingNewMeansNoRetry(t *testing.T) {
	e := newEndpoint(t, "other")
	rt := over(t, e.URL, "p", "")
	if _, _, err := post(t, rt, "/score", nil); !errors.Is(err, upstream.ErrRejected) {
		t.Fatal(err)
	}
	if len(e.seen()) != 1 {
		t.Errorf("sent %d times", len(e.seen()))
	}
}

func TestABodyTooLargeToKeepIsNotSentCut(t *testing.T) {
	e := newEndpoint(t, "s")
	rt := over(t, e.URL, "p", "s")
	large := strings.Repeat("x", 1<<20)
	if _, _, err := post(t, rt, "/score", unsized(large)); !errors.Is(err, upstream.ErrNotReplayable) {
		t.Fatal(err)
	}
	if code, answer, err := post(t, rt, "/score", unsized(large)); err != nil || code != 200 || answer != "scored "+large {
		t.Fatalf("the next request: %d, %d bytes, %v", code, len(answer), err)
	}
}

// raw serves connections with a script, for what net/http's server cannot be made to do.
func raw(t *testing.T, serve func(n int, conn net.Conn, r *http.Request)) (string, *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				b := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(b)
					if err != nil {
						return
					}
					serve(int(n.Add(1)), conn, r)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return "http://" + l.Addr().String(), &n
}

// A large body waits for 100 Continue; a 401 instead leaves it untouched, and it
// is sent, whole, with the other key.
func TestA401BeforeTheBodyLeavesItReplayable(t *testing.T) {
	large := strings.Repeat("x", 8<<20)
	var got atomic.Int64
	base, _ := raw(t, func(n int, conn net.Conn, r *http.Request) {
		if r.Header.Get("Expect") != "100-continue" {
			t.Error("a large body without Expect")
		}
		if n == 1 {
			_, _ = io.WriteString(conn, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			conn.Close()
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		m, _ := io.Copy(io.Discard, r.Body)
		got.Store(m)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	code, _, err := post(t, over(t, base, "p", "s"), "/score", strings.NewReader(large))
	if err != nil || code != 200 || got.Load() != int64(len(large)) {
		t.Errorf("%d, %v, %d bytes arrived", code, err, got.Load())
	}
}

// An upstream that says 100, takes a part and then answers 401, or closes without
// a word: the caller hears that the body cannot be repeated, and the credential
// has been looked into, so the next request goes through.
func TestALargeBodyThatWasBegunIsNotRepeated(t *testing.T) {
	large := strings.Repeat("x", 8<<20)
	for name, refuse := range map[string]func(net.Conn, *http.Request){
		"100 first and then 401": func(conn net.Conn, r *http.Request) {
			_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
			_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
			_, _ = io.WriteString(conn, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			_, _ = io.Copy(io.Discard, r.Body)
		},
		"closes without reading": func(conn net.Conn, r *http.Request) {
			_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
			_, _ = io.CopyN(io.Discard, r.Body, 1<<10)
			conn.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			base, _ := raw(t, func(_ int, conn net.Conn, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer s" {
					refuse(conn, r)
					conn.Close()
					return
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			})
			rt := over(t, base, "p", "s")
			if _, _, err := post(t, rt, "/score", strings.NewReader(large)); !errors.Is(err, upstream.ErrNotReplayable) {
				t.Fatal(err)
			}
			if code, _, err := post(t, rt, "/score", strings.NewReader(large)); err != nil || code != 200 {
				t.Errorf("the next request: %d, %v", code, err)
			}
		})
	}
}

// http.Transport resends what it takes for idempotent. A scoring call is sent
// once: here the endpoint reads the second request of a connection and closes.
func TestARequestThatWasWrittenIsNeverResent(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, header := range []string{"", "Idempotency-Key", "X-Idempotency-Key"} {
			t.Run(method+" "+header, func(t *testing.T) {
				base, n := raw(t, func(n int, conn net.Conn, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					if n == 1 {
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
						return
					}
					conn.Close()
				})
				rt := over(t, base, "p", "s")
				send := func() error {
					var body io.Reader
					if method == http.MethodPost {
						body = strings.NewReader("rows")
					}
					req, _ := http.NewRequestWithContext(t.Context(), method, "http://upstream/score", body)
					if header != "" {
						req.Header.Set(header, "once")
					}
					resp, err := rt.RoundTrip(req)
					if err == nil {
						_, _ = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
					return err
				}
				if err := send(); err != nil {
					t.Fatal(err)
				}
				if err := send(); err == nil {
					t.Error("no error for a connection that was closed before an answer")
				}
				if n.Load() != 2 {
					t.Errorf("the endpoint saw %d requests for 2", n.Load())
				}
			})
		}
	}
}

func TestAnIdempotencyKeyStillReachesTheEndpoint(t *testing.T) {
	var got atomic.Pointer[http.Header]
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { h := r.Header.Clone(); got.Store(&h) }))
	defer s.Close()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://upstream/score", strings.NewReader("x"))
	req.Header.Set("Idempotency-Key", "once")
	resp, err := over(t, s.URL, "p", "s").RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got.Load().Get("Idempotency-Key") != "once" {
		t.Errorf("headers were %v", *got.Load())
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	other := newEndpoint(t, "p")
	s := httptest.NewServer(http.RedirectHandler(other.URL+"/score", http.StatusTemporaryRedirect))
	defer s.Close()
	code, _, err := post(t, over(t, s.URL, "p", "s"), "/score", strings.NewReader("rows"))
	if err != nil || code != http.StatusTemporaryRedirect || len(other.seen()) != 0 {
		t.Errorf("%d, %v; the other host saw %+v", code, err, other.seen())
	}
}

func TestTheCallersOwnCredentialNeverTravels(t *testing.T) {
	e := newEndpoint(t, "")
	scoring, _ := url.Parse(e.URL + "/score")
	c := upstream.Cached(upstream.Static(upstream.Lease{Scoring: scoring, Kind: upstream.None}), nil)
	defer c.Close()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://upstream/score", nil)
	req.Header.Set("Authorization", "Bearer of-the-caller")
	req.Header.Set("azureml-model-deployment", "green")
	if _, err := (&upstream.Transport{Backends: []upstream.Backend{c}}).RoundTrip(req); !errors.Is(err, upstream.ErrRejected) {
		t.Fatal(err) // the endpoint answers 401 without a credential
	}
	if got := e.seen()[0]; got.authorization != "" || got.deployment != "" {
		t.Errorf("the endpoint saw %+v", got)
	}
}

func TestTheCallersBodyFailing(t *testing.T) {
	e := newEndpoint(t, "p")
	rt := over(t, e.URL, "p", "s")
	broken := errors.New("caller hung up")
	for name, length := range map[string]int64{"known": 10, "unknown": -1, "large": 1 << 20} {
		body := io.MultiReader(strings.NewReader("some"), failing{broken})
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://upstream/score", io.NopCloser(body))
		req.ContentLength = length
		if _, err := rt.RoundTrip(req); !errors.Is(err, upstream.ErrRequestBody) || !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestTheCallerLeavingIsItsContextsCause(t *testing.T) {
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(hang)
	left := errors.New("left")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(left) })
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://upstream/score", nil)
	if _, err := over(t, s.URL, "p", "s").RoundTrip(req); !errors.Is(err, left) {
		t.Error(err)
	}
}

// Two rotations within the life of one request: its retry is refused, as it must
// be, but with a key that others were let in with. That is no reason to pause, or
// everybody would be refused for a second.
func TestARefusedRetryOfAProvenKeyDoesNotDelayTheNextFetch(t *testing.T) {
	e := newEndpoint(t, "p1")
	w := &workspace{lease: pair("p1", "s1")}
	w.lease.Scoring, _ = url.Parse(e.URL + "/score")
	c := upstream.Cached(w, nil)
	defer c.Close()
	rt := &upstream.Transport{Backends: []upstream.Backend{c}}
	rotate := func(primary, secondary string) {
		next := pair(primary, secondary)
		next.Scoring = w.lease.Scoring
		w.set(func(w *workspace) { w.lease = next })
		e.mu.Lock()
		e.accepts = primary
		e.mu.Unlock()
	}
	first, err := c.Target(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rotate("p2", "s2")
	retry, err := c.Rejected(t.Context(), first) // a slow request holds p2 now
	if err != nil {
		t.Fatal(err)
	}
	if code, _, err := post(t, rt, "/score", nil); err != nil || code != http.StatusOK {
		t.Fatal(code, err) // p2 is proven
	}
	rotate("p3", "s3")
	if _, err := c.Rejected(t.Context(), retry); !errors.Is(err, upstream.ErrNoReplacement) {
		t.Fatal(err)
	}
	if code, _, err := post(t, rt, "/score", nil); err != nil || code != http.StatusOK {
		t.Errorf("the next request got %d, %v", code, err)
	}
}

func TestAnAddressWithoutAPathStillMakesAPath(t *testing.T) {
	e := newEndpoint(t, "p")
	u, _ := url.Parse(e.URL)
	c := upstream.Cached(upstream.Static(upstream.Lease{Scoring: u, Kind: upstream.Key, Primary: secret.New("p")}), nil)
	defer c.Close()
	rt := &upstream.Transport{Backends: []upstream.Backend{c}}
	for rest, want := range map[string]string{"/score": "/", "/swagger.json": "/swagger.json", "/a/b": "/a/b"} {
		if code, _, err := post(t, rt, rest, nil); err != nil || code != http.StatusOK {
			t.Fatal(rest, code, err)
		}
		if got := e.seen()[len(e.seen())-1].uri; got != want {
			t.Errorf("%s went to %s, want %s", rest, got, want)
		}
	}
}

// A 401 whose body never ends must not hold up the retry.
func TestTheBodyOfA401IsNotWaitedFor(t *testing.T) {
	base, _ := raw(t, func(_ int, conn net.Conn, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer s" {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://upstream/score", strings.NewReader("rows"))
	resp, err := over(t, base, "p", "s").RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// Two hundred bytes on the wire must not reserve two hundred mebibytes.
func TestAnAnnouncedLengthReservesNothing(t *testing.T) {
	e := newEndpoint(t, "p")
	rt := over(t, e.URL, "p", "s")
	rt.ReplayLimit = 1 << 20
	hold := make(chan struct{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://upstream/score", io.NopCloser(waiting{hold}))
			req.ContentLength = 1 << 20
			_, _ = rt.RoundTrip(req) // fails: the body is short
		})
	}
	time.Sleep(100 * time.Millisecond)
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 32<<20 {
		t.Errorf("200 announced bodies hold %d MiB", grown>>20)
	}
	close(hold)
	all.Wait()
}

type waiting struct{ until chan struct{} }

func (w waiting) Read([]byte) (int, error) {
	<-w.until
	return 0, io.EOF
}
