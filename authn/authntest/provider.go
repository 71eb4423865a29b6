package authntest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// A Provider is an OpenID provider. It is an http.Handler and safe for concurrent use.
type Provider struct {
	options    Options
	issuer     string
	base       *url.URL // the issuer
	path       string   // of base, without a slash at its end
	keys       *keyring
	store      *store
	op         *openID
	pages      *pages
	sameOrigin *http.CrossOriginProtection // for the login form: login CSRF

	mu     sync.Mutex
	calls  map[Endpoint]int
	faults []*fault

	server *http.Server // nil for a Provider that a caller mounts
	served chan error
	conns  sync.WaitGroup
	close  sync.Once
}

// New returns a Provider for the caller to mount where Options.Issuer says. Listen,
// Listener and TLS are not looked at, and there is nothing to close.
func New(o Options) (*Provider, error) {
	o.TLS = nil
	return newProvider(o, "")
}

// Start returns a Provider that serves until Close.
func Start(o Options) (*Provider, error) {
	l, err := o.listen()
	if err != nil {
		return nil, err
	}
	p, err := newProvider(o, l.Addr().String())
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if o.TLS != nil {
		l = tls.NewListener(l, o.TLS)
	}
	p.server = &http.Server{
		Handler:           p,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
		Protocols:         new(http.Protocols),
		ConnState:         p.countConn,
	}
	p.server.Protocols.SetHTTP1(true) // Refuse cuts connections, which HTTP/2 shares
	p.served = make(chan error, 1)
	go func() { p.served <- p.server.Serve(l) }()
	return p, nil
}

func (o Options) listen() (net.Listener, error) {
	if o.Listener != nil {
		return o.Listener, nil
	}
	if strings.HasPrefix(o.Issuer, "https:") && o.TLS == nil {
		return nil, fmt.Errorf("issuer %q: listening for https needs TLS", o.Issuer)
	}
	address := o.Listen
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("identity provider: %w", err)
	}
	return l, nil
}

func newProvider(o Options, listening string) (*Provider, error) {
	o, base, err := o.resolve(listening)
	if err != nil {
		return nil, fmt.Errorf("identity provider: %w", err)
	}
	p := &Provider{
		options: o, issuer: o.Issuer, base: base,
		path:       strings.TrimSuffix(base.Path, "/"),
		calls:      map[Endpoint]int{},
		pages:      newPages(),
		sameOrigin: http.NewCrossOriginProtection(),
	}
	if p.keys, err = newKeyring(o.Algorithm); err != nil {
		return nil, err
	}
	p.store = newStore(o, p.loginURL)
	p.op = newOpenID(&opStorage{store: p.store, keys: p.keys}, p.url("/signed-out"))
	return p, nil
}

// Issuer returns the issuer, as it is in tokens and in the discovery document.
func (p *Provider) Issuer() string { return p.issuer }

// url returns the address of a path below the issuer.
func (p *Provider) url(path string) string {
	return strings.TrimSuffix(p.issuer, "/") + path
}

func (p *Provider) loginURL(requestID string) string {
	return p.url("/login?request=") + url.QueryEscape(requestID)
}

// ServeHTTP answers at the paths below the issuer, whatever the Host field says.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	endpoint, ok := endpointAt(strings.TrimPrefix(r.URL.Path, p.path))
	if !ok || !strings.HasPrefix(r.URL.Path, p.path) {
		http.NotFound(w, r)
		return
	}
	h := p.handler(endpoint)
	for _, f := range p.called(endpoint) {
		h = f.wrap(h)
	}
	r = r.WithContext(p.context(r.Context()))
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	http.StripPrefix(p.path, h).ServeHTTP(w, r)
}

func (p *Provider) context(ctx context.Context) context.Context {
	return op.ContextWithIssuer(ctx, p.issuer)
}

// Calls returns how often an endpoint was called since the start, misbehaving or
// not, preflights included; Any for all of them.
func (p *Provider) Calls(e Endpoint) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e != Any {
		return p.calls[e]
	}
	sum := 0
	for _, n := range p.calls {
		sum += n
	}
	return sum
}

// RotateKey makes a new key sign from now on and returns its ID. The keys before
// it stay published until RetireKeys.
func (p *Provider) RotateKey() (string, error) { return p.keys.rotate() }

// RetireKeys withdraws all keys but the one that signs.
func (p *Provider) RetireKeys() { p.keys.retire() }

// SetUser adds a user, or replaces the one of that name: tokens issued from now
// on, by a refresh too, say what u says.
func (p *Provider) SetUser(u User) error {
	if err := (Options{Users: []User{u}}).checkNames(); err != nil {
		return err
	}
	p.store.setUser(u)
	return nil
}

// Revoke ends every session and every grant of the user with that name.
func (p *Provider) Revoke(username string) error {
	u, ok := p.store.userNamed(username)
	if !ok {
		return fmt.Errorf("user %q: %w", username, errNotFound)
	}
	p.store.revoke(u.subject())
	return nil
}

// countConn lets Close wait for the goroutines of all connections.
func (p *Provider) countConn(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		p.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		p.conns.Done()
	}
}

// Close stops serving, cuts every connection, and waits until nothing of the
// Provider is left running.
func (p *Provider) Close() error {
	var err error
	p.close.Do(func() {
		if p.server == nil {
			return
		}
		err = p.server.Close()
		if served := <-p.served; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		p.conns.Wait()
	})
	return err
}
