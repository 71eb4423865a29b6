package config

import (
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"amlproxy/internal/secret"
)

// backends judges what a route calls: one thing, or several in order. Never
// both forms at once: nobody could say whether the one beside the list is first,
// last or what the others inherit from.
func (c *checker) backends(r *rawRoute) []Backend {
	if !r.Backends.set() {
		return []Backend{c.backend(&r.rawTarget, r.at)}
	}
	for _, at := range r.rawTarget.places() {
		c.add(at, "is beside backends: say it in each of them, or leave backends out")
	}
	var out []Backend
	for i := range r.Backends.v {
		out = append(out, c.backend(&r.Backends.v[i].rawTarget, r.Backends.v[i].at))
	}
	c.distinct(out)
	return out
}

// distinct reports a backend that is there twice: it could not stand in for itself.
func (c *checker) distinct(backends []Backend) {
	first := map[string]string{}
	for i := range backends {
		b := &backends[i]
		if b.Auth == "" {
			continue // half of one, which was reported
		}
		key := strings.Join([]string{c.s.Workspaces[b.Workspace].id(), b.Service, b.Endpoint, b.Deployment, b.Serverless}, "/")
		if b.URL != nil {
			key = b.URL.String()
		}
		if at, twice := first[key]; twice {
			c.add(b.Where, "is the backend at "+at+" again: it cannot stand in for itself")
			continue
		}
		first[key] = b.Where
	}
}

// backend judges one target, which was written at a place.
func (c *checker) backend(t *rawTarget, at string) Backend {
	out := Backend{
		Where:      at,
		Service:    c.resource(t.Service),
		Endpoint:   c.resource(t.Endpoint),
		Deployment: c.resource(t.Deployment),
		Serverless: c.resource(t.Serverless),
		URL:        c.address(t.URL),
	}
	c.credential(t, &out)
	out.TLS = c.upstreamTLS(t.TLS, &out)
	return out
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

// credential judges what is called and how the proxy proves itself there. A
// combination that would leave a setting unused is a mistake, since whoever set
// it believes that it works.
func (c *checker) credential(t *rawTarget, out *Backend) {
	targets := map[string]leaf[string]{"service": t.Service, "endpoint": t.Endpoint, "serverless": t.Serverless, "url": t.URL}
	var kinds []string
	for _, k := range []string{"service", "endpoint", "serverless", "url"} {
		if targets[k].set() {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) != 1 {
		c.add(out.Where, "needs exactly one of service, endpoint, serverless and url, and has "+strconv.Itoa(len(kinds)))
		return
	}
	kind := kinds[0]
	if t.Deployment.set() && kind != "endpoint" {
		c.add(t.Deployment.at, "is a deployment without an endpoint: remove it")
	}
	out.Workspace = c.inWorkspace(t.Workspace, kind)
	out.Auth = c.auth(t, kind)
	out.Key = c.key(t.Key, t.KeyFile)
	out.SecondaryKey = c.key(t.SecondaryKey, t.SecondaryKeyFile)
	c.keys(t, kind, out)
}

func (c *checker) auth(t *rawTarget, kind string) string {
	allowed := map[string][]string{
		"service":    {AuthAuto, AuthNone, AuthKey, AuthToken, AuthEntra},
		"endpoint":   {AuthAuto, AuthNone, AuthKey, AuthToken, AuthEntra},
		"serverless": {AuthAuto, AuthKey},
		"url":        {AuthNone, AuthKey, AuthEntra},
	}[kind]
	switch {
	case !t.Auth.set() && kind == "url":
		c.add(t.URL.at, "is an address without auth: say none, key or entra (nobody can be asked)")
	case !t.Auth.set():
		return AuthAuto
	case t.Auth.good() && !slices.Contains(allowed, t.Auth.v):
		c.add(t.Auth.at, "is not how "+kind+" authenticates: use one of "+strings.Join(allowed, ", "))
	}
	return t.Auth.v
}

// key takes a key from its own setting or from its file.
func (c *checker) key(key leaf[secret.Value], file leaf[string]) secret.Value {
	switch {
	case key.set() && file.set():
		c.add(file.at, "is a file for a key that is also here: keep one of them")
	case file.good():
		s, err := c.readSecret(c.beside(file.v))
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

func (c *checker) keys(t *rawTarget, kind string, out *Backend) {
	first, second := firstOf(t.Key.at, t.KeyFile.at), firstOf(t.SecondaryKey.at, t.SecondaryKeyFile.at)
	needs := kind == "url" && t.Auth.good() && t.Auth.v == AuthKey
	switch given := firstOf(first, second); {
	case given != "" && kind != "url":
		c.add(given, "is a key for something whose keys the workspace has: remove it, or name the address with url")
	case given != "" && t.Auth.good() && t.Auth.v != AuthKey:
		c.add(given, "is a key that auth does not use: say auth: key, or remove it")
	case needs && first == "":
		c.add(t.Auth.at, "is key, but there is no key: give one")
	case second != "" && !out.Key.IsZero() && out.Key.Equal(out.SecondaryKey):
		c.add(second, "is the same key as the first: give another, or remove it")
	}
}
