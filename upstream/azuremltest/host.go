package azuremltest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// hosts are the servers of one Azure: where they listen and how they end.
type hosts struct {
	listen      func() (net.Listener, error)
	certificate tls.Certificate
	base        func(net.Listener) context.Context // of every request
	cancel      context.CancelFunc                 // ends it

	mu      sync.Mutex
	closed  bool
	servers []*http.Server
	running sync.WaitGroup // of servers and handlers
}

// A host is one address that is served.
type host struct {
	url    string // https://127.0.0.1:port, without a slash at the end
	server *http.Server
}

// serve opens a port and serves handler on it until close.
func (h *hosts) serve(secure bool, handler http.Handler) (*host, error) {
	listener, err := h.listen()
	if err != nil {
		return nil, fmt.Errorf("opening a port: %w", err)
	}
	address := "http://" + listener.Addr().String()
	if secure {
		address = "https://" + listener.Addr().String()
		listener = tls.NewListener(listener, &tls.Config{
			Certificates: []tls.Certificate{h.certificate},
			MinVersion:   tls.VersionTLS12,
			NextProtos:   []string{"http/1.1"}, // hangUp and Refusal need it
		})
	}
	server := &http.Server{
		Handler:           h.tracked(handler),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // broken connections are its business
		BaseContext:       h.base,
	}
	if !h.start(server, listener) {
		return nil, errors.Join(errClosed, listener.Close())
	}
	return &host{url: address, server: server}, nil
}

// start runs the server, unless everything has been closed meanwhile.
func (h *hosts) start(server *http.Server, listener net.Listener) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.servers = append(h.servers, server)
	h.running.Go(func() { _ = server.Serve(listener) }) // always ErrServerClosed, or its listener's end
	return true
}

// tracked lets close wait for handlers, which http.Server.Close does not.
func (h *hosts) tracked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.enter() {
			return
		}
		defer h.running.Done()
		next.ServeHTTP(w, r)
	})
}

func (h *hosts) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.running.Add(1)
	}
	return !h.closed
}

// close ends every server and connection, and returns when the last handler
// has.
func (h *hosts) close() error {
	h.mu.Lock()
	h.closed = true
	servers := h.servers
	h.servers = nil
	h.mu.Unlock()
	h.cancel()
	var errs []error
	for _, server := range servers {
		errs = append(errs, server.Close())
	}
	h.running.Wait()
	return errors.Join(errs...)
}

// errClosed: something was added to an Azure that had been closed.
var errClosed = errors.New("this Azure is closed")
