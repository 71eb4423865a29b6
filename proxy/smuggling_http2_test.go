package proxy_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A message is a request of HTTP/2, in which nothing ends a line and fields hold any
// byte; put into HTTP/1.1 as they are, they would be other requests. A good POST is
// changed: fields in with replace those of their name, or are added.
type message struct {
	with    []string // "name: value"; "name" alone removes it; "+name: value" comes besides
	body    string
	trailer []string
	want    string // status, or refused: by 400 or by the end of stream or connection
}

const refused, either = "refused", "refused or 200"

// messages are by class.
func messages() map[string][]message {
	all := map[string][]message{
		"lengths (RFC 9113 section 8.1.1)": {
			{with: []string{"content-length: 0"}, body: smuggled, want: either}, // or answered before it came
			{with: []string{"content-length: 3"}, body: "hello", want: refused},
			{with: []string{"content-length: 9"}, body: "hello", want: refused},
			{with: []string{"content-length: 5"}, want: refused},
			{with: []string{"content-length: 5", "+content-length: 6"}, body: "hello", want: refused},
			{with: []string{"content-length: 5, 5"}, body: "hello", want: refused},
			{with: []string{"content-length: +5"}, body: "hello", want: refused},
			{with: []string{"content-length: -5"}, body: "hello", want: refused},
			{with: []string{"content-length: 0x5"}, body: "hello", want: refused},
			{with: []string{"content-length: 99999999999999999999"}, body: "hello", want: refused},
			{with: []string{"content-length: 5"}, body: "hello", want: "200"},
			{body: smuggled, want: "200"},
			{body: "0\r\n\r\n" + smuggled, want: "200"},
		},
		"fields of the connection (section 8.2.2)": {
			{with: []string{"transfer-encoding: chunked"}, body: "0\r\n\r\n" + smuggled, want: refused},
			{with: []string{"transfer-encoding: chunked", "content-length: 5"}, body: "0\r\n\r\n", want: refused},
			{with: []string{"connection: close"}, want: refused},
			{with: []string{"connection: authorization"}, want: refused},
			{with: []string{"keep-alive: 1"}, want: refused},
			{with: []string{"proxy-connection: close"}, want: refused},
			{with: []string{"upgrade: websocket"}, want: refused},
			{with: []string{"upgrade: h2c"}, want: refused},
			{with: []string{"te: chunked"}, want: refused},
			{with: []string{"te: trailers, chunked"}, want: refused},
			{with: []string{"te: trailers"}, want: "200"},
			{with: []string{"expect: 100-continue"}, body: "hello", want: "200"},
		},
		"names": {
			{with: []string{"X-Upper: 1"}, want: refused},
			{with: []string{"x y: 1"}, want: refused},
			{with: []string{"x:y: 1"}, want: refused},
			{with: []string{"x\r\ny: 1"}, want: refused},
			{with: []string{"x\x00: 1"}, want: refused},
			{with: []string{": 1"}, want: refused},
			{with: []string{"x: y\r\ntransfer-encoding: 1"}, want: refused},
			{with: []string{"x\xc3\xa9: 1"}, want: refused},
			{with: []string{"content_length: 9", "transfer_encoding: chunked", "x_forwarded_user: root"}, body: "hello", want: "200"},
		},
		"pseudo-fields (section 8.3)": {
			{with: []string{":path"}, want: refused},
			{with: []string{":method"}, want: refused},
			{with: []string{":scheme"}, want: refused},
			{with: []string{"+:path: /models/grouped/smuggled"}, want: refused},
			{with: []string{"+:method: GET"}, want: refused},
			{with: []string{"+:authority: y"}, want: refused},
			{with: []string{":status: 200"}, want: refused},
			{with: []string{":proxy: 1"}, want: refused},
			{with: []string{"x: y", ":path", "+:path: /models/grouped/smuggled"}, want: refused},
			{with: []string{":protocol: websocket", ":method: CONNECT"}, want: refused},
			{with: []string{":method: CONNECT"}, want: refused},
			{with: []string{":method: CONNECT", ":path", ":scheme"}, want: refused},
			{with: []string{":method: GET /models/grouped/smuggled HTTP/1.1\r\nHost: x\r\n\r\nGET"}, want: refused},
			{with: []string{":method: "}, want: refused},
			{with: []string{":method: GE T"}, want: "405"},
			{with: []string{":method: get"}, want: "405"},
			{with: []string{":method: TRACE"}, want: "405"},
			{with: []string{":scheme: http\r\n"}, want: refused},
			{with: []string{":authority", "host"}, want: refused},
			{with: []string{":authority: evil/?"}, want: refused},
			{with: []string{":authority: a@b"}, want: refused},
			{with: []string{":authority: x y"}, want: refused},
			{with: []string{":authority: x\r\nx-y: z"}, want: refused},
			{with: []string{"host: y"}, want: "200"},
			{with: []string{"host: y", "+host: z"}, want: "200"}, // :authority is who is asked, Host is not looked at (section 8.3.1)
		},
		"trailers": {
			{body: "hello", trailer: []string{"x-late: 1"}, want: "200"},
			{body: "hello", trailer: []string{"authorization: Bearer y", "x-forwarded-user: root", "x_forwarded_user: root", "content-length: 9", "host: y"}, want: "200"},
			{body: "hello", trailer: []string{":path: /models/grouped/smuggled"}, want: refused},
			{body: "hello", trailer: []string{"X-Upper: 1"}, want: refused},
			{body: "hello", trailer: []string{"transfer-encoding: chunked"}, want: "200"},
			{body: "hello", trailer: []string{"x: a\r\nb"}, want: refused},
		},
	}
	for _, value := range []string{"a\r\nb: c", "a\nb: c", "a\rb: c", "a\x00b", "a\r\n\r\n" + smuggled, "\x0b", "a\x7f"} {
		all["values"] = append(all["values"], message{with: []string{"x: " + value}, want: refused})
	}
	for _, path := range []string{
		"admin", "models/public", "", "*", "//models/public", "/models/public/../grouped", "/models/public/%2e", "/models/public#x", "/models/public;x", "/models/public x",
		"/models/public\r\nX: y", "/models/public HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled, "http://x/models/public", "/models/public\x00", "/models/public\\x", "\t/models/public", "/models/public?a b", "?x", "x:80",
	} {
		all["paths"] = append(all["paths"], message{with: []string{":path: " + path}, want: refused})
	}
	return all
}

