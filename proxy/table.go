package proxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A table finds the route of a host and a path. It is immutable.
type table struct {
	anywhere places             // of routes that name no host
	hosts    map[string]*places // of those that do; nil: none does
	byName   map[string]*route
	sorted   []*route // by name
	shared   *cors    // of what belongs to no route
}

// find returns the route of a request: one that names the host and its port, else
// one that names the host, else one that names none; of several the one with the
// longest path that is path or a whole-segment prefix of it. It also returns what
// path holds beyond ("" or from a slash on).
func (t *table) find(host, path string) (*route, string) {
	if t.hosts != nil {
		name, port := splitHost(host)
		if port != "" {
			if rt, rest := t.hosts[name+":"+port].find(path); rt != nil {
				return rt, rest
			}
		}
		if rt, rest := t.hosts[name].find(path); rt != nil {
			return rt, rest
		}
	}
	return t.anywhere.find(path)
}

// places are the routes of one host, by their paths.
type places struct {
	byPath  map[string]*route
	longest int // of the paths: no longer prefix needs to be looked for
}

func (p *places) find(path string) (*route, string) {
	if p == nil {
		return nil, ""
	}
	for end := len(path); end > 0; end = strings.LastIndexByte(path[:end], '/') {
		if end > p.longest {
			continue
		}
		if rt := p.byPath[path[:end]]; rt != nil {
			return rt, path[end:]
		}
	}
	if rt := p.byPath["/"]; rt != nil {
		return rt, path
	}
	return nil, ""
}

// add returns the route that is at rt's path already, nil for none.
func (p *places) add(rt *route) *route {
	if other := p.byPath[rt.path]; other != nil {
		return other
	}
	if p.byPath == nil {
		p.byPath = make(map[string]*route)
	}
	p.byPath[rt.path] = rt
	p.longest = max(p.longest, len(rt.path))
	return nil
}

// at returns the places of a host, which may be "".
func (t *table) at(host string) *places {
	if host == "" {
		return &t.anywhere
	}
	if t.hosts == nil {
		t.hosts = make(map[string]*places)
	}
	if t.hosts[host] == nil {
		t.hosts[host] = &places{}
	}
	return t.hosts[host]
}

func newTable(p *Proxy, routes []Route) (*table, error) {
	t := &table{byName: make(map[string]*route)}
	var errs []error
	for i := range routes {
		rt, err := newRoute(p, routes[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("route %q: %w", routes[i].Name, err))
			continue
		}
		if t.byName[rt.name] != nil {
			errs = append(errs, fmt.Errorf("route %q: another route has this name", rt.name))
		}
		if other := t.at(rt.host).add(rt); other != nil {
			errs = append(errs, fmt.Errorf("route %q: route %q has its path %s%s", rt.name, other.name, rt.host, rt.path))
		}
		t.byName[rt.name] = rt
		t.sorted = append(t.sorted, rt)
	}
	slices.SortFunc(t.sorted, func(a, b *route) int { return strings.Compare(a.name, b.name) })
	t.shared = union(t.sorted)
	return t, errors.Join(errs...)
}
