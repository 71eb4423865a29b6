package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

const (
	defaultMaxBody = 64 << 20
	defaultTimeout = 180 * time.Second
	defaultIdle    = 5 * time.Minute
)

// reserved are the proxy's own paths: no route may lie at or below them.
var reserved = []string{"/oauth2", "/livez", "/readyz", "/.well-known"}

// A route is a Route made ready, once: no request does work that belongs to it.
// It is immutable but for the counters of its limits.
type route struct {
	name, path string
	host       string // "" for every one
	elsewhere  bool   // on a host where no session can be
	public     bool
	access     *access
	rule       string // the same, as it was given: another one for another rule
	scopes     string // those that the rule names, for the challenge of RFC 6750

	methods []string
	allow   string          // the same, as the Allow field
	paths   map[string]bool // nil: anything

	cors    *cors
	csrf    *http.CrossOriginProtection
	limits  *limits
	maxBody int64
	timeout time.Duration // until the answer begins
	idle    time.Duration // then between two bytes

	identity identityFields
	proxy    *httputil.ReverseProxy
	load     *load
}

// takes reports whether rest may be called: the scoring address goes by the names
// "", "/" and "/score".
func (rt *route) takes(rest string) bool {
	if rt.paths == nil {
		return true
	}
	return rt.paths[called(rest)]
}

// allowed returns the methods that may be used on rest, as an Allow field. A
// description is only ever read.
func (rt *route) allowed(rest string) (methods []string, allow string) {
	if called(rest) != "swagger.json" {
		return rt.methods, rt.allow
	}
	reading := slices.DeleteFunc(slices.Clone(rt.methods), func(m string) bool {
		return m != http.MethodGet && m != http.MethodHead
	})
	return reading, strings.Join(reading, ", ")
}

func called(rest string) string {
	if rest == "" || rest == "/" {
		return "score"
	}
	return rest[1:]
}

func newRoute(p *Proxy, from Route) (*route, error) {
	rt := &route{
		name: from.Name, path: from.Path, host: from.Host, elsewhere: elsewhere(p.publicURL, from.Host), public: from.Public,
		maxBody: from.MaxBody, timeout: from.Timeout, idle: from.IdleTimeout,
	}
	var errs []error
	note := func(field string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		}
	}
	var err error
	note("name", checkName(from.Name))
	if rt.path == "" {
		rt.path = "/models/" + from.Name
	}
	note("path", checkRoutePath(rt.path))
	note("host", checkHost(rt.host))
	note("access", checkAccess(p, from))
	rt.access, err = newAccess(from.Access)
	note("access", err)
	if from.Access != nil {
		rt.rule = fmt.Sprintf("%q", *from.Access)
	}
	rt.scopes = scopesOf(from.Access)
	rt.methods, err = newMethods(from.Methods)
	note("methods", err)
	rt.allow = strings.Join(rt.methods, ", ")
	rt.paths, err = newPaths(from.Paths)
	note("paths", err)
	rt.cors, err = newCORS(from.CORS, rt.methods)
	note("cors", err)
	rt.csrf, err = newCSRF(p.publicURL, from.CORS)
	note("cors", err)
	rt.limits, err = newLimits(p, &from, p.limitsOf(from.Name))
	note("limits", err)
	rt.identity, err = newIdentityFields(from.IdentityHeaders)
	note("identity_headers", err)
	note("max_body", rt.fillMaxBody())
	note("timeout", rt.fillTimes())
	if from.Transport == nil {
		note("transport", errors.New("missing"))
	}
	rt.proxy = p.newReverseProxy(from.Transport)
	rt.load = p.table.Load().loadOf(from.Name)
	return rt, errors.Join(errs...)
}

func checkName(name string) error {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return errors.New("must be of a-z, 0-9 and -")
	}
	return nil
}

