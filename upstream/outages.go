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

// order returns the backends in the order in which to try them: those that are
// out come last, but do come.
func (o *outages) order(n int) []int {
	if n == 1 {
		return only[:]
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	order, out := make([]int, 0, n), make([]int, 0, n)
	for at := range n {
		if at < len(o.until) && now.Before(o.until[at]) {
			out = append(out, at)
		} else {
			order = append(order, at)
		}
	}
	return append(order, out...)
}

// only is the order of one.
var only = [1]int{0}

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
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
