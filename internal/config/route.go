package config

import (
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"amlproxy/internal/secret"
)

// What a route has that says nothing else.
const (
	defaultMaxBody = 64 << 20
	defaultTimeout = 180 * time.Second
)

// rawRoutes reads the routes from where they are: the environment or the file,
// never both, since nobody could say which of the two wins.
func (c *checker) rawRoutes() []rawRoute {
	var routes []rawRoute
	for i := range c.counts[routesFamily] {
		routes = append(routes, c.envRoute(routesFamily+strconv.Itoa(i)+"_"))
	}
	file, ok := c.values[Prefix+"ROUTES_FILE"]
	switch {
	case c.has("ROUTES_FILE") && len(routes) > 0:
		c.add(Prefix+"ROUTES_FILE", "is set together with "+routesFamily+"0_…: have the routes in one place")
	case !c.has("ROUTES_FILE") && len(routes) == 0 && !c.numbered(routesFamily):
		c.add(Prefix+"ROUTES_FILE", "is missing, and so is "+routesFamily+"0_NAME: there is nothing to serve")
	}
	if !ok {
		return routes
	}
	src, err := readFile(file, maxRoutesFile)
	if err != nil {
		c.add(Prefix+"ROUTES_FILE", err.Error())
		return routes
	}
	return append(routes, fileRoutes(file, src, c.report)...)
}

// numbered reports whether anything of a family was set, even behind a gap.
func (c *checker) numbered(family string) bool {
	for name := range c.seen {
		if strings.HasPrefix(name, family) && name != family+"FILE" {
			return true
		}
	}
	return false
}

// routes judges every route, then what they are to each other.
func (c *checker) routes(raw []rawRoute) {
	for i := range raw {
		c.s.Routes = append(c.s.Routes, c.route(&raw[i]))
	}
	c.unique(raw)
	c.overlaps(raw)
}

func (c *checker) route(r *rawRoute) Route {
	out := Route{
		Where:           r.at,
		Name:            c.name(r),
		Service:         c.resource(r.Service),
		Endpoint:        c.resource(r.Endpoint),
		Deployment:      c.resource(r.Deployment),
		Serverless:      c.resource(r.Serverless),
		URL:             c.address(r.URL),
		Methods:         c.methods(r.Methods),
		Paths:           c.paths(r.Paths),
		CORS:            c.cors(r.CORS),
		RateLimit:       c.rateLimit(r.RateLimit),
		MaxConcurrent:   atLeastOne(c, r.MaxConcurrent, 0),
		MaxBody:         int64(atLeastOne(c, r.MaxBody, defaultMaxBody)),
		Timeout:         atLeastOne(c, r.Timeout, defaultTimeout),
		IdentityHeaders: c.oneOf(r.IdentityHeaders, "user", "email", "groups"),
	}
	out.Path = c.path(r)
	c.credential(r, &out)
	c.whoMayCall(r, &out)
	return out
}

func (c *checker) name(r *rawRoute) string {
	switch {
	case !r.Name.set():
		c.add(r.at, "is a route without a name")
	case r.Name.good() && (len(r.Name.v) > 63 || strings.Trim(r.Name.v, "abcdefghijklmnopqrstuvwxyz0123456789-") != ""):
		c.add(r.Name.at, "is not a name: use lower-case letters, digits and hyphens, 63 at most")
	}
	return r.Name.v
}

// resource is a name in the workspace. It becomes a segment of a path there,
// and must not be able to become more.
func (c *checker) resource(l leaf[string]) string {
	if l.good() && !plainSegment(l.v) {
		c.add(l.at, "is not the name of anything in a workspace: it has letters, digits, hyphens, underscores and dots")
	}
	return l.v
}

func (c *checker) address(l leaf[string]) *url.URL {
	if !l.good() {
		return nil
	}
	u, err := parseURL(l.v)
	if err != nil {
		c.add(l.at, err.Error())
		return nil
	}
	c.plainHTTP(l.at, u)
	return u
}

// plainHTTP accepts http where it was written out, and says so.
func (c *checker) plainHTTP(where string, u *url.URL) {
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		c.warn(where, "is plain http: what is sent there, credentials included, can be read and changed on the way")
	}
}

