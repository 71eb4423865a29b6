package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"amlproxy/proxy"
)

const (
	auditPatience = time.Second // how long a request waits for its line to be written
	auditRoom     = 1 << 20     // bytes of lines that wait
)

// An Audit puts on record who called which model, when, and how that ended. A call
// whose beginning it cannot write down does not happen; see [Audit.Admit]. Begin it
// before it is used, and End it. It is safe for concurrent use.
type Audit struct {
	place *auditPlace
	lost  func(lines int64)

	mu      sync.Mutex
	queue   []*auditLine
	size    int           // bytes in it
	done    chan struct{} // closed when nothing waits any more; nil: nothing does
	stalled bool          // a request waited in vain, and nothing was written since
	ended   bool
}

// An auditLine waits to be written.
type auditLine struct {
	text    []byte     // nil: taken back
	taken   bool       // to be written
	written chan error // takes the one result; nil: nobody waits for it
}

var (
	errAuditSlow  = fmt.Errorf("the audit did not take a line within %s", auditPatience)
	errAuditFull  = errors.New("too many lines wait for the audit")
	errAuditEnded = errors.New("the audit was closed")
)

// NewAudit returns an audit in file, or on stdout if that is "-". lost is told of
// lines that stopped no request and could not be written.
func NewAudit(file string, stdout io.Writer, lost func(lines int64)) *Audit {
	return &Audit{place: newAuditPlace(file, stdout), lost: lost}
}

// Begin opens the file. A program that cannot keep the audit that it was asked for
// should not start.
func (a *Audit) Begin() error { return a.place.begin() }

// Reopen has the file opened anew before the next line, since it was moved.
func (a *Audit) Reopen() { a.place.stale.Store(true) }

// End waits until everything is written, but not for long, and closes the file.
func (a *Audit) End() error {
	a.mu.Lock()
	a.ended = true
	done := a.done
	a.mu.Unlock()
	if done != nil && !soon(auditPatience, done) {
		return errAuditSlow // the file is in the hands of a write that does not return
	}
	return a.place.end()
}

// Admit writes the line that says that a request is about to be sent to the model,
// and returns nil when the operating system has it. It takes a second at most, and
// no time at all while nothing is written.
func (a *Audit) Admit(_ context.Context, r *proxy.Record) error {
	line := &auditLine{text: auditText("attempt", r, auditColumns), written: make(chan error, 1)}
	if err := a.put(line); err != nil {
		return err
	}
	timer := time.NewTimer(auditPatience)
	defer timer.Stop()
	select {
	case err := <-line.written:
		return err
	case <-timer.C:
		return a.withdraw(line)
	}
}

// Record writes the line that says how an admitted request ended.
func (a *Audit) Record(r *proxy.Record) {
	if !r.Admitted {
		return
	}
	if err := a.put(&auditLine{text: auditText("outcome", r, auditColumns, endColumns)}); err != nil {
		a.lost(1)
	}
}

func auditText(event string, r *proxy.Record, columns ...func(*line, *proxy.Record)) []byte {
	b := append(make([]byte, 0, 512), `{"time":"`...)
	b = time.Now().UTC().AppendFormat(b, timeLayout)
	b = append(b, `","event":"`...)
	l := line{json: append(append(b, event...), '"')}
	for _, tell := range columns {
		tell(&l, r)
	}
	return append(l.json, '}', '\n')
}

// put adds a line to those that wait.
func (a *Audit) put(l *auditLine) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return errAuditEnded
	}
	if a.stalled && l.written != nil {
		return errAuditSlow // as somebody found out before
	}
	if a.size+len(l.text) > auditRoom {
		return errAuditFull
	}
	a.queue, a.size = append(a.queue, l), a.size+len(l.text)
	if a.done == nil {
		a.done = make(chan struct{})
		go a.run(a.done)
	}
	return nil
}

// withdraw takes back a line that was not written in time, unless it is being
// written just now: then there will be an attempt on record that was none.
func (a *Audit) withdraw(l *auditLine) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case err := <-l.written: // after all
		return err
	default:
	}
	a.stalled = true
	if !l.taken {
		a.size -= len(l.text)
		l.text = nil
	}
	return errAuditSlow
}

// run writes what waits, all of it at a time, until nothing does.
func (a *Audit) run(done chan struct{}) {
	defer close(done)
	for {
		a.mu.Lock()
		if len(a.queue) == 0 {
			a.done = nil
			a.mu.Unlock()
			return
		}
		lines, all := a.take()
		a.mu.Unlock()

		unwritten, err := a.place.write(all)

		a.mu.Lock()
		a.stalled = false
		a.settle(lines, len(lines)-int(unwritten), err)
		a.mu.Unlock()
	}
}

// take empties the queue. The lock is held, as for all that follow.
func (a *Audit) take() (lines []*auditLine, all []byte) {
	for _, l := range a.queue {
		if l.text != nil {
			l.taken = true
			lines, all = append(lines, l), append(all, l.text...)
		}
	}
	a.queue, a.size = nil, 0
	return lines, all
}

// settle tells those who wait what became of their lines.
func (a *Audit) settle(lines []*auditLine, written int, err error) {
	for i, l := range lines {
		var result error
		if i >= written {
			result = fmt.Errorf("writing the audit: %w", err)
		}
		if l.written != nil {
			l.written <- result
		} else if result != nil {
			a.lost(1)
		}
	}
}
