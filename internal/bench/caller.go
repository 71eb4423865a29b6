//go:build linux

package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// A caller calls over one connection that stays open. It is written by hand, since
// net/http's client would cost more than the proxy that is measured.
type caller struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
}

// dial opens a connection; with roots, over TLS.
func dial(address string, tlsConfig *tls.Config, request []byte) (*caller, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if tlsConfig != nil {
		conn = tls.Client(conn, tlsConfig)
	}
	return &caller{conn: conn, in: bufio.NewReaderSize(conn, 4<<10), request: request}, nil
}

// call sends the request and reads the answer, which has to be a 200.
func (c *caller) call() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	return c.answer()
}

func (c *caller) answer() error {
	status, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		rest, _ := c.in.Peek(min(c.in.Buffered(), 1000))
		return fmt.Errorf("answered %s%s", status, rest)
	}
	length := int64(-1)
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return fmt.Errorf("the answer has no length")
	}
	_, err = io.CopyN(io.Discard, c.in, length)
	return err
}

// A shape is what a request looks like.
type shape struct {
	path  string
	field string // one more field of the header, with its name
	body  int    // bytes
}

// bytes returns the request as it is sent to host.
func (s shape) bytes(host string) []byte {
	fields := ""
	if s.field != "" {
		fields = s.field + "\r\n"
	}
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: application/json\r\n"+
		"Content-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", s.path, host, fields, s.body, strings.Repeat("1", s.body))
}

// quantile returns what the share q of sorted values is not above.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
