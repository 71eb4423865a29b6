package telemetry

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// auditLook is how often it is looked at whether the file was moved.
const auditLook = time.Second

// An auditPlace is where the audit is written. All of it but stale belongs to one
// goroutine at a time.
type auditPlace struct {
	name   string // empty: not a file of ours, but what was given
	file   *os.File
	stale  atomic.Bool
	looked time.Time
	out    lineWriter
}

func newAuditPlace(name string, stdout io.Writer) *auditPlace {
	if name == "-" {
		return &auditPlace{out: lineWriter{w: stdout}}
	}
	return &auditPlace{name: name}
}

func (p *auditPlace) begin() error {
	if p.name == "" || p.file != nil {
		return nil
	}
	return p.open()
}

// open opens the file, and then lets go of the one before. A pipe that has no
// reader is refused and not waited for.
func (p *auditPlace) open() error {
	file, err := os.OpenFile(p.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	_ = p.end()
	p.file, p.looked = file, time.Now()
	p.out = lineWriter{w: file, torn: endsWithin(p.name)}
	return nil
}

// endsWithin reports whether a file ends within a line, which a crash may have torn.
func endsWithin(name string) bool {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	file, err := os.Open(name)
	if err != nil {
		return true // an empty line does no harm
	}
	defer func() { _ = file.Close() }()
	var last [1]byte
	_, err = file.ReadAt(last[:], info.Size()-1)
	return err != nil || last[0] != '\n'
}

// write returns how many lines of b, the last ones, could not be written, and why.
// What is written to a file that nobody finds any more would be on no record: so
// the file is where its name says, or nothing is written.
func (p *auditPlace) write(b []byte) (unwritten int64, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	if p.moved() {
		if err := p.open(); err != nil {
			return countLines(b), err
		}
		p.stale.Store(false)
	}
	return p.out.write(b)
}

func (p *auditPlace) moved() bool {
	if p.name == "" {
		return false
	}
	if p.stale.Load() {
		return true
	}
	if time.Since(p.looked) < auditLook {
		return false
	}
	p.looked = time.Now()
	gone := !p.same()
	p.stale.Store(gone) // until it could be opened
	return gone
}

func (p *auditPlace) same() bool {
	if p.file == nil {
		return false
	}
	there, err := os.Stat(p.name)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist) // it may be there
	}
	held, err := p.file.Stat()
	return err == nil && os.SameFile(there, held)
}

func (p *auditPlace) end() error {
	if p.file == nil {
		return nil
	}
	err := p.file.Close()
	p.file = nil
	if err != nil {
		return fmt.Errorf("closing the audit: %w", err)
	}
	return nil
}
