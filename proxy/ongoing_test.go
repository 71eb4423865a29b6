package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"amlproxy/authn"
	"amlproxy/proxy"
)

// desk is a proxy.Sessions that a test rules.
type desk struct {
	mu    sync.Mutex
	over  map[string]bool // subjects
	fails bool
	asked chan int // how many it was asked about
}

func newDesk() *desk { return &desk{over: map[string]bool{}, asked: make(chan int, 1000)} }

func (d *desk) end(subject string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over[subject] = true
}

func (d *desk) Over(_ context.Context, ids []*authn.Identity) ([]bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked <- len(ids)
	over := make([]bool, len(ids))
	for i, id := range ids {
		over[i] = d.over[id.Subject]
	}
	if d.fails {
		return over, errors.New("the store is away")
	}
	return over, nil
}

// events is a model that sends one event and no other until its caller is gone.
func events(t *testing.T) http.RoundTripper {
	return model(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
}

// stream opens a stream of events, and returns what comes after the first.
func stream(t *testing.T, h *house, target string, fields ...string) *bufio.Reader {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL+target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Add(name, value)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", res, err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	b := bufio.NewReader(res.Body)
	if line, err := b.ReadString('\n'); line != "data: 1\n" {
		t.Fatalf("%q %v", line, err)
	}
	return b
}

// broken fails unless what is left of an answer ends, and not as if it were whole.
func broken(t *testing.T, what string, b io.Reader) {
	t.Helper()
	if _, err := io.ReadAll(b); err == nil {
		t.Errorf("%s: it looks whole", what)
	}
}

// socket opens a WebSocket that a real library speaks.
func socket(t *testing.T, h *house, target string, fields ...string) *websocket.Conn {
	t.Helper()
	header := http.Header{}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		header.Add(name, value)
	}
	c, res, err := websocket.Dial(t.Context(), h.URL+target, &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatalf("%v %v", res, err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// talk is a model that answers every message of a WebSocket with the same.
func talk(t *testing.T) http.RoundTripper {
	return model(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		c.SetReadLimit(1 << 20)
		for {
			kind, said, err := c.Read(context.Background())
			if err != nil || c.Write(context.Background(), kind, said) != nil {
				return
			}
		}
	})
}

// echoed fails unless what is said comes back.
func echoed(t *testing.T, c *websocket.Conn, said string) {
	t.Helper()
	c.SetReadLimit(1 << 20)
	if err := c.Write(t.Context(), websocket.MessageText, []byte(said)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.Read(t.Context()); err != nil || string(got) != said {
		t.Fatalf("%.20q %v", got, err)
	}
}

// closedBecause fails unless a WebSocket is closed with that code and reason.
func closedBecause(t *testing.T, what string, c *websocket.Conn, code websocket.StatusCode, reason string) {
	t.Helper()
	_, _, err := c.Read(t.Context())
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != code || closed.Reason != reason {
		t.Errorf("%s: %v, want %d %q", what, err, code, reason)
	}
}

// TestStreamsEndWithTheSession: answers and WebSockets, and nobody else's.
func TestStreamsEndWithTheSession(t *testing.T) {
	d := newDesk()
	h := open(t, proxy.Config{Sessions: d, SweepEvery: 20 * time.Millisecond, Routes: []proxy.Route{
		{Name: "m", Transport: events(t)}, {Name: "ws", Transport: talk(t)},
	}})
	mine, other, program := stream(t, h, "/models/m", "Cookie: amlproxy=alice"), stream(t, h, "/models/m", "Cookie: amlproxy=bob"), stream(t, h, "/models/m", "Authorization: Bearer alice")
	mySocket, otherSocket := socket(t, h, "/models/ws", "Cookie: amlproxy=alice"), socket(t, h, "/models/ws", "Cookie: amlproxy=bob")
	for _, size := range []int{5, 125, 126, 65535, 65536, 200_000} {
		echoed(t, mySocket, strings.Repeat("a", size))
	}
	for n := 0; n != 4; { // those of a session
		n = <-d.asked
	}
	d.end("a1")
	broken(t, "the answer", mine)
	closedBecause(t, "the WebSocket", mySocket, websocket.StatusPolicyViolation, "signed out")
	for range 2 {
		if rec := h.record(t); rec.Err == nil || !strings.Contains(rec.Err.Error(), "session ended") || rec.Identity.Subject != "a1" || rec.Aborted == rec.Upgraded {
			t.Errorf("record %+v", rec)
		}
	}
	for range 3 {
		<-d.asked // others were asked about since
	}
	echoed(t, otherSocket, "still here")
	d.end("b1")
	broken(t, "the other's answer", other)
	closedBecause(t, "the other's WebSocket", otherSocket, websocket.StatusPolicyViolation, "signed out")
	h.CloseClientConnections() // a bearer token has no session
	broken(t, "the program's answer", program)
}

// TestStoreThatCannotBeAskedEndsNothing.
func TestStoreThatCannotBeAskedEndsNothing(t *testing.T) {
	d := newDesk()
	d.fails = true
	d.end("a1")
	h := open(t, proxy.Config{Sessions: d, SweepEvery: time.Millisecond, Routes: []proxy.Route{{Name: "ws", Transport: talk(t)}}})
	c := socket(t, h, "/models/ws", "Cookie: amlproxy=alice")
	for range 10 {
		<-d.asked
	}
	echoed(t, c, "still here")
	d.mu.Lock()
	d.fails = false
	d.mu.Unlock()
	closedBecause(t, "the store is back", c, websocket.StatusPolicyViolation, "signed out")
}

// TestNobodyIsAskedAboutWhenNothingIsUnderWay, and after a Drain nothing runs.
func TestNobodyIsAskedAboutWhenNothingIsUnderWay(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	d := newDesk()
	p, err := proxy.New(proxy.Config{
		Authenticator: door{}, Sessions: d, SweepEvery: time.Millisecond, Record: func(*proxy.Record) {},
		Routes: []proxy.Route{{Name: "m", Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		r := httptest.NewRequest(http.MethodGet, "/models/m", http.NoBody)
		r.AddCookie(&http.Cookie{Name: "amlproxy", Value: "alice"})
		p.ServeHTTP(httptest.NewRecorder(), r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.Drain(ctx)
	if n := len(d.asked); n > 20 {
		t.Errorf("asked %d times", n)
	}
}

// TestStreamsEndWithTheRule that let them in: at once, and no others.
func TestStreamsEndWithTheRule(t *testing.T) {
	sse, ws := events(t), talk(t)
	access := func(r proxy.Rules) *proxy.Access { return &proxy.Access{Any: r} }
	groups := func(names ...string) *proxy.Access { return access(proxy.Rules{Groups: names}) }
	without := &proxy.Access{None: proxy.Rules{Groups: []string{"others"}}}
	for _, c := range []struct {
		name          string
		before, after *proxy.Route // Name, Transport are set here; nil: gone
		why           string       // empty: it goes on
		say           string
	}{
		{"the same", &proxy.Route{Access: groups("ml-users")}, &proxy.Route{Access: groups("ml-users")}, "", ""},
		{"other limits", &proxy.Route{Access: groups("ml-users")}, &proxy.Route{Access: groups("ml-users"), MaxBody: 5, Timeout: time.Second}, "", ""},
		{"still allowed", &proxy.Route{Access: groups("ml-users")}, &proxy.Route{Access: groups("ml-admins")}, "", ""},
		{"not allowed", &proxy.Route{Access: groups("ml-users")}, &proxy.Route{Access: groups("others")}, "rule was changed", "not allowed any more"},
		{"a rule where there was none", &proxy.Route{}, &proxy.Route{Access: groups("others")}, "rule was changed", "not allowed any more"},
		{"none where there was a rule", &proxy.Route{Access: groups("ml-users")}, &proxy.Route{}, "", ""},
		{"public now", &proxy.Route{Access: groups("ml-users")}, &proxy.Route{Public: true}, "", ""},
		{"no longer public", &proxy.Route{Public: true}, &proxy.Route{}, "rule was changed", "not allowed any more"},
		{"public as before", &proxy.Route{Public: true}, &proxy.Route{Public: true}, "", ""},
		{"gone", &proxy.Route{}, nil, "removed", "no such model any more"},
		// Which groups the session left out cannot be told.
		{"a rule that shuts out", &proxy.Route{}, &proxy.Route{Access: without}, "rule was changed", "not allowed any more"},
		{"the one that shut out before", &proxy.Route{Access: without}, &proxy.Route{Access: without}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			records := make(chan proxy.Record, 10)
			p, err := proxy.New(proxy.Config{Authenticator: door{}, Record: func(r *proxy.Record) { records <- *r }, Routes: both(c.before, sse, ws)})
			if err != nil {
				t.Fatal(err)
			}
			h := &house{Server: httptest.NewServer(p)}
			t.Cleanup(h.Close)
			t.Cleanup(h.CloseClientConnections)
			b, s := stream(t, h, "/models/m", "Cookie: amlproxy=alice"), socket(t, h, "/models/ws", "Cookie: amlproxy=alice")
			if err := p.SetRoutes(both(c.after, sse, ws)); err != nil {
				t.Fatal(err)
			}
			if c.why == "" {
				echoed(t, s, "still here")
				select {
				case rec := <-records:
					t.Errorf("record %+v", rec)
				default:
				}
				return
			}
			broken(t, "the answer", b)
			closedBecause(t, "the WebSocket", s, websocket.StatusPolicyViolation, c.say)
			for range 2 {
				if rec := <-records; rec.Err == nil || !strings.Contains(rec.Err.Error(), c.why) {
					t.Errorf("record %+v", rec)
				}
			}
		})
	}
}

// both is one route for events and one for WebSockets, like r.
func both(r *proxy.Route, sse, ws http.RoundTripper) []proxy.Route {
	if r == nil {
		return nil
	}
	one, two := *r, *r
	one.Name, one.Transport = "m", sse
	two.Name, two.Transport = "ws", ws
	return []proxy.Route{one, two}
}

// TestAnswerThatBeginsUnderOtherRulesEnds: the request came by the old ones.
func TestAnswerThatBeginsUnderOtherRulesEnds(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	slow := model(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-answer
		_, _ = w.Write(make([]byte, 1<<20))
	})
	p, err := proxy.New(proxy.Config{Authenticator: door{}, Record: func(*proxy.Record) {}, Routes: []proxy.Route{{Name: "m", Transport: slow}}})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{Server: httptest.NewServer(p)}
	t.Cleanup(h.Close)
	go func() {
		<-arrived
		_ = p.SetRoutes(nil)
		close(answer)
	}()
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL+"/models/m", http.NoBody)
	r.Header.Set("Authorization", "Bearer alice")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return
	}
	defer func() { _ = res.Body.Close() }()
	broken(t, "the answer", res.Body)
}

// TestAnswerOutlastsABearerTokenByTheRoutesTimeout, while one to a session ends
// with it.
func TestAnswerOutlastsABearerTokenByTheRoutesTimeout(t *testing.T) {
	for name, c := range map[string]struct {
		method  authn.Method
		timeout time.Duration
		atLeast time.Duration
	}{
		"bearer":  {authn.ByBearer, 600 * time.Millisecond, 800 * time.Millisecond},
		"session": {authn.BySession, time.Hour, 200 * time.Millisecond},
	} {
		expires := time.Now().Add(200 * time.Millisecond)
		who := known(func() *authn.Identity {
			return &authn.Identity{Issuer: "i", Subject: "s", Method: c.method, Expires: expires}
		})
		h := open(t, proxy.Config{Authenticator: who, Routes: []proxy.Route{{Name: "m", Timeout: c.timeout, Transport: events(t)}}})
		b := stream(t, h, "/models/m")
		broken(t, name, b)
		if lasted := time.Since(expires.Add(-200 * time.Millisecond)); lasted < c.atLeast || lasted > 15*time.Second {
			t.Errorf("%s: it lasted %v", name, lasted)
		}
		if rec := h.record(t); rec.Err == nil || !strings.Contains(rec.Err.Error(), "expired") {
			t.Errorf("%s: record %+v", name, rec)
		}
	}
}

// known is an Authenticator that knows who it is.
type known func() *authn.Identity

func (k known) Authenticate(http.Header, *http.Request) (*authn.Identity, error) { return k(), nil }

// TestCloseFrameStandsBetweenFramesOnly: whatever the upstream said before, and
// what the caller reads is never a frame of ours inside one of the upstream's.
func TestCloseFrameStandsBetweenFramesOnly(t *testing.T) {
	const ours = "\x88\x0c\x03\xf0signed out"
	for name, c := range map[string]struct{ said, want string }{
		"nothing":                  {"", ours},
		"a whole frame":            {"\x81\x02hi", "\x81\x02hi" + ours},
		"an empty one":             {"\x89\x00", "\x89\x00" + ours},
		"half a head":              {"\x81", "\x81"},
		"half a length":            {"\x81\x7e\x01", "\x81\x7e\x01"},
		"half a payload":           {"\x81\x05hel", "\x81\x05hel"},
		"126":                      {"\x82\x7e\x00\x03abc", "\x82\x7e\x00\x03abc" + ours},
		"127":                      {"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x03abc", "\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x03abc" + ours},
		"endless":                  {"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xffabc", "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xffabc"},
		"it closed itself":         {"\x88\x02\x03\xe8", "\x88\x02\x03\xe8"},
		"it masks, which is wrong": {"\x81\x82\x00\x00\x00\x00hi", "\x81\x82\x00\x00\x00\x00hi"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk()
			h := open(t, proxy.Config{Sessions: d, SweepEvery: time.Millisecond, Routes: []proxy.Route{{Name: "m", Transport: model(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+c.said)
				_, _ = io.Copy(io.Discard, conn)
			})}}})
			conn, err := net.Dial("tcp", h.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(conn, "GET /models/m HTTP/1.1\r\nHost: x\r\nCookie: amlproxy=alice\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			b := bufio.NewReader(conn)
			if res, err := http.ReadResponse(b, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("%v %v", res, err)
			}
			said := make([]byte, len(c.said))
			if _, err := io.ReadFull(b, said); err != nil {
				t.Fatal(err)
			}
			d.end("a1")
			rest, _ := io.ReadAll(b)
			if got := string(said) + string(rest); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
