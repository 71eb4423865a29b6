package authn

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// A packer writes fields one after the other, each with its length before it:
// a third of what JSON takes, in a cookie that travels with every request.
type packer []byte

func (p *packer) number(n uint64)    { *p = binary.AppendUvarint(*p, n) }
func (p *packer) moment(t time.Time) { *p = binary.AppendVarint(*p, unixOrZero(t)) }
func (p *packer) text(s string)      { p.number(uint64(len(s))); *p = append(*p, s...) }

// instant is moment to the nanosecond; t is not zero.
func (p *packer) instant(t time.Time) { *p = binary.AppendVarint(*p, t.UnixNano()) }

// flags writes booleans as the bits of one number, the first the lowest: one
// that is added at the end is false in what was written before.
func (p *packer) flags(bits ...bool) {
	var n uint64
	for i, b := range bits {
		if b {
			n |= 1 << i
		}
	}
	p.number(n)
}

func (p *packer) texts(list []string) {
	p.number(uint64(len(list)))
	for _, s := range list {
		p.text(s)
	}
}

func (p *packer) table(m map[string][]string) {
	p.number(uint64(len(m)))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		p.text(name)
		p.texts(m[name])
	}
}

func unixOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

var errFields = errors.New("the fields of the cookie are malformed")

// An unpacker reads what a packer wrote. After the first mistake it returns
// zero values; end reports it. A length is compared with what is left before
// anything is allocated.
type unpacker struct {
	rest  []byte
	bad   bool
	short strings.Builder // the texts that are, in one piece of memory
	lists []string        // as are the texts of lists
}

const shortText = 256

func (u *unpacker) number() uint64 {
	n, size := binary.Uvarint(u.rest)
	if size <= 0 {
		u.rest, u.bad = nil, true
		return 0
	}
	u.rest = u.rest[size:]
	return n
}

func (u *unpacker) moment() time.Time {
	n, size := binary.Varint(u.rest)
	if size <= 0 {
		u.rest, u.bad = nil, true
		return time.Time{}
	}
	u.rest = u.rest[size:]
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(n, 0)
}

func (u *unpacker) instant() time.Time {
	n, size := binary.Varint(u.rest)
	if size <= 0 {
		u.rest, u.bad = nil, true
		return time.Time{}
	}
	u.rest = u.rest[size:]
	return time.Unix(0, n)
}

// length reads a count of things of at least one byte each.
func (u *unpacker) length() int {
	n := u.number()
	if n > uint64(len(u.rest)) {
		u.rest, u.bad = nil, true
		return 0
	}
	return int(n)
}

func (u *unpacker) text() string {
	n := u.length()
	defer func() { u.rest = u.rest[n:] }()
	if n > shortText {
		return string(u.rest[:n])
	}
	if u.short.Cap() == 0 {
		u.short.Grow(min(len(u.rest), 2*shortText))
	}
	from := u.short.Len()
	u.short.Write(u.rest[:n])
	return u.short.String()[from:]
}

// skip passes over a text, and reports whether there was one.
func (u *unpacker) skip() bool {
	n := u.length()
	u.rest = u.rest[n:]
	return n > 0
}

func (u *unpacker) flags(bits ...*bool) {
	n := u.number()
	for i, b := range bits {
		*b = n&(1<<i) != 0
	}
}

func (u *unpacker) texts() []string {
	n := u.length()
	if n == 0 {
		return nil
	}
	if cap(u.lists)-len(u.lists) < n {
		u.lists = make([]string, 0, max(n, 8))
	}
	from := len(u.lists)
	for range n {
		u.lists = append(u.lists, u.text())
	}
	return u.lists[from:len(u.lists):len(u.lists)]
}

func (u *unpacker) table() map[string][]string {
	n := u.length()
	if n == 0 {
		return nil
	}
	m := make(map[string][]string, n)
	for range n {
		name := u.text()
		m[name] = u.texts()
	}
	return m
}

// end returns an error unless everything was read and nothing was wrong.
func (u *unpacker) end() error {
	if u.bad || len(u.rest) > 0 {
		return errFields
	}
	return nil
}
