package upstream

import "time"

// A Status describes what a [Cache] holds, for readiness and for people.
type Status struct {
	Kind    Kind      // empty while nothing was ever fetched
	Usable  bool      // whether a request could be sent now
	Fetched time.Time // when the source last answered
	Renew   time.Time // when the next renewal is planned; zero: never
	Expires time.Time // zero: never
	Err     error     // of the last fetch; nil after a good one
	Waits   uint64    // requests that had to wait for a credential, ever
}

// Status returns what the cache holds now. It never touches the network.
func (c *Cache) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.current.Load()
	status := Status{Err: c.lastErr, Waits: c.waits.Load()}
	if s != nil {
		status.Kind, status.Usable = s.lease.Kind, s.usable(time.Now())
		status.Fetched, status.Renew, status.Expires = s.fetched, s.renewAt, s.lease.Expires
	}
	return status
}
