package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"amlproxy/internal/config"
)

// A certificate is what TLS is served with: a pair of files, and those who may
// open a connection. It is read again when a file changes. Files that cannot be
// used, one already new and the other not yet, leave in place what was made of
// those before. It stands apart from all other settings: a mistake in a route must
// not let a certificate expire.
type certificate struct {
	certFile, keyFile, clientCAFile string

	current atomic.Pointer[tls.Config]

	mu      sync.Mutex
	running map[*admitted]struct{} // where callers show certificates
}

func newCertificate(s *config.Settings) (*certificate, error) {
	c := &certificate{certFile: s.TLSCertFile, keyFile: s.TLSKeyFile, clientCAFile: s.ClientCAFile, running: make(map[*admitted]struct{})}
	return c, c.read()
}

// files are those that it is made of.
func (c *certificate) files() []string {
	return slices.DeleteFunc([]string{c.certFile, c.keyFile, c.clientCAFile}, func(name string) bool { return name == "" })
}

// config is for the listener: each handshake is by what is current then.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil },
	}
}

func (c *certificate) read() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("AMLPROXY_TLS_CERT_FILE: %w", err)
	}
	fresh := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}
	if c.clientCAFile != "" {
		if fresh.ClientCAs, err = clientRoots(c.clientCAFile); err != nil {
			return fmt.Errorf("AMLPROXY_CLIENT_CA_FILE: %w", err)
		}
		fresh.ClientAuth = tls.RequireAndVerifyClientCert
		// A ticket would let in again, without a look at the certificate, whoever was
		// let in under other roots (CVE-2025-68121).
		fresh.SessionTicketsDisabled = true
	}
	c.current.Store(fresh)
	c.dismiss()
	return nil
}

func clientRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in it")
	}
	return pool, nil
}

// An admission is of one connection: the roots under which its certificate was
// last found to be good.
type admission struct{ under atomic.Pointer[x509.CertPool] }

type admissionKey struct{}

// An admitted request runs. What streams may do so for as long as its caller likes.
type admitted struct {
	request *http.Request
	end     context.CancelFunc
}

// admits lets requests through to h whose connection could be opened now as well: a
// connection can outlive the roots that it was opened under by days.
func (c *certificate) admits(h http.Handler) http.Handler {
	if c.clientCAFile == "" {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, end := context.WithCancel(r.Context())
		defer end()
		one := &admitted{r, end}
		c.enter(one) // before the look, or roots that come in between would miss it
		defer c.leave(one)
		if !c.stillAdmits(r) {
			w.Header().Set("Connection", "close")
			http.Error(w, "the certificate that this connection was opened with is not good any more", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (c *certificate) enter(one *admitted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[one] = struct{}{}
}

func (c *certificate) leave(one *admitted) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, one)
}

// dismiss ends what runs for those who are not admitted any more.
func (c *certificate) dismiss() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for one := range c.running {
		if !c.stillAdmits(one.request) {
			one.end()
		}
	}
}

func (c *certificate) stillAdmits(r *http.Request) bool {
	pool := c.current.Load().ClientCAs
	if pool == nil {
		return true
	}
	a, ok := r.Context().Value(admissionKey{}).(*admission)
	if !ok || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	if a.under.Load() == pool {
		return true
	}
	between := x509.NewCertPool()
	for _, cert := range r.TLS.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := r.TLS.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err == nil {
		a.under.Store(pool)
	}
	return err == nil
}
