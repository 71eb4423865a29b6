package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
)

// errWritten stops http.Transport from sending a request again by itself.
var errWritten = errors.New("the endpoint closed the connection before it answered")

// A body is what a request carries, held so that it can be sent twice:
//
//   - of a known length within the limit: read first and sent from memory, up to
//     smallBody in one write with the headers, beyond from pieces that are used again;
//   - of unknown length: recorded while it streams, up to the limit;
//   - larger: streamed, with Expect: 100-continue so that the endpoint can look
//     at the credential before it takes a byte.
type body struct {
	whole  []byte  // the first case, up to smallBody
	pieces *pieces // the first case, beyond
	memory *memory // of the first case
	takes  int64   // bytes there
	stream *record // the other two
	last   *cursor // of stream, attached to the newest send
	expect bool
}

// smallBody is the size in bytes up to which a body is new memory. net/http sends
// together with the headers what it knows to be in memory, but it knows only readers
// whose Close says nothing, and then nobody can tell when the memory is free.
const smallBody = 16 << 10

// keptTogether bounds the bodies of one Transport that are read first, together:
// senders that are slow on purpose shall not fill the memory. Beyond it a body
// streams as if it were large.
const keptTogether = 32 << 20

// hold takes over the body of req. It has closed it when it returns an error.
func hold(req *http.Request, limit int64, in *memory) (*body, error) {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return &body{}, nil
	case req.ContentLength <= 0: // 0 with a body means unknown in a request to be sent
		return &body{stream: &record{source: req.Body, limit: limit}}, nil
	case req.ContentLength > min(limit, keptTogether):
		return &body{stream: &record{source: req.Body}, expect: true}, nil
	}
	takes := taken(req.ContentLength)
	if in.held.Add(takes) > keptTogether {
		in.held.Add(-takes)
		return &body{stream: &record{source: req.Body}, expect: true}, nil
	}
	b, err := readWhole(req.Body, req.ContentLength, in)
	_ = req.Body.Close()
	if err != nil {
		in.held.Add(-takes)
		return nil, fmt.Errorf("%w: %w", ErrRequestBody, err)
	}
	return b, nil
}

// taken is how much memory a body of n bytes takes.
func taken(n int64) int64 {
	if n <= smallBody {
		return n
	}
	return (n + pieceSize - 1) / pieceSize * pieceSize
}

// readWhole reads n bytes. The memory for them grows as they come: an announced
// length costs its sender nothing.
func readWhole(r io.Reader, n int64, in *memory) (b *body, err error) {
	b = &body{memory: in, takes: taken(n)}
	if n > smallBody {
		b.pieces, err = in.read(r, n)
		return b, err
	}
	b.whole = make([]byte, n)
	return b, fill(b.whole, r)
}

// attach gives out the body from its beginning.
//
// http.Transport sends a request a second time when a kept connection turns out
// to be dead. That is right while nothing was written, and GetBody lets it; but
// it also resends what it takes for idempotent, a GET or a request with an
// Idempotency-Key, after the endpoint may have begun to work on it. Scoring
// costs, and a model need not be idempotent, so that is prevented here.
func (b *body) attach(out *http.Request) (_ *http.Request, err error) {
	out.GetBody = nil
	delete(out.Header, "Expect") // between the caller and us
	hideIdempotencyKey(out.Header)
	switch {
	case b.stream != nil:
		b.last = &cursor{record: b.stream}
		out.Body = b.last
		if b.expect {
			out.Header["Expect"] = []string{"100-continue"}
		}
	case b.memory != nil:
		out.Body, err = b.open()
		if !takenForIdempotent(out.Method) {
			out.GetBody = b.open
		}
	case takenForIdempotent(out.Method):
		return resendUnwrittenOnly(out), nil
	default:
		out.Body = http.NoBody
	}
	return out, err
}

func (b *body) open() (io.ReadCloser, error) {
	if b.pieces != nil {
		return b.pieces.open()
	}
	return io.NopCloser(bytes.NewReader(b.whole)), nil
}

// takenForIdempotent lists the methods that http.Transport resends.
func takenForIdempotent(method string) bool {
	return method == "" || method == http.MethodGet || method == http.MethodHead ||
		method == http.MethodOptions || method == http.MethodTrace
}

