package telemetry

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
)

const (
	sinkRoom     = 1 << 20                // bytes of lines that wait to be written
	sinkPause    = 100 * time.Millisecond // how long a line waits for company
	sinkPatience = 50 * time.Millisecond  // how long whoever logs a warning waits for it to be written
	sinkFlush    = time.Second            // and how long whoever wants everything to be
)

// A sink writes lines for those who must not wait: a standard error that nobody
// reads, or a full disk, stops no request. Lines are written some at a time, by a
// goroutine that lives while there are any. Those for which there is no room, and
// those that could not be written, are dropped and counted.
type sink struct {
	out    lineWriter
	notice func(dropped int64) []byte // the line that owns up to it

	mu      sync.Mutex
	waiting batch
	spare   []byte
	owed    int64         // dropped, and not yet owned up to
	dropped int64         // altogether
	count   func(int64)   // is told of them
	done    chan struct{} // closed when nothing waits any more; nil: nothing does
	wake    chan struct{}
	stuck   bool // somebody waited for a line in vain
}

// A batch is lines that are written together.
type batch struct {
	lines   []byte
	written chan struct{} // closed when they were, or could not be; nil: nobody waits
}

func newSink(w io.Writer, notice func(int64) []byte) *sink {
	return &sink{out: lineWriter{w: w}, notice: notice, count: func(int64) {}, wake: make(chan struct{}, 1)}
}

// write takes a line, and returns when it was written if it is urgent: whatever
// happens to the process then, the line is there. It does not wait for a sink that
// is known not to write.
func (s *sink) write(line []byte, urgent bool) {
	s.mu.Lock()
	if len(s.waiting.lines)+len(line) > sinkRoom {
		s.drop(countLines(line))
		s.mu.Unlock()
		return
	}
	s.waiting.lines = append(s.waiting.lines, line...)
	var written chan struct{}
	if urgent && !s.stuck {
		if s.waiting.written == nil {
			s.waiting.written = make(chan struct{})
		}
		written = s.waiting.written
	}
	if s.done == nil {
		s.done = make(chan struct{})
		go s.run(s.done)
	}
	if urgent || len(s.waiting.lines) > sinkRoom/2 {
		s.hurry()
	}
	s.mu.Unlock()
	if written == nil || soon(sinkPatience, written) {
		return
	}
	s.mu.Lock()
	s.stuck = true
	s.mu.Unlock()
}

// drop counts lines that will not be written. The lock is held.
func (s *sink) drop(lines int64) {
	s.owed += lines
	s.dropped += lines
	s.count(lines)
}

// watch has count told of lines that are dropped, and of those that were.
func (s *sink) watch(count func(lines int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count = count
	count(s.dropped)
}

func (s *sink) hurry() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run writes what waits until nothing does.
func (s *sink) run(done chan struct{}) {
	defer close(done)
	pause := time.NewTimer(sinkPause)
	defer pause.Stop()
	for {
		select {
		case <-s.wake:
		case <-pause.C:
		}
		s.mu.Lock()
		b, owed := s.waiting, s.owed
		s.waiting, s.owed = batch{lines: s.spare[:0]}, 0
		s.mu.Unlock()
		if owed > 0 {
			b.lines = append(b.lines, s.notice(owed)...)
		}
		unwritten, _ := s.out.write(b.lines) // there is nobody to tell but the log
		if s.finish(b, unwritten, owed) {
			return
		}
		pause.Reset(sinkPause)
	}
}

// finish takes into account that all of b was written but for some lines, the last
// ones, and reports whether that was all.
func (s *sink) finish(b batch, unwritten, owed int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if unwritten > 0 {
		s.owed += owed
		if owed > 0 {
			unwritten-- // the notice
		}
		s.drop(unwritten)
	} else {
		s.stuck = false
	}
	if b.written != nil {
		close(b.written)
	}
	s.spare = b.lines
	if len(s.waiting.lines) > 0 {
		return false
	}
	s.done = nil
	return true
}

var errNotFlushed = errors.New("the log does not take what is written")

// flush waits until everything is written, but not for long.
func (s *sink) flush() error {
	s.mu.Lock()
	done := s.done
	s.hurry()
	s.mu.Unlock()
	if done == nil || soon(sinkFlush, done) {
		return nil
	}
	return errNotFlushed
}

func soon(d time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// A lineWriter writes whole lines: when one was torn, by a disk that became full
// say, the next begins on a line of its own.
type lineWriter struct {
	w    io.Writer
	torn bool
}

// write returns how many lines of b, the last ones, could not be written, and why.
func (l *lineWriter) write(b []byte) (unwritten int64, err error) {
	if l.torn {
		if _, err := l.w.Write([]byte("\n")); err != nil {
			return countLines(b), err
		}
		l.torn = false
	}
	n, err := l.w.Write(b)
	n = min(max(n, 0), len(b))
	l.torn = n > 0 && b[n-1] != '\n'
	return countLines(b[n:]), err
}

func countLines(b []byte) int64 { return int64(bytes.Count(b, []byte("\n"))) }
