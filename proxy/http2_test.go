package proxy_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"amlproxy/proxy"
)

// HTTP/2 has its own request line, made of fields that a caller writes freely.
func TestHTTP2PseudoFieldsCannotNameAnotherPath(t *testing.T) {
	up := record(t, "")
	p, err := proxy.New(proxy.Config{Record: func(proxy.Record) {}, Routes: []proxy.Route{{Name: "m", Public: true, Paths: []string{"*"}, Transport: to(t, up.url())}}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(p)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	host, _ := url.Parse(s.URL)
	for path, want := range map[string]string{
		"/models/m": "200", "/models/m/x": "200",
		"models/m": "refused", "": "refused", "*": "refused", "//models/m": "400", "/models/m/../m": "400", "/models/m/%2e": "400",
		"/models/m#x": "400", "/models/m;x": "400", "/models/m x": "refused", "/models/m\r\nX: y": "refused", "http://x/models/m": "refused",
	} {
		got := askHTTP2(t, host.Host, s.Client(), path)
		if got != want && (want != "refused" || (got != "400" && got != "reset")) {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
		up.last(t)
	}
	r, _ := http.NewRequest(http.MethodGet, s.URL+"/models/m", http.NoBody)
	res, err := s.Client().Do(r)
	if err != nil || res.ProtoMajor != 2 || res.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", res, err)
	}
	_ = res.Body.Close()
}

// askHTTP2 sends one GET for path, whatever it is, and returns the status or "reset".
func askHTTP2(t *testing.T, host string, client *http.Client, path string) string {
	t.Helper()
	config := client.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"h2"}
	c, err := tls.Dial("tcp", host, config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, http2.ClientPreface)
	framer := http2.NewFramer(c, c)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = framer.WriteSettings()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "x"}, {":path", path}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return "reset"
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "reset"
		}
	}
}

// TestHTTP2BodyIsBoundedAndNotCut: deadlines there are of a stream, and final.
func TestHTTP2BodyIsBoundedAndNotCut(t *testing.T) {
	p, err := proxy.New(proxy.Config{
		Record: func(proxy.Record) {}, ReadTimeout: 100 * time.Millisecond, BodyTimeout: 400 * time.Millisecond,
		Routes: []proxy.Route{{Name: "m", Public: true, Transport: model(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(p)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	tick := time.NewTicker(50 * time.Millisecond)
	t.Cleanup(tick.Stop)
	for _, c := range []struct {
		path        string
		parts, want int
	}{{"/nope", 1000, http.StatusNotFound}, {"/models/m", 1000, http.StatusRequestTimeout}, {"/models/m", 5, http.StatusOK}} {
		in, out := io.Pipe()
		go func() {
			for range c.parts {
				<-tick.C
				if _, err := out.Write([]byte("a")); err != nil {
					return
				}
			}
			_ = out.Close()
		}()
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+c.path, in)
		r.ContentLength = int64(c.parts)
		res, err := s.Client().Do(r)
		if err != nil || res.ProtoMajor != 2 || res.StatusCode != c.want {
			t.Fatalf("%s, %d parts: %v %v", c.path, c.parts, res, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		_ = in.Close()
	}
}
