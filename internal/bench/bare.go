//go:build linux

package main

import (
	"crypto/tls"
	"flag"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// bareRole is the first argument of a process that is the bare proxy.
const bareRole = "bare"

// runBare is what amlproxy is compared with: net/http's reverse proxy as one would
// write it for speed, which adds the key and checks nobody.
func runBare(args []string) error {
	flags := flag.NewFlagSet(bareRole, flag.ContinueOnError)
	listen := flags.String("listen", "", "address for callers")
	admin := flags.String("admin", "", "address for metrics")
	to := flags.String("to", "", "URL of the upstream")
	key := flags.String("key", "", "for the upstream")
	cert := flags.String("cert", "", "file of a certificate and its key: serve TLS")
	if err := flags.Parse(args); err != nil {
		return err
	}
	target, err := url.Parse(*to)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newBare(target, "Bearer "+*key), ReadHeaderTimeout: headerTimeout}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	go serveMetrics(*admin)
	if *cert == "" {
		return server.Serve(l)
	}
	server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	return server.ServeTLS(l, *cert, *cert)
}

func serveMetrics(address string) {
	server := &http.Server{Addr: address, Handler: promhttp.Handler(), ReadHeaderTimeout: headerTimeout}
	_ = server.ListenAndServe() // who asks for the metrics sees that it failed
}

func newBare(target *url.URL, credential string) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			u := *target
			u.RawQuery = pr.In.URL.RawQuery
			pr.Out.URL, pr.Out.Host = &u, ""
			pr.Out.Header["Authorization"] = []string{credential}
		},
		Transport: &http.Transport{
			MaxIdleConns: 1024, MaxIdleConnsPerHost: 256, // at least the concurrency
			DisableCompression: true,
		},
		BufferPool: &buffers{},
	}
}

// buffers lends the memory through which answers are copied.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get returns a buffer.
func (b *buffers) Get() []byte {
	if kept, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return kept[:]
	}
	return make([]byte, bufferSize)
}

// Put takes one back.
func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferSize]byte)(p)) }
