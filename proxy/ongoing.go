package proxy

import (
	"context"
	"sync"
	"time"

	"amlproxy/authn"
)

// defaultSweep is how often it is asked whether sessions of those who are being
// answered are over: with what asking may take, an answer ends within 5 s of its
// session.
const defaultSweep = 2 * time.Second

// A party is an exchange whose answer is under way, and on what it was let in.
type party struct {
	clock *clock
	route *route
	id    *authn.Identity // nil on a public route

	in         bool // it is among the ongoing
	next, prev *party
}

// ongoing are the exchanges whose answer is under way: most are over in a moment,
// and some stream for hours. Who was let in once would stay for as long as he
// keeps reading, so they end with his session, with the rule that let him in, and
// with the proxy; and http.Server forgets a WebSocket's connection, so that its
// Shutdown neither waits for one nor closes it.
//
// While there are any with a session, a timer asks about them. No lock is held
// meanwhile.
type ongoing struct {
	sessions Sessions // nil: nobody can be asked
	every    time.Duration

	mu    sync.Mutex
	first *party // of all, each of which knows the next: a request is put in and taken out
	shut  bool
	ended chan struct{} // closed with the last one; nil: nobody waits
	timer *time.Timer   // until the next sweep; nil: none is due
	sweep sync.WaitGroup
}

func newOngoing(sessions Sessions, every time.Duration) *ongoing {
	return &ongoing{sessions: sessions, every: every}
}

// add takes in an exchange, which ends at once if it may not go on: the routes in
// force may be others than those that it came by.
func (o *ongoing) add(p *party, inForce func() *table) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p.in, p.next, o.first = true, o.first, p
	if p.next != nil {
		p.next.prev = p
	}
	if why := inForce().forbids(p); why != nil {
		p.clock.halt(why)
	}
	if o.shut {
		p.clock.halt(errDrained)
		return
	}
	if o.sessions != nil && p.ofSession() && o.timer == nil {
		o.arm()
	}
}

func (p *party) ofSession() bool { return p.id != nil && p.id.Method == authn.BySession }

// remove takes an exchange out, if it is in.
func (o *ongoing) remove(p *party) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !p.in {
		return
	}
	p.in = false
	if p.next != nil {
		p.next.prev = p.prev
	}
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		o.first = p.next
	}
	if o.first == nil && o.ended != nil {
		close(o.ended)
		o.ended = nil
	}
}

// judge ends whoever t does not let go on.
func (o *ongoing) judge(t *table) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for p := o.first; p != nil; p = p.next {
		if why := t.forbids(p); why != nil {
			p.clock.halt(why)
		}
	}
}

// forbids returns why p may not go on under t; nil if it may. Groups and claims
// that only a new rule names were left out of an identity that is older than it,
// which counts as in a request.
func (t *table) forbids(p *party) *ending {
	now := t.byName[p.route.name]
	switch {
	case now == p.route:
		return nil
	case now == nil:
		return errRouteGone
	case now.public, !p.route.public && now.rule == p.route.rule:
		return nil
	case p.id == nil:
		return errNotAllowed
	}
	id := *p.id
	id.Incomplete = true
	if !now.access.allows(&id) {
		return errNotAllowed
	}
	return nil
}

// arm has the next sweep come. The lock is held.
func (o *ongoing) arm() {
	o.sweep.Add(1)
	o.timer = time.AfterFunc(o.every, o.ask)
}

// ask ends those whose sessions are over. A store that cannot be asked ends
// nobody's.
func (o *ongoing) ask() {
	defer o.sweep.Done()
	clocks, ids := o.withSessions()
	if len(ids) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), o.every)
		for i, over := range o.over(ctx, ids) {
			if over {
				clocks[i].halt(errSessionOver)
			}
		}
		cancel()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.timer = nil
	for p := o.first; p != nil; p = p.next { // also who came meanwhile
		if p.ofSession() && !o.shut {
			o.arm()
			return
		}
	}
}

// over returns whose sessions are, or nothing if that cannot be found out. It runs
// on a goroutine of its own, where a panic would end the process: the same question
// is asked again soon.
func (o *ongoing) over(ctx context.Context, ids []*authn.Identity) (over []bool) {
	defer func() {
		if recover() != nil {
			over = nil
		}
	}()
	over, err := o.sessions.Over(ctx, ids)
	if err != nil {
		return nil
	}
	return over
}

func (o *ongoing) withSessions() ([]*clock, []*authn.Identity) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var clocks []*clock
	var ids []*authn.Identity
	for p := o.first; p != nil; p = p.next {
		if p.ofSession() {
			clocks, ids = append(clocks, p.clock), append(ids, p.id)
		}
	}
	return clocks, ids
}

// none returns what is closed when nothing is under way.
func (o *ongoing) none() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.first == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	if o.ended == nil {
		o.ended = make(chan struct{})
	}
	return o.ended
}

// halt ends whatever is under way, and what comes.
func (o *ongoing) halt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shut = true
	if o.timer != nil && o.timer.Stop() {
		o.timer = nil
		o.sweep.Done()
	}
	for p := o.first; p != nil; p = p.next {
		p.clock.halt(errDrained)
	}
}

// Drain waits until no answer is under way, and ends those that are left when ctx
// does. It belongs behind Shutdown of the http.Server, which knows nothing of
// WebSockets. After it nothing of the Proxy runs.
func (p *Proxy) Drain(ctx context.Context) {
	select {
	case <-p.ongoing.none():
	case <-ctx.Done():
	}
	p.ongoing.halt()
	last := time.NewTimer(2 * closing) // their goroutines are on their way out
	defer last.Stop()
	select {
	case <-p.ongoing.none():
	case <-last.C:
	}
	p.ongoing.sweep.Wait()
}
