package app_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// secureModel is a model with a certificate of p that lives for a while. callers,
// if not nil, are who may call it.
func secureModel(t *testing.T, p *pki, life time.Duration, callers *x509.CertPool, names ...string) *httptest.Server {
	t.Helper()
	model := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scored") }))
	model.TLS = &tls.Config{Certificates: []tls.Certificate{p.pair(life, names...)}}
	if callers != nil {
		model.TLS.ClientCAs, model.TLS.ClientAuth = callers, tls.RequireAndVerifyClientCert
	}
	model.Config.ErrorLog = log.New(io.Discard, "", 0)
	model.StartTLS()
	t.Cleanup(model.Close)
	return model
}

// What a route says about TLS counts for that route, and denies what it should.
func TestUpstreamTLS(t *testing.T) {
	own, other, clients := newPKI(t, "own"), newPKI(t, "other"), newPKI(t, "clients")
	f := newFolder(t)
	f.put("own.pem", own.pem)
	f.put("other.pem", other.pem)
	for name, p := range map[string]*pki{"client": clients, "stranger": other} {
		cert, key := p.issue(time.Hour)
		f.put(name+".pem", cert)
		f.put(name+".key", key)
	}
	plain := secureModel(t, own, time.Hour, nil)
	named := secureModel(t, own, time.Hour, nil, "model.example")
	guarded := secureModel(t, own, time.Hour, clients.pool())
	expired := secureModel(t, own, -time.Hour, nil)
	tests := []struct {
		name, url, tls string
		want           int
		log            string
	}{
		{"its ca", plain.URL, "{ca_file: own.pem}", 200, ""},
		{"no ca of its own", plain.URL, "", 502, "certificate signed by unknown authority"},
		{"another ca", plain.URL, "{ca_file: other.pem}", 502, "certificate signed by unknown authority"},
		{"its name", named.URL, "{ca_file: own.pem, server_name: model.example}", 200, ""},
		{"another name", named.URL, "{ca_file: own.pem, server_name: other.example}", 502, "not other.example"},
		{"a client certificate", guarded.URL, "{ca_file: own.pem, cert_file: client.pem, key_file: client.key}", 200, ""},
		{"none", guarded.URL, "{ca_file: own.pem}", 502, "certificate required"},
		{"a stranger's", guarded.URL, "{ca_file: own.pem, cert_file: stranger.pem, key_file: stranger.key}", 502, "tls: "},
		{"an expired certificate (F46)", expired.URL, "{ca_file: own.pem}", 502, "certificate has expired or is not yet valid"},
	}
	yaml := "routes:\n"
	for i, test := range tests {
		yaml += fmt.Sprintf("  - {name: m%d, url: %q, auth: none, public: true", i, test.url+"/score")
		if test.tls != "" {
			yaml += ", tls: " + strings.ReplaceAll(test.tls, "_file: ", "_file: "+f.dir+"/")
		}
		yaml += "}\n"
	}
	r := newReloading(t, yaml)
	for i, test := range tests {
		status, body := get(t, http.DefaultClient, fmt.Sprintf("%s/models/m%d", r.url, i))
		if status != test.want || status == 200 && body != "scored" || strings.Contains(body, "x509") {
			t.Errorf("%s: %d %s, want %d", test.name, status, body, test.want)
		}
		line := lineWith(r.log.String(), fmt.Sprintf(`"route":"m%d"`, i))
		if test.log != "" && !strings.Contains(line, test.log) {
			t.Errorf("%s: the log does not say %q: %s", test.name, test.log, line)
		}
	}

	// The files change, the routes do not.
	f.put("own.pem", other.pem)
	r.hangup <- syscall.SIGHUP
	until(t, "the new roots count", func() bool { return r.status("/models/m0") == http.StatusBadGateway })
	f.put("own.pem", append(other.pem, own.pem...))
	r.hangup <- syscall.SIGHUP
	until(t, "and both", func() bool { return r.status("/models/m0") == http.StatusOK })
}

// lineWith returns the last line of a log that has text.
func lineWith(log, text string) string {
	lines := strings.Split(log, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.Contains(lines[i], text) {
			return lines[i]
		}
	}
	return ""
}
