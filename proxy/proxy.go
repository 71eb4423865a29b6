package proxy

import (
	"errors"
	"net/http"
)

// A Proxy serves models to callers: the routes, and the proxy's own endpoints.
// It is an http.Handler, safe for concurrent use.
type Proxy struct{}

// New returns a Proxy. Its error names every field that is wrong.
func New(Config) (*Proxy, error) { return nil, errors.New("not built yet") }

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(http.ResponseWriter, *http.Request) {}
