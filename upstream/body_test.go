package upstream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
)

// The sizes are those at which a body is held in another way, and their neighbours.
func TestARetrySendsTheSameBytes(t *testing.T) {
	for _, size := range []int{16<<10 - 1, 16 << 10, 16<<10 + 1, 32 << 10, 32<<10 + 1, page, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3<<20 + 5} {
		e := newEndpoint(t, "s")
		rt := over(t, e.URL, "p", "s")
		rt.ReplayLimit = 4 << 20
		want := string(letter(uint32(size), size))
		code, answer, err := post(t, rt, "/score", bytes.NewReader([]byte(want)))
		if err != nil || code != http.StatusOK || answer != "scored "+want {
			t.Fatalf("%d bytes: %d, %d bytes of an answer, %v", size, code, len(answer), err)
		}
		if sent := e.seen(); len(sent) != 2 || sent[0].body != want || sent[1].body != want {
			t.Errorf("%d bytes were sent as something else, or %d times", size, len(sent))
		}
	}
}

// A mortal connection can be made to fail before it writes, as one does that the
// endpoint has closed meanwhile.
type mortal struct {
	net.Conn
	dies func() bool
}

func (m *mortal) Write(p []byte) (int, error) {
	if m.dies() {
		_ = m.Conn.Close()
		return 0, errors.New("closed meanwhile")
	}
	return m.Conn.Write(p)
}

// dialing makes rt's connections mortal, and returns how often a body was rewound.
func dialing(rt *upstream.Transport, dies func() bool) *atomic.Int64 {
	under := rt.Base.(*http.Transport)
	under.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return &mortal{conn, dies}, err
	}
	rewound := new(atomic.Int64)
	rt.Base = base(func(r *http.Request) (*http.Response, error) {
		open := r.GetBody
		r.GetBody = func() (io.ReadCloser, error) {
			rewound.Add(1)
			return open()
		}
		return under.RoundTrip(r)
	})
	return rewound
}

func TestABodyIsRewoundForADeadConnection(t *testing.T) {
	e := newEndpoint(t, "p")
	rt := over(t, e.URL, "p", "")
	rt.ReplayLimit = 1 << 20
	var dead atomic.Bool
	rewound := dialing(rt, func() bool { return dead.CompareAndSwap(true, false) })
	for who := range uint32(10) {
		dead.Store(who > 0)
		want := string(letter(who, page))
		if code, answer, err := post(t, rt, "/score", bytes.NewReader([]byte(want))); err != nil || code != http.StatusOK || answer != "scored "+want {
			t.Fatalf("letter %d: %d, %v", who, code, err)
		}
	}
	if rewound.Load() != 9 || len(e.seen()) != 10 {
		t.Errorf("%d times rewound for 9 dead connections, %d requests arrived", rewound.Load(), len(e.seen()))
	}
}

// refused is a Backend whose first key is refused at times, and never its second.
type refused struct{ scoring *url.URL }

func (b refused) Target(context.Context) (upstream.Target, error) {
	return upstream.Target{Scoring: b.scoring, Kind: upstream.Key, Credential: secret.New("p")}, nil
}

func (b refused) Rejected(context.Context, upstream.Target) (upstream.Target, error) {
	return upstream.Target{Scoring: b.scoring, Kind: upstream.Key, Credential: secret.New("s")}, nil
}

// A sorter looks at every byte that arrives and does to the request what its
// header Fate says.
type sorter struct {
	t     *testing.T
	whole atomic.Int64 // letters that arrived in full
}

var fates = []string{"", "401 unread", "401 half read", "401 read", "200 unread", "200 and read", "413 unread", "reset", "stall"}

func (s *sorter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fate := r.Header.Get("Fate")
	if r.Header.Get("Authorization") == "Bearer s" { // the retry
		fate = ""
	}
	if fate == "200 and read" {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex() // HTTP/2 is that anyway
		_ = control.Flush()
	}
	if most, ok := map[string]int64{"401 unread": 0, "200 unread": 0, "413 unread": 0, "401 half read": 40 << 10, "reset": 20 << 10, "stall": 20 << 10}[fate]; ok {
		s.check(r, most)
	} else {
		s.check(r, r.ContentLength+1)
	}
	switch fate {
	case "reset":
		panic(http.ErrAbortHandler)
	case "stall":
		time.Sleep(10 * time.Millisecond) // the caller has left by then
	case "401 unread", "401 half read", "401 read", "413 unread":
		code, _ := strconv.Atoi(fate[:3])
		w.WriteHeader(code)
	}
}

// check reads at most so many bytes, which must be those of the letter that the
// header names.
func (s *sorter) check(r *http.Request, most int64) {
	who, _ := strconv.Atoi(r.Header.Get("Who"))
	got, err := io.ReadAll(io.LimitReader(r.Body, most))
	if want := letter(uint32(who), int(r.ContentLength)); !bytes.HasPrefix(want, got) {
		s.t.Errorf("letter %d arrived with somebody else's bytes", who)
	}
	if err == nil && int64(len(got)) == r.ContentLength {
		s.whole.Add(1)
	} else if err == nil && most > r.ContentLength {
		s.t.Errorf("letter %d was cut to %d of %d bytes without an error", who, len(got), r.ContentLength)
	}
}

// Many at once, to an endpoint that answers before it has read, resets, refuses and
// stalls, over connections that die: no byte may get into another request.
func TestNoBodyGetsBytesOfAnother(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			s := &sorter{t: t}
			server := httptest.NewUnstartedServer(s)
			server.EnableHTTP2 = http2
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that died in their handshake
			server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 4}
			server.Config.IdleTimeout = 5 * time.Millisecond
			server.StartTLS()
			defer server.Close()

			rt := over(t, server.URL, "p", "s")
			scoring, _ := url.Parse(server.URL)
			rt.Backends, rt.ReplayLimit = []upstream.Backend{refused{scoring}}, 1<<20
			under := rt.Base.(*http.Transport)
			under.TLSClientConfig, under.ForceAttemptHTTP2 = server.Client().Transport.(*http.Transport).TLSClientConfig, http2
			rewound := dialing(rt, func() bool { return rand.IntN(200) == 0 })

			var all sync.WaitGroup
			var answered atomic.Int64
			for worker := range uint32(16) {
				all.Go(func() {
					for n := range uint32(40) {
						if sendLetter(t, rt, worker<<16|n) {
							answered.Add(1)
						}
					}
				})
			}
			all.Wait()
			t.Logf("%d answers, %d letters in full, %d times rewound", answered.Load(), s.whole.Load(), rewound.Load())
			if s.whole.Load() < 150 {
				t.Errorf("only %d letters arrived in full", s.whole.Load())
			}
		})
	}
}

// sendLetter sends one of any size and fate and reports whether it was answered.
func sendLetter(t *testing.T, rt http.RoundTripper, who uint32) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	fate := fates[rand.IntN(len(fates))]
	if fate == "stall" || rand.IntN(20) == 0 {
		ctx, cancel = context.WithTimeout(ctx, rand.N(5*time.Millisecond))
		defer cancel()
	}
	content := letter(who, rand.IntN(200<<10)+1)
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://upstream/score", bytes.NewReader(content))
	req.Header.Set("Fate", fate)
	req.Header.Set("Who", fmt.Sprint(who))
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil
}
