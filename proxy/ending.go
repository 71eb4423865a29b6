package proxy

import (
	"context"
	"encoding/binary"
)

// An ending is why the proxy itself stopped an exchange.
type ending struct {
	text string // for the Record
	late bool   // it is a context.DeadlineExceeded
	// code and say are what the caller of a WebSocket is told (RFC 6455 section 7.4.1).
	code uint16
	say  string
}

// The codes of RFC 6455 section 7.4.1 that are sent.
const (
	goingAway = 1001
	violation = 1008
)

// Why a clock stopped an exchange.
var (
	errSlowAnswer = &ending{text: "the upstream did not begin to answer in time", late: true}
	errSlowBody   = &ending{text: "the caller sent the request body too slowly", late: true}
	errStalled    = &ending{text: "no byte of the answer moved for too long", late: true}
	errIdleTunnel = &ending{text: "no byte of the WebSocket moved for too long", late: true, code: violation, say: "idle for too long"}
	errExpired    = &ending{text: "the caller's identity expired while the answer was under way", late: true, code: violation, say: "the sign-in has expired"}
)

// Why else the proxy ends what is under way.
var (
	errDrained     = &ending{text: "the proxy was shut down while the answer was under way", code: goingAway, say: "shutting down"}
	errSessionOver = &ending{text: "the caller's session ended while the answer was under way", code: violation, say: "signed out"}
	errRouteGone   = &ending{text: "the route was removed while the answer was under way", code: violation, say: "no such model any more"}
	errNotAllowed  = &ending{text: "the route's rule was changed while the answer was under way, and no longer lets the caller in", code: violation, say: "not allowed any more"}
)

// Error says it to the operator.
func (e *ending) Error() string { return e.text }

// Unwrap makes each that is about time a context.DeadlineExceeded.
func (e *ending) Unwrap() error {
	if e.late {
		return context.DeadlineExceeded
	}
	return nil
}

// frame is what a WebSocket is closed with: a Close frame, unmasked, as a server
// sends it (RFC 6455 section 5.5.1).
func (e *ending) frame() []byte {
	b := []byte{final | opClose, byte(2 + len(e.say))}
	return append(binary.BigEndian.AppendUint16(b, e.code), e.say...)
}

const (
	final   = 0x80 // the bit of a frame that no other follows up
	opClose = 0x08
)

// frames follow what a WebSocket's server says, to know whether it stands between
// two frames (RFC 6455 section 5.2): only there another one may be put. What they
// are fed may be anything; they never say so of bytes that are no frames for long.
type frames struct {
	head   [10]byte // of the frame at hand, as far as it came
	have   int
	left   uint64 // of its payload
	closed bool   // the server has said that it closes
}

// between reports whether a frame of ours may come next.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 && !f.closed }

// pass is told what goes by.
func (f *frames) pass(p []byte) {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(p)))
			f.left, p = f.left-n, p[n:]
			continue
		}
		f.head[f.have] = p[0]
		f.have, p = f.have+1, p[1:]
		if f.have == f.size() {
			f.begin()
		}
	}
}

// size is that of the head at hand, as far as it can be told.
func (f *frames) size() int {
	if f.have < 2 {
		return 2
	}
	switch f.head[1] & 0x7f {
	case 126:
		return 2 + 2
	case 127:
		return 2 + 8
	}
	return 2
}

// begin takes in a whole head. A server masks nothing (section 5.1); of one that
// does, nothing is known any more.
func (f *frames) begin() {
	switch length := f.head[1] & 0x7f; length {
	case 126:
		f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		f.left = binary.BigEndian.Uint64(f.head[2:])
	default:
		f.left = uint64(length)
	}
	f.have = 0
	f.closed = f.closed || f.head[0]&0x0f == opClose || f.head[1]&0x80 != 0
}
