package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpproxy"

	"amlproxy/internal/config"
)

// roots returns the system's roots and those of file, nil for the system's alone.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // what crypto/tls calls "the host's root CA set"
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("AMLPROXY_CA_FILE: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a platform without one
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("AMLPROXY_CA_FILE: %s holds no certificate", file)
	}
	return pool, nil
}

// outgoing returns a Transport for one destination: the provider, the workspace
// and the models have one each, so that none shares another's fate.
// HTTPS_PROXY and NO_PROXY mean what they mean everywhere.
func outgoing(pool *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:       proxies(),
		DialContext: (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		// Without a cache of sessions every handshake looks at the certificate anew:
		// nothing that other roots let in is resumed (CVE-2025-68121).
		TLSClientConfig:       &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		ForceAttemptHTTP2:     true,
		// What a page of headers costs is for us to say and not for who answers; 10 MiB
		// is what net/http would take.
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns:           512,
		MaxIdleConnsPerHost:    256, // at least the concurrency, or connections are made and dropped in turns
		IdleConnTimeout:        90 * time.Second,
	}
}

// proxies returns what finds the proxy for an address; nil where the environment
// names none, which is looked at once and not for every request.
func proxies() func(*http.Request) (*url.URL, error) {
	named := httpproxy.FromEnvironment()
	if named.HTTPProxy == "" && named.HTTPSProxy == "" {
		return nil
	}
	find := named.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) { return find(r.URL) }
}

// scoring returns the Transport for the models: what they answer passes as it
// is, compressed or not.
func scoring(pool *x509.CertPool) *http.Transport {
	t := outgoing(pool)
	t.DisableCompression = true
	t.MaxResponseHeaderBytes = 256 << 10
	return t
}

// scoringWith is scoring for a backend that is called in a way of its own.
func scoringWith(own *config.TLS, pool *x509.CertPool) (*http.Transport, error) {
	t := scoring(pool)
	t.TLSClientConfig.ServerName = own.ServerName
	if own.CA != "" {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(own.CA)) {
			return nil, errors.New("tls: ca_file holds no certificate")
		}
	}
	if own.Cert != "" {
		pair, err := tls.X509KeyPair([]byte(own.Cert), []byte(own.Key.Reveal()))
		if err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		t.TLSClientConfig.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// A line is an http.RoundTripper whose Transport can be exchanged: a request under
// way ends on the one that it began on, and the next is sent on the new one.
type line struct {
	current atomic.Pointer[http.Transport]
}

func newLine(t *http.Transport) *line {
	l := &line{}
	l.current.Store(t)
	return l
}

// RoundTrip implements [http.RoundTripper].
func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	return l.current.Load().RoundTrip(r)
}

// CloseIdleConnections is what an http.Client looks for.
func (l *line) CloseIdleConnections() { l.current.Load().CloseIdleConnections() }

func (l *line) exchange(t *http.Transport) { l.current.Swap(t).CloseIdleConnections() }
