package app_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"amlproxy/internal/app"
	"amlproxy/internal/config"
)

// serving is a proxy with TLS whose files a test exchanges.
type serving struct {
	folder
	server *pki
	url    string
	log    *logs
	hangup chan os.Signal
}

func newServing(t *testing.T, model string, callers *pki) *serving {
	t.Helper()
	s := &serving{folder: newFolder(t), server: newPKI(t, "server"), log: &logs{}, hangup: make(chan os.Signal)}
	cert, key := s.server.issue(time.Hour)
	environ := public(model, "AMLPROXY_TLS_CERT_FILE="+s.put("cert.pem", cert), "AMLPROXY_TLS_KEY_FILE="+s.put("key.pem", key))
	if callers != nil {
		environ = append(environ, "AMLPROXY_CLIENT_CA_FILE="+s.put("callers.pem", callers.pem))
	}
	settings, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t)
	a, err := app.New(settings, app.Options{Log: s.log, Listener: l, AdminListener: listen(t), Hangup: s.hangup})
	if err != nil {
		t.Fatal(err)
	}
	serveUntilTheEnd(t, a)
	s.url = "https://" + l.Addr().String()
	return s
}

// reloaded has the certificate read again, and waits until it was.
func (s *serving) reloaded(says string) {
	s.t.Helper()
	before := strings.Count(s.log.String(), says)
	s.hangup <- syscall.SIGHUP
	for deadline := time.Now().Add(10 * time.Second); strings.Count(s.log.String(), says) == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the log does not say %q", says)
		}
	}
}

// caller is a client with a certificate, that resumes sessions as browsers do.
func (s *serving) caller(own ...tls.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.server.pool(), Certificates: own, ClientSessionCache: tls.NewLRUClientSessionCache(8)},
	}}
}

func TestClientCertificatesAreRequired(t *testing.T) {
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scored") }))
	defer model.Close()
	callers, other := newPKI(t, "callers"), newPKI(t, "other")
	s := newServing(t, model.URL+"/score", callers)
	for name, row := range map[string]struct {
		own  []tls.Certificate
		want int
	}{
		"a good one":       {[]tls.Certificate{callers.pair(time.Hour)}, 200},
		"none":             {nil, 0},
		"a stranger's":     {[]tls.Certificate{other.pair(time.Hour)}, 0},
		"an expired one":   {[]tls.Certificate{callers.pair(-time.Hour)}, 0},
		"of the server's":  {[]tls.Certificate{s.server.pair(time.Hour)}, 0},
		"signed by itself": {[]tls.Certificate{selfMade(t)}, 0},
	} {
		// On every path: health checks are asked on the other listener.
		for _, path := range []string{"/models/m", "/livez", "/", "/oauth2/userinfo"} {
			status, body := get(t, s.caller(row.own...), s.url+path)
			if (status != 0) != (row.want != 0) || path == "/models/m" && status != row.want {
				t.Errorf("%s at %s: %d %s", name, path, status, body)
			}
		}
	}
}

func selfMade(t *testing.T) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(selfSigned(t, 7))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// CVE-2025-68121: other roots count for whoever was let in before, too: on a
// connection that is open, and in a session that would be resumed.
func TestOtherClientRootsCountAtOnce(t *testing.T) {
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scored") }))
	defer model.Close()
	before, after := newPKI(t, "before"), newPKI(t, "after")
	s := newServing(t, model.URL+"/score", before)
	old, fresh := s.caller(before.pair(time.Hour)), s.caller(after.pair(time.Hour))
	calls := func(c *http.Client) int { status, _ := get(t, c, s.url+"/models/m"); return status }
	if got := []int{calls(old), calls(fresh)}; got[0] != 200 || got[1] != 0 {
		t.Fatal(got)
	}
	s.put("callers.pem", append(after.pem, before.pem...))
	s.reloaded("the certificate was taken over")
	if got := []int{calls(old), calls(fresh)}; got[0] != 200 || got[1] != 200 {
		t.Errorf("both roots: %v", got)
	}
	s.put("callers.pem", []byte("-----BEGIN CERTIFICATE-----\nhalf of o"))
	s.reloaded("the certificate was not taken over")
	if got := []int{calls(old), calls(fresh)}; got[0] != 200 || got[1] != 200 {
		t.Errorf("a mistake: %v", got)
	}
	s.put("callers.pem", after.pem)
	s.reloaded("the certificate was taken over")
	if got := calls(old); got != http.StatusMisdirectedRequest {
		t.Errorf("on an open connection: %d", got)
	}
	if got := []int{calls(old), calls(fresh)}; got[0] != 0 || got[1] != 200 {
		t.Errorf("a new connection: %v", got)
	}
}

// A stream ends with the roots that its caller was let in under.
func TestStreamsEndWithTheRootsOfTheirCallers(t *testing.T) {
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(model.Close) // when nobody reads any more
	before, after := newPKI(t, "before"), newPKI(t, "after")
	s := newServing(t, model.URL+"/score", before)
	s.put("callers.pem", append(after.pem, before.pem...))
	s.reloaded("the certificate was taken over")
	open := func(own *pki) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/models/m", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.caller(own.pair(time.Hour)).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		return res
	}
	old, fresh := open(before), open(after)
	s.put("callers.pem", after.pem)
	s.reloaded("the certificate was taken over")
	ended, goesOn := make(chan error, 1), make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, old.Body); ended <- err }()
	go func() { _, err := io.Copy(io.Discard, fresh.Body); goesOn <- err }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it looks whole")
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
	select {
	case err := <-goesOn:
		t.Errorf("that of a caller who is admitted ended: %v", err)
	default:
	}
}

// TLS 1.2 at least, sessions are resumed where no certificate is asked for, and half
// of a new pair leaves the one before.
func TestTLS(t *testing.T) {
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scored") }))
	defer model.Close()
	s := newServing(t, model.URL+"/score", nil)
	address := strings.TrimPrefix(s.url, "https://")
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: s.server.pool(), MinVersion: version, MaxVersion: version})
		if (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
	sessions := tls.NewLRUClientSessionCache(8)
	handshake := func() (resumed bool, serial string) {
		t.Helper()
		raw, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conn := tls.Client(raw, &tls.Config{RootCAs: s.server.pool(), ServerName: "127.0.0.1", ClientSessionCache: sessions, NextProtos: []string{"http/1.1"}})
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn) // the ticket comes with the answer
		state := conn.ConnectionState()
		if len(state.PeerCertificates) == 0 {
			return false, "none"
		}
		return state.DidResume, state.PeerCertificates[0].SerialNumber.String()
	}
	if resumed, _ := handshake(); resumed {
		t.Error("the first is resumed")
	}
	if resumed, _ := handshake(); !resumed {
		t.Error("the second is not resumed")
	}
	cert, key := s.server.issue(time.Hour)
	s.put("cert.pem", cert)
	s.reloaded("the certificate was not taken over") // the key is not there yet
	s.put("key.pem", key)
	s.reloaded("the certificate was taken over")
	sessions = tls.NewLRUClientSessionCache(8)
	if _, serial := handshake(); serial != serialOf(t, cert, key) {
		t.Error("the certificate before is still served")
	}
}

func serialOf(t *testing.T, cert, key []byte) string {
	t.Helper()
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf.SerialNumber.String()
}
