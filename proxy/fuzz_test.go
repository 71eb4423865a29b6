package proxy_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzHeaders puts any bytes behind the header of a good request, on a socket: a
// field, a body, another request. What comes of them, the upstream sees nothing that
// was not authorised, and every answer is the one to its own request.
func FuzzHeaders(f *testing.F) {
	c := newCourt(f, 20*time.Millisecond, (*httptest.Server).Start)
	for _, all := range sequences() {
		for _, s := range all {
			if head, ok := strings.CutPrefix(s.bytes, "{post}"); ok && len(head) < 4096 {
				f.Add(c.fill("told", head))
			}
		}
	}
	for _, name := range spoofed {
		f.Add(name + ": SPOOFED\r\nContent-Length: 2\r\n\r\n{}")
		f.Add(strings.ReplaceAll(name, "-", "_") + ": SPOOFED\r\nConnection: " + name + "\r\n\r\n")
	}
	f.Fuzz(func(t *testing.T, head string) {
		c.try(t, head, c.fill("told", "{post}")+head, whatever)
		c.verdict(t)
	})
}