// TestNothingIsSmuggledThroughHTTP2: as TestNothingIsSmuggled, where the next
// server speaks HTTP/1.1.
func TestNothingIsSmuggledThroughHTTP2(t *testing.T) {
	c := newCourt(t, time.Second, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() })
	distinct := 0
	for class, all := range messages() {
		distinct += len(all)
		for _, m := range all {
			for kind, field := range c.pass {
				name := fmt.Sprintf("%s, %s: %.100q", class, kind, m)
				c.tryHTTP2(t, name, m.fields(kind, field), m)
				c.checkVictim(t, name)
			}
		}
	}
	t.Logf("%d messages, each to %d kinds of route", distinct, len(c.pass))
	c.adjourn(t)
}

// fields are those of a good request, with what the message changes.
func (m message) fields(kind, field string) [][2]string {
	name, value, _ := strings.Cut(field, ": ")
	all := [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", "x"}, {":path", "/models/" + kind}, {strings.ToLower(name), value}}
	for _, change := range m.with {
		changed, more := strings.CutPrefix(change, "+")
		pseudo := strings.HasPrefix(changed, ":") && !strings.HasPrefix(changed, ": ")
		name, value, set := strings.Cut(changed, ": ")
		if pseudo { // whose name may not be cut at its first colon
			name, value, set = strings.Cut(changed[1:], ": ")
			name = ":" + name
		}
		same := func(f [2]string) bool { return f[0] == name }
		switch i := slices.IndexFunc(all, same); {
		case !set:
			all = slices.DeleteFunc(all, same)
		case i >= 0 && !more:
			all[i][1] = value
		case pseudo && !more:
			all = slices.Insert(all, 0, [2]string{name, value})
		default:
			all = append(all, [2]string{name, value})
		}
	}
	return all
}

// tryHTTP2 sends one message on a connection of its own.
func (c *court) tryHTTP2(t *testing.T, name string, fields [][2]string, m message) {
	t.Helper()
	answer := c.exchangeHTTP2(t, fields, m)
	if answer.status == "" || answer.status == "400" {
		if !strings.HasPrefix(m.want, refused) {
			t.Errorf("%s: refused (%q), want %s", name, answer.status, m.want)
		}
	} else if !strings.HasSuffix(m.want, answer.status) {
		t.Errorf("%s: %s, want %s", name, answer.status, m.want)
	}
	if answer.id != "" && answer.whole {
		status, _ := strconv.Atoi(answer.status)
		c.judge(t, name, answer.id, status, answer.body)
	}
}

type answerHTTP2 struct {
	status, id, body string
	whole            bool
}

func (c *court) exchangeHTTP2(t testing.TB, fields [][2]string, m message) (answer answerHTTP2) {
	t.Helper()
	at, _ := url.Parse(c.URL)
	config := c.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", at.Host, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	framer.AllowIllegalWrites = true
	_ = framer.WriteSettings()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	headers := func(fields [][2]string, last bool) {
		block.Reset()
		for _, f := range fields {
			_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: last, EndHeaders: true})
	}
	headers(fields, m.body == "" && m.trailer == nil)
	if m.body != "" {
		_ = framer.WriteData(1, m.trailer == nil, []byte(m.body))
	}
	if m.trailer != nil {
		trailer := message{with: m.trailer}.fields("", "")
		headers(slices.DeleteFunc(trailer, func(f [2]string) bool {
			return f[0] == "" || strings.HasPrefix(f[0], ":") && !slices.Contains(m.trailer, f[0]+": "+f[1])
		}), true)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return answer
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			if status := f.PseudoValue("status"); status != "" && status != "100" {
				answer.status = status
			}
			for _, field := range f.RegularFields() {
				if field.Name == "x-request-id" {
					answer.id = field.Value
				}
			}
			answer.whole = f.StreamEnded()
		case *http2.DataFrame:
			answer.body += string(f.Data())
			answer.whole = f.StreamEnded()
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return answer
		}
		if answer.whole {
			return answer
		}
	}
}