// checkRoutePath takes only paths that have one spelling, so that no request can
// name a route in another way than its own.
func checkRoutePath(path string) error {
	if path == "/" {
		return nil
	}
	if err := checkPath(path); err != nil {
		return err
	}
	if strings.HasSuffix(path, "/") {
		return errors.New("must not end with /")
	}
	if strings.ContainsFunc(path, func(r rune) bool { return r != '/' && !isUnreserved(byte(r)) }) {
		return errors.New("must be of letters, digits, - . _ ~ and /")
	}
	if isReserved(path) {
		return errors.New("is one of the proxy's own")
	}
	return nil
}

// checkHost takes only hosts that have one spelling: in lower case and without a
// dot at the end, as find looks for them (CVE-2026-27588, CVE-2026-48794).
func checkHost(host string) error {
	if host == "" {
		return nil
	}
	name, port := splitHost(host)
	if !validHost(host) || name == "" || host != name && host != name+":"+port {
		return errors.New("must be a host in lower case, with or without a port")
	}
	return nil
}

// elsewhere reports whether host is another one than that of public: the cookies of
// a session are for that alone.
func elsewhere(public *url.URL, host string) bool {
	if public == nil || host == "" {
		return false
	}
	name, _ := splitHost(host)
	own, _ := splitHost(public.Host)
	return name != own
}

func isReserved(path string) bool {
	return slices.ContainsFunc(reserved, func(own string) bool {
		return path == own || strings.HasPrefix(path, own+"/")
	})
}

func checkAccess(p *Proxy, from Route) error {
	if from.Public && from.Access != nil {
		return errors.New("a public route has none")
	}
	if !from.Public && p.authenticator == nil {
		return errors.New("nobody can be authenticated (Authenticator is nil), and the route is not public")
	}
	return nil
}

func scopesOf(a *Access) string {
	if a == nil {
		return ""
	}
	return strings.Join(append(slices.Clone(a.All.Scopes), a.Any.Scopes...), " ")
}

// newMethods refuses CONNECT and TRACE, which speak to the proxy and not to a
// model; TRACE would also show a page the fields that were added (RFC 9110
// section 9.3.8).
func newMethods(methods []string) ([]string, error) {
	if methods == nil {
		return []string{http.MethodGet, http.MethodPost}, nil
	}
	if len(methods) == 0 {
		return nil, errors.New("an empty list")
	}
	for _, m := range methods {
		if !httpguts.ValidHeaderFieldName(m) || m == "*" || m != strings.ToUpper(m) {
			return nil, fmt.Errorf("%q is no method", m)
		}
		if m == http.MethodConnect || m == http.MethodTrace {
			return nil, fmt.Errorf("%s is not forwarded", m)
		}
	}
	return slices.Clone(methods), nil
}

func newPaths(paths []string) (map[string]bool, error) {
	switch {
	case paths == nil:
		return map[string]bool{"score": true, "swagger.json": true}, nil
	case len(paths) == 0:
		return nil, errors.New("an empty list")
	case len(paths) == 1 && paths[0] == "*":
		return nil, nil
	}
	made := make(map[string]bool, len(paths))
	for _, path := range paths {
		if path == "" || path == "*" {
			return nil, fmt.Errorf("%q beside others", path)
		}
		if err := checkPath("/" + path); err != nil {
			return nil, fmt.Errorf("%q: %w", path, err)
		}
		if strings.Contains(path, "%") {
			return nil, fmt.Errorf("%q: percent-encoded", path)
		}
		made[path] = true
	}
	return made, nil
}

func (rt *route) fillMaxBody() error {
	if rt.maxBody < 0 {
		return errors.New("negative")
	}
	if rt.maxBody == 0 {
		rt.maxBody = defaultMaxBody
	}
	return nil
}

func (rt *route) fillTimes() error {
	if rt.timeout < 0 || rt.idle < 0 {
		return errors.New("negative")
	}
	if rt.timeout == 0 {
		rt.timeout = defaultTimeout
	}
	if rt.idle == 0 {
		rt.idle = defaultIdle
	}
	return nil
}
