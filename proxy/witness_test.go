package proxy_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"amlproxy/proxy"
)

// A witness is an upstream on a raw socket, whose connections live on. It takes
// requests only in the one form in which no two servers read them differently, and
// answers each with what it was: were there ever more or less in a connection than
// the proxy meant, the answers would tell.
type witness struct {
	listener net.Listener
	mu       sync.Mutex
	byID     map[string][]testimony // by X-Request-Id
	broken   []string               // bytes that are no such request
}

// A testimony is one request as the witness saw it.
type testimony struct{ method, target, head, body string }

func newWitness(t testing.TB) *witness {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{listener: l, byID: make(map[string][]testimony)}
	var mu sync.Mutex
	held := make(map[net.Conn]bool)
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			held[c] = true
			mu.Unlock()
			open.Go(func() { w.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range held {
			_ = c.Close()
		}
		mu.Unlock()
		open.Wait()
	})
	return w
}

func (w *witness) url() string { return "http://" + w.listener.Addr().String() + "/score" }

func (w *witness) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	var raw bytes.Buffer
	r := bufio.NewReader(io.TeeReader(c, &raw))
	for {
		answered := false
		seen, err := readStrictly(r, func(head testimony) {
			// Before the body was read, and the connection lives on: as a server does that
			// knows enough.
			if answered = strings.HasPrefix(head.target, "/early/"); answered {
				w.answer(c, head)
			}
		})
		if err == io.EOF && seen.target == "" {
			return
		}
		w.mu.Lock()
		if err != nil && seen.target == "" {
			w.broken = append(w.broken, fmt.Sprintf("%v: %q", err, raw.Bytes()))
		}
		if seen.target != "" {
			id := ""
			if ids := fields(seen.head, "X-Request-Id"); len(ids) == 1 {
				id = ids[0]
			}
			w.byID[id] = append(w.byID[id], seen)
		}
		w.mu.Unlock()
		if err != nil {
			return // the body was cut: its caller's was
		}
		raw.Reset()
		if !answered {
			w.answer(c, seen)
		}
	}
}

func (w *witness) answer(c net.Conn, seen testimony) {
	said := seen.method + " " + seen.target
	_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Saw: %s\r\nContent-Length: %d\r\n\r\n%s", said, len(said), said)
}

// of returns the request with that X-Request-Id.
func (w *witness) of(id string) []testimony {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byID[id]
}

var (
	strictLine  = regexp.MustCompile(`^([A-Z]+) (/[!-~]*) HTTP/1\.1$`)
	strictField = regexp.MustCompile(`^([0-9A-Za-z-]+): ([^\x00-\x08\x0a-\x1f\x7f]*)$`)
	strictChunk = regexp.MustCompile(`^[0-9a-f]{1,15}$`)
)

// readStrictly reads one request. What is not in order is an error, with the
// request if its head was in order; begun is told of that.
func readStrictly(r *bufio.Reader, begun func(testimony)) (testimony, error) {
	var seen testimony
	line, err := crlf(r)
	if line == "" && errors.Is(err, syscall.ECONNRESET) {
		return seen, io.EOF // its caller left before the answer, and nothing followed
	}
	if err != nil {
		return seen, err
	}
	var head strings.Builder
	head.WriteString(line)
	request := strictLine.FindStringSubmatch(line)
	if request == nil {
		return seen, fmt.Errorf("request line %q", line)
	}
	for {
		if line, err = crlf(r); err != nil {
			return seen, fmt.Errorf("in the header: %w", err)
		}
		if line == "" {
			break
		}
		if !strictField.MatchString(line) {
			return seen, fmt.Errorf("field %q", line)
		}
		head.WriteString("\r\n" + line)
	}
	found := testimony{method: request[1], target: request[2], head: head.String()}
	begun(found)
	lengths, codings := fields(found.head, "Content-Length"), fields(found.head, "Transfer-Encoding")
	switch {
	case len(fields(found.head, "Host")) != 1 || len(lengths)+len(codings) > 1:
		return seen, fmt.Errorf("fields of %q", found.head)
	case len(codings) == 1:
		if codings[0] != "chunked" {
			return seen, fmt.Errorf("coding %q", codings[0])
		}
		found.body, err = chunks(r)
	case len(lengths) == 1:
		n, bad := strconv.ParseUint(lengths[0], 10, 31)
		if bad != nil || strconv.FormatUint(n, 10) != lengths[0] {
			return seen, fmt.Errorf("length %q", lengths[0])
		}
		body := make([]byte, n)
		_, err = io.ReadFull(r, body)
		found.body = string(body)
	}
	return found, err
}

func crlf(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		if line != "" || err != io.EOF {
			err = fmt.Errorf("cut off at %q: %w", line, err)
		}
		return line, err
	}
	bare, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.Contains(bare, "\r") {
		return "", fmt.Errorf("line %q", line)
	}
	return bare, nil
}

