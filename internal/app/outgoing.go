package app

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
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
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
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

// scoring returns the Transport for the models: what they answer passes as it
// is, compressed or not.
func scoring(pool *x509.CertPool) *http.Transport {
	t := outgoing(pool)
	t.DisableCompression = true
	t.MaxResponseHeaderBytes = 256 << 10
	return t
}
