package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A front is another proxy, before this one, which is lenient: it passes on what it
// gets as it is, and sends everybody's requests through one connection. Where it and
// the one behind it disagree about the end of a message, somebody else's request
// becomes a part of it, or somebody else is answered what was asked in it.
type front struct {
	// lengths choose among what is said about the length of a message.
	lengths func(all []string) string
	// coded says which one counts where there is a Transfer-Encoding too.
	coded bool

	back   net.Conn
	behind *bufio.Reader
	dial   func() net.Conn
}

func fronts() map[string]*front {
	return map[string]*front{
		"keeps to the length, the first": {lengths: func(all []string) string { return all[0] }},
		"keeps to the coding":            {lengths: func(all []string) string { return all[len(all)-1] }, coded: true},
	}
}

// TestProxyInFrontThatReadsOtherwiseMixesNobodyUp: of a message that it could have
// read in another way, this proxy ends the connection.
func TestProxyInFrontThatReadsOtherwiseMixesNobodyUp(t *testing.T) {
	c := newCourt(t, 60*time.Millisecond, (*httptest.Server).Start)
	for called, f := range fronts() {
		f.dial = func() net.Conn {
			conn, err := net.Dial("tcp", c.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			return conn
		}
		f.drop()
		for _, class := range slices.Sorted(maps.Keys(sequences())) {
			for _, s := range sequences()[class] {
				f.pass(c.fill("grouped", s.bytes))
				c.called++
				below := fmt.Sprintf("/victim/%d", c.called)
				if status, said := f.victim(below); status != http.StatusOK || said != "GET "+below {
					t.Errorf("a front that %s, %s: %.100q: somebody else is answered %d %.200q", called, class, s.bytes, status, said)
					f.drop()
				}
			}
		}
		f.drop()
		_ = f.back.Close()
	}
	c.adjourn(t)
}

// drop takes another connection.
func (f *front) drop() {
	if f.back != nil {
		_ = f.back.Close()
	}
	f.back = f.dial()
	f.behind = bufio.NewReader(f.back)
}

// pass sends what a caller sent, message by message as the front reads them.
func (f *front) pass(sent string) {
	for sent != "" {
		message, whole := f.message(sent)
		sent = sent[len(message):]
		_, _ = io.WriteString(f.back, message)
		if !whole {
			f.drop() // the caller left in the middle
			return
		}
		method, _, _ := strings.Cut(message, " ")
		if _, _, ok := f.answer(method); !ok {
			return
		}
	}
}

// answer reads one answer, and reports whether the connection goes on.
func (f *front) answer(method string) (status int, body string, goesOn bool) {
	for {
		res, err := http.ReadResponse(f.behind, &http.Request{Method: method})
		if err != nil {
			f.drop()
			return 0, err.Error(), false
		}
		said, _ := io.ReadAll(res.Body)
		if res.StatusCode == http.StatusContinue {
			continue
		}
		if res.Close {
			f.drop()
		}
		return res.StatusCode, string(said), !res.Close
	}
}

// victim sends somebody else's request through the same connection; one that was
// closed meanwhile is another time.
func (f *front) victim(below string) (status int, body string) {
	request := "GET /models/public" + below + " HTTP/1.1\r\nHost: x\r\n\r\n"
	_, _ = io.WriteString(f.back, request)
	if _, err := f.behind.Peek(1); err != nil {
		f.drop()
		_, _ = io.WriteString(f.back, request)
	}
	status, body, _ = f.answer(http.MethodGet)
	return status, body
}

// message returns the first message of what was sent, as the front reads it.
func (f *front) message(sent string) (message string, whole bool) {
	r := bufio.NewReader(strings.NewReader(sent))
	taken := 0
	line := func() (string, bool) {
		l, err := r.ReadString('\n')
		taken += len(l)
		return strings.TrimRight(l, "\r\n"), err == nil
	}
	var lengths, codings []string
	for begun := false; ; {
		l, ok := line()
		if !ok {
			return sent, false
		}
		if l == "" && begun {
			break
		}
		begun = begun || l != ""
		name, value, _ := strings.Cut(l, ":")
		switch value = strings.Trim(value, " \t\x00\v"); strings.ToLower(strings.Trim(name, "\t\x00\v ")) {
		case "content-length":
			lengths = append(lengths, strings.Split(value, ",")...)
		case "transfer-encoding":
			codings = append(codings, strings.ToLower(value))
		}
	}
	chunked := strings.Contains(strings.Join(codings, ","), "chunked")
	switch {
	case len(lengths) > 0 && (!chunked || !f.coded):
		taken += digits(f.lengths(lengths), 10)
	case chunked:
		for {
			l, ok := line()
			if !ok {
				return sent, false
			}
			n := digits(l, 16)
			_, _ = r.Discard(n)
			taken += n
			for n == 0 && l != "" { // the trailer
				if l, ok = line(); !ok {
					return sent, false
				}
			}
			if n == 0 {
				break
			}
			_, _ = line()
		}
	}
	if taken < 0 || taken > len(sent) {
		return sent, false
	}
	return sent[:taken], true
}

// digits reads the number that s begins with, as C does.
func digits(s string, base int) int {
	s = strings.TrimLeft(s, " \t+0")
	for end := len(s); end > 0; end-- {
		if n, err := strconv.ParseInt(s[:end], base, 32); err == nil && n >= 0 {
			return int(n)
		}
	}
	return 0
}