// chunks reads a chunked body without extensions and without a trailer.
func chunks(r *bufio.Reader) (string, error) {
	var body strings.Builder
	for {
		size, err := crlf(r)
		if err != nil || !strictChunk.MatchString(size) {
			return body.String(), fmt.Errorf("chunk size %q: %w", size, err)
		}
		n, _ := strconv.ParseInt(size, 16, 64)
		if _, err := io.CopyN(&body, r, n); err != nil {
			return body.String(), err
		}
		if end, err := crlf(r); err != nil || end != "" {
			return body.String(), fmt.Errorf("behind a chunk: %q %w", end, err)
		}
		if n == 0 {
			return body.String(), nil
		}
	}
}

// A court is a proxy before a witness, which tries sequences of bytes.
type court struct {
	*house
	up     *witness
	pass   map[string]string // kind of route → the field that lets in
	victim *http.Client      // somebody else, who calls in between
	called int
	byID   map[string]proxy.Record
}

// newCourt returns one that waits for what does not come no longer than patience.
func newCourt(t testing.TB, patience time.Duration, alter func(*httptest.Server)) *court {
	t.Helper()
	c := &court{up: newWitness(t), byID: make(map[string]proxy.Record)}
	upstream, err := url.Parse(c.up.url())
	if err != nil {
		t.Fatal(err)
	}
	var routes []proxy.Route
	routes, c.pass = kinds(through(t, upstream, &http.Transport{MaxIdleConnsPerHost: 1}))
	c.house = build(t, proxy.Config{
		Routes: routes, ReadTimeout: patience, BodyTimeout: patience,
	})
	c.Config.ReadHeaderTimeout = patience
	c.Config.MaxHeaderBytes = 64 << 10
	c.Config.DisableGeneralOptionsHandler = true
	alter(c.Server)
	c.victim = c.Client()
	return c
}

// testify finds what the proxy recorded of a request.
func (c *court) testify(t testing.TB, id string) (proxy.Record, bool) {
	t.Helper()
	for {
		if r, ok := c.byID[id]; ok {
			return r, true
		}
		r, ok := c.next()
		if !ok {
			t.Errorf("no record of %q", id)
			return proxy.Record{}, false
		}
		c.byID[r.RequestID] = r
	}
}

// judge compares an answer with what was recorded and with what the witness saw.
func (c *court) judge(t testing.TB, name string, id string, status int, body string) {
	t.Helper()
	rec, ok := c.testify(t, id)
	if !ok {
		return
	}
	if rec.Status != status {
		t.Errorf("%s: answered %d and recorded as %d", name, status, rec.Status)
	}
	seen := c.up.of(id)
	if len(seen) != rec.Sends && (status == http.StatusOK || len(seen) > rec.Sends) { // a body that breaks may break before the first byte was sent
		t.Errorf("%s: sent %d times, and the upstream saw %q", name, rec.Sends, seen)
	}
	if status == http.StatusOK && len(seen) == 1 {
		if want := seen[0].method + " " + seen[0].target; body != want {
			t.Errorf("%s: the answer to %q is %q", name, want, body)
		}
	}
}

// adjourn ends the proxy, and judges all that the upstream saw.
func (c *court) adjourn(t testing.TB) {
	t.Helper()
	c.CloseClientConnections()
	c.Close()
	c.verdict(t)
}

// verdict judges all that the upstream saw since the last one: each request is one
// that was authorised by itself, once, and looks as the proxy makes them.
func (c *court) verdict(t testing.TB) {
	t.Helper()
	c.up.mu.Lock()
	broken, byID := c.up.broken, c.up.byID
	c.up.broken, c.up.byID = nil, make(map[string][]testimony)
	c.up.mu.Unlock()
	for _, b := range broken {
		t.Errorf("the upstream saw what is no request: %s", b)
	}
	for id, all := range byID {
		rec, ok := c.testify(t, id)
		if !ok || len(all) > rec.Sends || rec.Sends > 1 {
			t.Errorf("%q was sent %d times, and seen %d times: %q", id, rec.Sends, len(all), all)
			continue
		}
		c.compare(t, rec, all[0])
	}
}

func (c *court) compare(t testing.TB, rec proxy.Record, seen testimony) {
	t.Helper()
	if rec.Route != "public" && rec.Identity == nil {
		t.Errorf("nobody's request to %s was sent: %q", rec.Route, seen)
	}
	below, _ := strings.CutPrefix(rec.Path, "/models/"+rec.Route)
	if below == "" || below == "/" {
		below = "/score"
	}
	target, _, _ := strings.Cut(seen.target, "?")
	if target != below || seen.method != rec.Method || strings.Contains(seen.target, "smuggled") {
		t.Errorf("%s %s was authorised, and %s %s was sent", rec.Method, rec.Path, seen.method, seen.target)
	}
	if got := fields(seen.head, "Authorization"); len(got) != 1 || got[0] != "Bearer "+credential {
		t.Errorf("%s: Authorization %q", rec.Path, got)
	}
	user := ""
	if rec.Route == "told" {
		user = rec.Identity.Subject
	}
	if got := strings.Join(fields(seen.head, "X-Forwarded-User"), "|"); got != user {
		t.Errorf("%s: X-Forwarded-User %q, want %q", rec.Path, got, user)
	}
}
