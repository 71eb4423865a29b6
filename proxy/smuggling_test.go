package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestNothingIsSmuggled sends every sequence to every kind of route. The upstream
// never sees a request that was not authorised by itself, nor one framed in two
// ways, nor two for one; and every answer, of this connection and of somebody
// else's, is the one to its own request.
func TestNothingIsSmuggled(t *testing.T) {
	c := newCourt(t, time.Second, (*httptest.Server).Start)
	tried := 0
	for class, all := range sequences() {
		for _, s := range all {
			for kind := range c.pass {
				if kind == "public" && strings.Contains(s.bytes, "{open}") {
					continue // nobody is refused there
				}
				if kind != "grouped" && !strings.Contains(s.bytes, "{post}") && !strings.Contains(s.bytes, "{get}") && !strings.Contains(s.bytes, "{p") {
					continue // no route is named: once is enough
				}
				if kind != "grouped" && s.want == "408" {
					continue // and it is waited for
				}
				c.try(t, fmt.Sprintf("%s, %s: %.90q", class, kind, s.bytes), c.fill(kind, s.bytes), wanted(kind, s.want))
				tried++
			}
		}
	}
	c.adjourn(t)
	distinct := count(sequences())
	t.Logf("%d sequences, tried %d times", distinct, tried)
	if distinct < 100 || tried < distinct {
		t.Error("too few")
	}
}

func count(all map[string][]sequence) (n int) {
	for _, list := range all {
		n += len(list)
	}
	return n
}

// wanted corrects what is wanted of a kind that lets everybody in.
func wanted(kind, want string) string {
	if kind == "public" && strings.HasPrefix(want, "401 401") {
		return "200" + want[3:]
	}
	return want
}

func (c *court) fill(kind, form string) string {
	path, field := "/models/"+kind, c.pass[kind]+"\r\n"
	return strings.NewReplacer(
		"{post}", "POST "+path+" HTTP/1.1\r\nHost: x\r\n"+field,
		"{get}", "GET "+path+" HTTP/1.1\r\nHost: x\r\n"+field,
		"{open}", "POST "+path+" HTTP/1.1\r\nHost: x\r\n",
		"{path}", path, "{pass}", field, "{passlf}", c.pass[kind]+"\n",
		"{smuggled}", smuggled, "{n}", strconv.Itoa(len(smuggled)), "{long}", strings.Repeat("a", 80<<10),
		"{chunk}", fmt.Sprintf("%x\r\n%s\r\n", len(smuggled), smuggled),
	).Replace(form)
}

// whatever are statuses that do not matter.
const whatever = "whatever"

// try writes one sequence, compares the statuses of the answers and judges each.
func (c *court) try(t testing.TB, name, bytes, want string) {
	t.Helper()
	conn, err := net.Dial("tcp", c.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	bytes += "GET /models/public/last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	go func() { _, _ = io.WriteString(conn, bytes) }() // who is refused may not be read to the end
	var got []string
	r := bufio.NewReader(conn)
	for {
		asked := &http.Request{Method: http.MethodGet}
		if len(got) == 0 && strings.HasPrefix(bytes, "HEAD ") {
			asked.Method = http.MethodHead
		}
		res, err := http.ReadResponse(r, asked)
		if err != nil {
			break // closed, or no answer: the statuses will tell
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Errorf("%s: an answer was cut: %v", name, err)
		}
		got = append(got, strconv.Itoa(res.StatusCode))
		switch id := res.Header.Get("X-Request-Id"); {
		case id != "":
			c.judge(t, name, id, res.StatusCode, string(body))
		case res.StatusCode == http.StatusContinue:
		case !res.Close:
			t.Errorf("%s: net/http answered %d, and the connection goes on", name, res.StatusCode)
		}
		if res.Close {
			break
		}
	}
	if got := strings.Join(got, " "); got != want && want != whatever {
		t.Errorf("%s: answered %s, want %s", name, got, want)
	}
	c.checkVictim(t, name)
}

// checkVictim has somebody else call, through the same connections to the upstream.
func (c *court) checkVictim(t testing.TB, name string) {
	t.Helper()
	c.called++
	below := fmt.Sprintf("/victim/%d", c.called)
	res, err := c.victim.Get(c.URL + "/models/public" + below)
	if err != nil {
		t.Fatalf("behind %s: %v", name, err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK || string(body) != "GET "+below {
		t.Errorf("behind %s: somebody else was answered %d %q", name, res.StatusCode, body)
	}
}
