package config

import (
	"reflect"
	"slices"
	"strings"
)

// unique reports routes that could be taken for each other.
func (c *checker) unique(raw []rawRoute) {
	names, paths := map[string]string{}, map[string]string{}
	for i := range raw {
		r, route := &raw[i], &c.s.Routes[i]
		at := firstOf(r.Name.at, r.at)
		if first, ok := names[route.Name]; ok && route.Name != "" {
			c.add(at, "is the name of another route as well, at "+first)
			continue
		}
		names[route.Name] = at
		at = placeOf(r)
		if first, ok := paths[route.Host+route.Path]; ok && route.Path != "" {
			c.add(at, "has the path of another route, at "+first+", on the same host")
		}
		paths[route.Host+route.Path] = at
	}
}

// placeOf is where it is said where a route is served.
func placeOf(r *rawRoute) string { return firstOf(r.Path.at, r.Name.at, r.at) }

// overlaps reports what of a route another one answers. The longer path wins, so
// nothing is ambiguous; but a path that somebody listed and that never arrives is a
// mistake, and who may call a part of a route differs from who may call the rest
// perhaps without anybody meaning it.
func (c *checker) overlaps(raw []rawRoute) {
	for i := range c.s.Routes {
		for j := range c.s.Routes {
			outer, inner := &c.s.Routes[i], &c.s.Routes[j]
			if i == j || outer.Path == "" || inner.Path == "" {
				continue
			}
			rest, below := strings.CutPrefix(inner.Path+"/", strings.TrimSuffix(outer.Path, "/")+"/")
			rest = strings.TrimSuffix(rest, "/")
			switch {
			case !below:
			case outer.Host == inner.Host && rest != "":
				c.nested(raw, i, j, rest)
			case within(outer.Host, inner.Host):
				c.onHost(raw, i, j, rest)
			case within(inner.Host, outer.Host) && rest != "":
				c.warn(placeOf(&raw[j]), "is not reached on "+outer.Host+": the route at "+placeOf(&raw[i])+" is for that host, and takes what lies below its path")
			}
		}
	}
}

// within reports whether host is one of those that wider stands for.
func within(wider, host string) bool {
	return wider != host && (wider == "" || wider == hostname(host))
}

// nested judges a route that lies in another one on the same host.
func (c *checker) nested(raw []rawRoute, i, j int, rest string) {
	outer, inner := &c.s.Routes[i], &c.s.Routes[j]
	at, from := placeOf(&raw[j]), firstOf(raw[i].Paths.at, raw[i].at)
	for _, p := range outer.Paths {
		switch {
		case p == "*" && outer.sameRule(inner):
			c.s.Notes = append(c.s.Notes, at+": lies in the route at "+from+", whose paths allow everything: the longer path wins, and this route answers there")
		case p == "*":
			c.warn(at, "lies in the route at "+from+", whose paths allow everything, and other people may call it: the longer path wins, and this route's rule decides there")
		case covers(p, rest):
			c.add(at, "lies in the route at "+from+", which lists "+p+": that would never arrive there, since the longer path wins; change one of the two")
		}
	}
}

// onHost notes where a route is answered by another one that names a host: that
// is what naming one is for, unless the rule is another one.
func (c *checker) onHost(raw []rawRoute, i, j int, rest string) {
	outer, inner := &c.s.Routes[i], &c.s.Routes[j]
	if rest != "" && !slices.ContainsFunc(outer.Paths, func(p string) bool { return covers(p, rest) }) {
		return
	}
	what := ": on " + inner.Host + ", this route answers instead of the one at " + placeOf(&raw[i])
	if outer.sameRule(inner) {
		c.s.Notes = append(c.s.Notes, placeOf(&raw[j])+what)
		return
	}
	c.warn(placeOf(&raw[j]), strings.TrimPrefix(what, ": ")+", and other people may call it; callers choose the host that they name")
}

// sameRule reports whether the same people may call both.
func (r *Route) sameRule(other *Route) bool {
	return r.Public == other.Public && reflect.DeepEqual(r.Access, other.Access)
}

// covers reports whether an allowed path reaches into what begins at rest.
func covers(allowed, rest string) bool {
	return allowed == "*" || allowed == rest || strings.HasPrefix(allowed, rest+"/")
}

// lookalikes warns of paths that differ in case alone: a server in front or behind
// may take one for the other, and its rule with it.
func (c *checker) lookalikes(raw []rawRoute) {
	first := map[string]int{}
	for i := range c.s.Routes {
		r := &c.s.Routes[i]
		folded := r.Host + strings.ToLower(r.Path)
		if j, ok := first[folded]; ok && r.Path != c.s.Routes[j].Path {
			c.warn(placeOf(&raw[i]), "is the path of the route at "+placeOf(&raw[j])+" but for upper and lower case, which not every server tells apart")
			continue
		}
		first[folded] = i
	}
}

// idle reports paths that were listed and that no method of the route may be used on.
func (c *checker) idle(r *rawRoute, out *Route) {
	reads := slices.Contains(out.Methods, "GET") || slices.Contains(out.Methods, "HEAD")
	if !r.Paths.good() || reads {
		return
	}
	for _, p := range r.Paths.v {
		if p.v == "swagger.json" {
			c.add(p.at, "is the description, which is only ever read: without GET or HEAD in methods nobody can; remove it, or allow GET")
		}
	}
}
