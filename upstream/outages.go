package upstream

import (
	"errors"
	"net"
	"sync"
	"time"
)

// unreachableFor is how long a backend that could not be reached is tried last.
const unreachableFor = 10 * time.Second

// outages remembers which of several backends could not be reached a moment ago,
// so that not every request waits for a connection that will not come.
type outages struct {
	mu    sync.Mutex
	until []time.Time
}

// out reports whether a backend could not be reached a moment ago.
func (o *outages) out(at int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return at < len(o.until) && time.Now().Before(o.until[at])
}

func (o *outages) note(at int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.until) <= at {
		o.until = append(o.until, time.Time{})
	}
	o.until[at] = time.Now().Add(unreachableFor)
}

// dialFailed reports whether err means that no connection came about, so that
// nothing of the request was written.
func dialFailed(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
