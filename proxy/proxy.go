package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"amlproxy/authn"
)

// A Proxy serves models to callers: the routes, and the proxy's own endpoints.
// It is an http.Handler, safe for concurrent use.
type Proxy struct {
	authenticator authn.Authenticator // nil: every route is public
	login         Login               // nil: nobody is sent to sign in
	publicURL     *url.URL
	metadataURL   string // of RFC 9728; empty without a public URL
	issuers       []string
	trusted       []netip.Prefix
	record        func(*Record)
	trace         Trace
	limiter       Limiter                              // nil: no replica shares its limits
	admitter      func(context.Context, *Record) error // nil: everything is admitted
	ready         func() Readiness
	keepsGroup    func(group string) bool
	readTimeout   time.Duration
	bodyTimeout   time.Duration

	ongoing   *ongoing
	table     atomic.Pointer[table]       // so that other routes can take over in one step
	csrf      *http.CrossOriginProtection // of the proxy's own endpoints
	endpoints map[string]endpoint
	pages     *pages
	buffers   buffers
	chance    *chance
}

// New returns a Proxy. Its error names every field that is wrong, and every one
// whose absence would let somebody in.
func New(c Config) (*Proxy, error) {
	p := &Proxy{
		authenticator: c.Authenticator, login: c.Login, publicURL: c.PublicURL, issuers: slices.Clone(c.Issuers),
		trusted: slices.Clone(c.TrustedProxies), record: c.Record, trace: c.Trace, limiter: c.Limiter, admitter: c.Admit, ready: c.Ready, keepsGroup: c.KeepsGroup,
		readTimeout: cmp.Or(c.ReadTimeout, defaultRead), bodyTimeout: cmp.Or(c.BodyTimeout, defaultBody),
		chance:  newChance(),
		ongoing: newOngoing(c.Sessions, cmp.Or(c.SweepEvery, defaultSweep)),
	}
	var errs []error
	if c.Record == nil {
		errs = append(errs, errors.New("missing Record: no request goes unrecorded"))
	}
	if err := checkPublicURL(c.PublicURL, c.Login); err != nil {
		errs = append(errs, err)
	}
	if c.Login != nil && c.Authenticator == nil {
		errs = append(errs, errors.New("a Login without an Authenticator: nobody would ever be signed in"))
	}
	for _, prefix := range c.TrustedProxies {
		if !prefix.IsValid() || prefix.Bits() == 0 {
			errs = append(errs, fmt.Errorf("trusted proxies: %q trusts everybody (CVE-2026-76835)", prefix))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	if p.publicURL != nil {
		p.metadataURL = originOfURL(p.publicURL) + "/.well-known/oauth-protected-resource"
	}
	t, err := newTable(p, c.Routes)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p.table.Store(t)
	if p.csrf, err = newCSRF(p.publicURL, nil); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p.endpoints = p.newEndpoints()
	p.pages = newPages()
	return p, nil
}

// SetRoutes replaces all routes at once, or none if one of them is wrong: its
// error names every mistake. A request keeps the route that it found, but for one
// thing: an answer that is under way ends at once if the route of that name is gone
// or no longer lets its caller in. A limit that stays as it was goes on counting.
func (p *Proxy) SetRoutes(routes []Route) error {
	t, err := newTable(p, routes)
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	p.table.Store(t)
	p.ongoing.judge(t)
	return nil
}

func checkPublicURL(u *url.URL, login Login) error {
	switch {
	case u == nil && login == nil:
		return nil
	case u == nil:
		return errors.New("missing PublicURL: a login returns to it")
	case (u.Scheme != "http" && u.Scheme != "https") || !validHost(u.Host) || u.User != nil ||
		(u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("public URL %q is not scheme://host[:port]", u.Redacted())
	}
	return nil
}

// ServeHTTP answers one request, and records it.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := p.begin(w, r)
	defer x.end()
	x.follow()
	if no := p.serve(x); no != nil { //nolint:contextcheck // x holds the request, and it the context
		x.refuse(no)
	}
}

// serve is the life of a request, in its order. Every way out of it but the last
// has forwarded nothing.
func (p *Proxy) serve(x *exchange) *refusal {
	r := x.r
	var err error

	// The target, read once.
	if x.target, err = readTarget(r); err != nil {
		return badTarget(err)
	}
	if err := cmp.Or(checkLength(r), checkUpgrade(r)); err != nil {
		return badFraming(err)
	}

	// The route, one for everything that follows. The proxy's own endpoints are not
	// routes, and no route can lie among them.
	if isReserved(x.target.path) {
		return p.serveOwn(x)
	}
	if x.route, x.rest = p.table.Load().find(x.caller.asked, x.target.path); x.route == nil {
		return p.serveList(x)
	}
	rt := x.route
	x.record.Route = rt.name
	x.arrive()

	// CORS.
	x.w.cors = rt.cors
	if isPreflight(r) {
		x.w.WriteHeader(http.StatusNoContent)
		return nil
	}

	// What may be called at all.
	if !rt.takes(x.rest) {
		return notFound()
	}
	if methods, allow := rt.allowed(x.rest); !slices.Contains(methods, r.Method) {
		return methodNotAllowed(allow)
	}

	// Who is calling, and whether he may.
	if !rt.public {
		id, no := p.authenticate(x)
		if no != nil {
			return no.at(rt)
		}
		if id.Method != authn.ByBearer && crossSite(rt.csrf, r) {
			return crossSiteRefused()
		}
		if !rt.access.allows(id) {
			return p.notAllowed(id, rt.scopes, rt.access.why(id))
		}
	}

	// Whether it is too much.
	if r.ContentLength > rt.maxBody {
		return tooLarge(rt.maxBody, nil)
	}
	if wait := rt.limits.take(r.Context(), x.record.Identity, x.caller.address); wait > 0 {
		return tooMany("rate-limited", "The rate limit of this model is used up.", wait)
	}
	if !rt.limits.enter() {
		return tooMany("too-many-at-once", "The model serves as many requests at the same time as it may.", time.Second)
	}
	defer rt.limits.leave()

	// Whether it is on record, where that is asked for.
	if no := x.admit(); no != nil {
		return no
	}

	return x.forward()
}

// authenticate returns who is calling. It never returns nil for both.
func (p *Proxy) authenticate(x *exchange) (*authn.Identity, *refusal) {
	if p.authenticator == nil {
		return nil, p.signInRequired(nil)
	}
	id, err := p.authenticator.Authenticate(x.w.always, x.r)
	if err != nil {
		return nil, p.notAuthenticated(err)
	}
	if id == nil {
		return nil, p.notAuthenticated(errors.New("the authenticator returned neither an identity nor an error"))
	}
	x.record.Identity = id
	return id, nil
}
