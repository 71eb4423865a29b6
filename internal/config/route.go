package config

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a route has that says nothing else.
const (
	defaultMaxBody = 64 << 20
	defaultTimeout = 180 * time.Second
)

// maxRoutes is more than anyone has: they are compared with each other.
const maxRoutes = 1000

// rawRoutes reads the routes from where they are: the environment or the file,
// never both, since nobody could say which of the two wins.
func (c *checker) rawRoutes() rawFile {
	var raw rawFile
	for i := range c.counts[routesFamily] {
		raw.Routes.v = append(raw.Routes.v, c.envRoute(routesFamily+strconv.Itoa(i)+"_"))
	}
	switch inEnvironment := len(raw.Routes.v) > 0; {
	case c.has("ROUTES_FILE") && inEnvironment:
		c.mistake("ROUTES_FILE", "is set together with "+routesFamily+"0_…: have the routes in one place")
	case !c.has("ROUTES_FILE") && !inEnvironment && !c.numbered(routesFamily):
		c.mistake("ROUTES_FILE", "is missing, and so is "+routesFamily+"0_NAME: there is nothing to serve")
	}
	if file, ok := c.value("ROUTES_FILE"); ok {
		src, err := c.readFile(file, maxRoutesFile)
		if err != nil {
			c.note("ROUTES_FILE", err)
			return raw
		}
		named := readRoutes(file, src, c.report)
		raw.Workspaces = named.Workspaces
		raw.Routes.v = append(raw.Routes.v, named.Routes.v...)
	}
	if all := raw.Routes.v; len(all) > maxRoutes {
		c.add(all[maxRoutes].at, "is one route too many: "+strconv.Itoa(maxRoutes)+" is the most")
		raw.Routes.v = all[:maxRoutes]
	}
	return raw
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
	c.lookalikes(raw)
}

func (c *checker) route(r *rawRoute) Route {
	out := Route{
		Where:           r.at,
		Name:            c.name(r),
		Backends:        c.backends(r),
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
	out.Host = c.host(r.Host)
	c.whoMayCall(r, &out)
	c.elsewhere(r, &out)
	c.idle(r, &out)
	return out
}

func (c *checker) name(r *rawRoute) string {
	switch {
	case !r.Name.set():
		c.add(r.at, "is a route without a name")
	case r.Name.good() && !plainName(r.Name.v):
		c.add(r.Name.at, notPlainName)
	}
	return r.Name.v
}

// plainName is what a route or a workspace may be called in the routes file.
func plainName(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

const notPlainName = "is not a name: use lower-case letters, digits and hyphens, 63 at most"

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