// hideIdempotencyKey moves the headers that http.Transport looks for to keys in
// lower case, where its look-up misses them. On the wire they are the same
// (RFC 9110 section 5.1).
func hideIdempotencyKey(h http.Header) {
	for _, name := range [...]string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, ok := h[name]; ok {
			delete(h, name)
			h[strings.ToLower(name)] = values
		}
	}
}

// resendUnwrittenOnly prepares a request without a body: http.Transport asks
// GetBody before it resends one whose body was touched, and is refused once the
// request was written.
func resendUnwrittenOnly(out *http.Request) *http.Request {
	var written atomic.Bool
	out.Body = io.NopCloser(bytes.NewReader(nil))
	out.GetBody = func() (io.ReadCloser, error) {
		if written.Load() {
			return nil, errWritten
		}
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	trace := &httptrace.ClientTrace{WroteRequest: func(info httptrace.WroteRequestInfo) {
		written.Store(info.Err == nil)
	}}
	return out.WithContext(httptrace.WithClientTrace(out.Context(), trace))
}

// replayable reports whether the whole body can be given out again.
func (b *body) replayable() bool { return b.stream == nil || b.stream.complete() }

// sourceErr returns why the caller's body could not be read to its end, if so.
func (b *body) sourceErr() error {
	if b.stream == nil {
		return nil
	}
	return b.stream.failure()
}

// release ends the holding: the source is closed as soon as the last send is
// done with it, and the memory is used again.
func (b *body) release() {
	switch {
	case b.last != nil:
		b.last.release()
	case b.stream != nil:
		_ = b.stream.source.Close()
	case b.memory != nil:
		b.memory.held.Add(-b.takes)
		if b.pieces != nil {
			b.pieces.letGo()
		}
	}
}

// A record is a body that streams from its source and is kept up to limit.
// Cursors read it from the beginning, one after the other: the first may still
// be in a Read when the second begins, since a RoundTripper gives a body up only
// some time after it has returned.
type record struct {
	source io.ReadCloser
	limit  int64

	taken atomic.Int64 // how much was read from source

	mu   sync.Mutex
	kept []byte // all that was taken, while that is within limit
	err  error  // of source, io.EOF included
}

// complete reports whether all that was taken is kept. It does not wait for a
// Read under way, which may still overrun the limit; a cursor then fails.
func (r *record) complete() bool { return r.taken.Load() <= r.limit }

func (r *record) failure() error {
	if !r.mu.TryLock() { // in a Read, so it has not failed
		return nil
	}
	defer r.mu.Unlock()
	if errors.Is(r.err, io.EOF) {
		return nil
	}
	return r.err
}

// next reads at offset: from what is kept, or on from the source.
func (r *record) next(p []byte, offset int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.taken.Load()
	switch {
	case offset < taken && !r.complete():
		return 0, ErrNotReplayable
	case offset < taken:
		return copy(p, r.kept[offset:]), nil
	case r.err != nil:
		return 0, r.err
	}
	n, err := r.source.Read(p)
	taken += int64(n)
	r.taken.Store(taken)
	r.err = err
	if taken <= r.limit {
		r.kept = append(r.kept, p[:n]...)
	} else {
		r.kept = nil
	}
	return n, err
}

// A cursor is one reading of a record.
type cursor struct {
	*record
	offset int64
	state  atomic.Int32 // of the two bits below
}

const (
	cursorClosed   = 1 << iota // by the RoundTripper that read it
	cursorReleased             // no other cursor will follow
)

func (c *cursor) Read(p []byte) (int, error) {
	if c.state.Load()&cursorClosed != 0 {
		return 0, context.Canceled
	}
	n, err := c.next(p, c.offset)
	c.offset += int64(n)
	return n, err
}

// Close ends this reading; the source is closed with the last one.
func (c *cursor) Close() error { return c.mark(cursorClosed) }

func (c *cursor) release() { _ = c.mark(cursorReleased) }

func (c *cursor) mark(bit int32) error {
	if before := c.state.Or(bit); before != bit && before|bit == cursorClosed|cursorReleased && before&bit == 0 {
		return c.source.Close()
	}
	return nil
}
