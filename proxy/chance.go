package proxy

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
)

// chance makes identifiers of requests and traces, of crypto/rand's bytes, which it
// fetches some at a time: each fetch costs as much as an identifier. None is a secret,
// so that it does not matter that those to come are in memory already.
type chance struct {
	mu   sync.Mutex
	room [1024]byte
	left []byte // of room
}

func (c *chance) read(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.left) < len(p) {
		_, _ = rand.Read(c.room[:]) // never fails, as crypto/rand documents
		c.left = c.room[:]
	}
	c.left = c.left[copy(p, c.left):]
}

// text returns 130 bits in the alphabet of base32 (RFC 4648 section 6).
func (c *chance) text() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	var id [26]byte
	c.read(id[:])
	for i := range id {
		id[i] = alphabet[id[i]%32]
	}
	return string(id[:])
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