// credential judges what a route calls and how it proves itself there. A
// combination that would leave a setting unused is a mistake, since whoever set
// it believes that it works.
func (c *checker) credential(r *rawRoute, out *Route) {
	targets := map[string]leaf[string]{"service": r.Service, "endpoint": r.Endpoint, "serverless": r.Serverless, "url": r.URL}
	var kinds []string
	for _, k := range []string{"service", "endpoint", "serverless", "url"} {
		if targets[k].set() {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) != 1 {
		c.add(r.at, "needs exactly one of service, endpoint, serverless and url, and has "+strconv.Itoa(len(kinds)))
		return
	}
	kind := kinds[0]
	if r.Deployment.set() && kind != "endpoint" {
		c.add(r.Deployment.at, "is a deployment without an endpoint: remove it")
	}
	out.Auth = c.auth(r, kind)
	out.Key = c.key(r.Key, r.KeyFile)
	out.SecondaryKey = c.key(r.SecondaryKey, r.SecondaryKeyFile)
	c.keys(r, kind, out)
}

func (c *checker) auth(r *rawRoute, kind string) string {
	allowed := map[string][]string{
		"service":    {AuthAuto, AuthNone, AuthKey, AuthToken, AuthEntra},
		"endpoint":   {AuthAuto, AuthNone, AuthKey, AuthToken, AuthEntra},
		"serverless": {AuthAuto, AuthKey},
		"url":        {AuthNone, AuthKey, AuthEntra},
	}[kind]
	switch {
	case !r.Auth.set() && kind == "url":
		c.add(r.URL.at, "is an address without auth: say none, key or entra (nobody can be asked)")
	case !r.Auth.set():
		return AuthAuto
	case r.Auth.good() && !slices.Contains(allowed, r.Auth.v):
		c.add(r.Auth.at, "is not how "+kind+" authenticates: use one of "+strings.Join(allowed, ", "))
	}
	return r.Auth.v
}

// key takes a key from its own setting or from its file.
func (c *checker) key(key leaf[secret.Value], file leaf[string]) secret.Value {
	switch {
	case key.set() && file.set():
		c.add(file.at, "is a file for a key that is also here: keep one of them")
	case file.good():
		s, err := readSecret(c.beside(file.v))
		if err == nil {
			err = plainText(s)
		}
		if err != nil {
			c.add(file.at, err.Error())
		}
		return secret.New(s)
	}
	return key.v
}

// beside reads a path in the routes file from where that file is.
func (c *checker) beside(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.s.RoutesFile), path)
}

func (c *checker) keys(r *rawRoute, kind string, out *Route) {
	first, second := firstOf(r.Key.at, r.KeyFile.at), firstOf(r.SecondaryKey.at, r.SecondaryKeyFile.at)
	needs := kind == "url" && r.Auth.good() && r.Auth.v == AuthKey
	switch given := firstOf(first, second); {
	case given != "" && kind != "url":
		c.add(given, "is a key for something whose keys the workspace has: remove it, or name the address with url")
	case given != "" && r.Auth.good() && r.Auth.v != AuthKey:
		c.add(given, "is a key that auth does not use: say auth: key, or remove it")
	case needs && first == "":
		c.add(r.Auth.at, "is key, but there is no key: give one")
	case second != "" && !out.Key.IsZero() && out.Key.Equal(out.SecondaryKey):
		c.add(second, "is the same key as the first: give another, or remove it")
	}
}

func firstOf(places ...string) string {
	for _, p := range places {
		if p != "" {
			return p
		}
	}
	return ""
}

func atLeastOne[T int | Size | time.Duration](c *checker, l leaf[T], absent T) T {
	switch {
	case !l.good():
		return absent
	case l.v <= 0:
		c.add(l.at, "must be above 0: leave it out for the default")
	}
	return l.v
}

// oneOf reads a list of words.
func (c *checker) oneOf(l leaf[[]item], words ...string) []string {
	var out []string
	for _, i := range l.v {
		switch {
		case !slices.Contains(words, i.v):
			c.add(i.at, "is none of "+strings.Join(words, ", "))
		case slices.Contains(out, i.v):
			c.add(i.at, "is in the list twice")
		default:
			out = append(out, i.v)
		}
	}
	return out
}

// methods are those that HTTP defines (RFC 9110 section 9) without the three that
// a proxy answers itself or never lets through.
func (c *checker) methods(l leaf[[]item]) []string {
	if !l.set() {
		return []string{"GET", "POST"}
	}
	return c.oneOf(l, "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
}
