package proxy

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	mathrand "math/rand/v2"
	"sync"
)

// chance makes identifiers of requests and traces. They have to be different, and
// are no secrets: they come of one seed, since to ask the system for each of them
// costs more than all that is done with them.
type chance struct {
	mu  sync.Mutex
	all *mathrand.ChaCha8
}

func newChance() *chance {
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails, as crypto/rand documents
	return &chance{all: mathrand.NewChaCha8(seed)}
}

func (c *chance) read(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.all.Read(p) // never fails either
}

// text returns 128 bits in base32, less the padding (RFC 4648 section 6).
func (c *chance) text() string {
	var id [16]byte
	c.read(id[:])
	var text [32]byte
	base32.StdEncoding.Encode(text[:], id[:])
	return string(text[:26])
}

// traceParent returns the beginning of a trace that nobody records.
func (c *chance) traceParent() string {
	var id [24]byte
	c.read(id[:])
	var text [2 + 1 + 32 + 1 + 16 + 1 + 2]byte
	b := append(text[:0], "00-"...)
	b = append(hex.AppendEncode(b, id[:16]), '-')
	b = append(hex.AppendEncode(b, id[16:]), "-00"...)
	return string(b)
}
