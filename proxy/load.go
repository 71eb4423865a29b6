package proxy

import "sync/atomic"

// A Load is what goes on at one route at this moment.
type Load struct {
	Route         string
	Requests      int64 // under way, streams and WebSockets among them
	Streams       int64 // answers under way whose end nobody knows ahead: event streams and the like
	WebSockets    int64
	MaxConcurrent int64 // how many requests may be under way; 0: any number
}

// Loads returns the load of each route in force, by name. It may be called at any
// time, and costs nothing but its own.
func (p *Proxy) Loads() []Load {
	routes := p.table.Load().sorted
	all := make([]Load, len(routes))
	for i, rt := range routes {
		all[i] = Load{rt.name, rt.load.requests.Load(), rt.load.streams.Load(), rt.load.websockets.Load(), rt.limits.most}
	}
	return all
}

// load counts what goes on at a route. A route that is replaced by one of its name
// hands it on: its requests go on, too.
type load struct{ requests, streams, websockets atomic.Int64 }

// loadOf returns the counters of a route that has that name already, or new ones.
func (t *table) loadOf(name string) *load {
	if t != nil && t.byName[name] != nil {
		return t.byName[name].load
	}
	return new(load)
}

// arrive counts x among the requests of its route.
func (x *exchange) arrive() { x.count(&x.route.load.requests) }

// count counts x in c until it ends. A request is in two counters at most: its
// route's, and that of streams or of WebSockets.
func (x *exchange) count(c *atomic.Int64) {
	c.Add(1)
	if x.counted[0] == nil {
		x.counted[0] = c
	} else {
		x.counted[1] = c
	}
}

func (x *exchange) depart() {
	for _, c := range x.counted {
		if c != nil {
			c.Add(-1)
		}
	}
}
