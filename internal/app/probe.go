package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
)

const probeLimit = 15 * time.Second // one request and its answer

// errRefused: the endpoint answered 401 to a key.
var errRefused = errors.New("the endpoint refuses it")

// A probe asks an endpoint whether it accepts a key, without scoring anything:
// scoring may cost. Which request tells differs between kinds of endpoint, and is
// found out with a key made up: only what that one is refused for proves anything
// about another.
type probe struct {
	base         http.RoundTripper
	method, path string // of the request; empty until chosen
}

func newProbe(base http.RoundTripper) *probe { return &probe{base: base} }

// String names the request, below the scoring address.
func (p *probe) String() string { return p.method + " " + p.path }

func (p *probe) chosen() bool { return p.method != "" }

// choose finds a request that the endpoint of lease refuses to a key made up.
func (p *probe) choose(ctx context.Context, lease *upstream.Lease) error {
	seen := errors.New("nothing harmless tells whether the endpoint accepts a key")
	for _, r := range [][2]string{{http.MethodGet, "/swagger.json"}, {http.MethodOptions, "/score"}} {
		candidate := &probe{base: p.base, method: r[0], path: r[1]}
		status, err := candidate.send(ctx, lease, secret.New(rand.Text()))
		switch {
		case errors.Is(err, errRefused):
			*p = *candidate
			return nil
		case err != nil:
			seen = fmt.Errorf("%w; %w", seen, err)
		default:
			seen = fmt.Errorf("%w; it answers %d to %s with a key made up", seen, status, candidate)
		}
	}
	return seen
}

// accepts returns nil if the endpoint of lease accepts key.
func (p *probe) accepts(ctx context.Context, lease *upstream.Lease, key secret.Value) error {
	status, err := p.send(ctx, lease, key)
	switch {
	case err != nil:
		return err
	case status == http.StatusForbidden, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return fmt.Errorf("the endpoint answers %d to %s, which does not tell", status, p)
	}
	return nil // 404 and 405 are answers to those that were let in, as the key made up was not
}

// send sends the request with one key alone, as a proxy would.
func (p *probe) send(ctx context.Context, lease *upstream.Lease, key secret.Value) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	alone := *lease
	alone.Primary, alone.Secondary = key, secret.Value{}
	alone.Refresh, alone.Expires = time.Time{}, time.Time{}
	backend := upstream.Cached(upstream.Static(alone), nil)
	defer func() { _ = backend.Close() }()
	transport := &upstream.Transport{Backends: []upstream.Backend{backend}, Base: p.base}

	req := (&http.Request{Method: p.method, URL: &url.URL{Path: p.path}, Header: http.Header{}}).WithContext(ctx)
	resp, err := transport.RoundTrip(req)
	if errors.Is(err, upstream.ErrRejected) {
		return http.StatusUnauthorized, errRefused
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", p, err)
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<20)
	return resp.StatusCode, resp.Body.Close()
}
