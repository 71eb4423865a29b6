package proxy

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// defaultRead is how long a caller may take with a body that is not forwarded.
	defaultRead = 10 * time.Second
	// A body of at most restSize is awaited for restWait before an answer that has no
	// use for it, so that the connection lives on: most often it came with the header.
	restSize = 64 << 10
	restWait = 100 * time.Millisecond
	// lingering is how long the rest is read behind such an answer, so that the caller
	// sees the answer and not a reset connection (RFC 9112 section 9.6).
	lingering = 2 * time.Second
)

// past is a deadline that has been missed.
func past() time.Time { return time.Unix(1, 0) }

// An intake is the body of a caller's request, whoever reads it. Left alone,
// net/http reads up to 256 KiB of what nobody read, before it writes the answer and
// again before it takes the next request, and waits for them as long as the caller
// likes: one that is refused and sends nothing would hold its connection for ever.
// So whoever reads it has a deadline, but for the clock, and Close, which reads as
// well, is left to net/http at the very end.
type intake struct {
	body   io.ReadCloser
	caller http.ResponseWriter // without a wrapper
	most   time.Duration       // for all of it, from the first Read
	http1  bool
	small  bool // it is worth waiting for its rest

	forwarded bool // the clock bounds it
	bounded   bool // there is a deadline
	whole     atomic.Bool
	over      atomic.Bool
	reading   sync.Mutex
}

func hasBody(r *http.Request) bool { return r.Body != nil && r.Body != http.NoBody }

// begin takes over the body of r.
func (in *intake) begin(w http.ResponseWriter, r *http.Request, most time.Duration) {
	in.body, in.caller, in.most, in.http1 = r.Body, w, most, r.ProtoMajor == 1
	// To read a byte would be to ask for all of a body that is held back until then.
	in.small = r.ContentLength <= restSize && len(r.Header["Expect"]) == 0
}

// deadline is when whoever reads waits no longer; zero lifts it.
func (in *intake) deadline(at time.Time) {
	in.bounded = !at.IsZero()
	_ = http.NewResponseController(in.caller).SetReadDeadline(at)
}

// Read reads the body. A deadline is lifted with its last byte: net/http then
// watches whether the caller leaves, and would take the deadline for that.
func (in *intake) Read(p []byte) (int, error) {
	in.reading.Lock()
	defer in.reading.Unlock()
	if in.over.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	if !in.forwarded && !in.bounded {
		in.deadline(time.Now().Add(in.most))
	}
	n, err := in.body.Read(p)
	if err == io.EOF {
		in.lift()
		in.whole.Store(true)
	}
	return n, err
}

// Close does nothing; see intake.
func (in *intake) Close() error { return nil }

// forward leaves it to the clock how long a Read may take.
func (in *intake) forward() {
	in.forwarded = true
	in.lift()
}

func (in *intake) lift() {
	if in.bounded {
		in.deadline(time.Time{})
	}
}

// settle is called before an answer begins. If the body is not whole the connection
// ends with the answer, and then net/http writes the answer at once. In HTTP/2 it
// does so anyway, and ends only the stream.
func (in *intake) settle(h http.Header) {
	if in == nil || !in.http1 || in.whole.Load() {
		return
	}
	if in.small && !in.forwarded {
		in.deadline(time.Now().Add(restWait))
		_, _ = io.CopyN(io.Discard, in, restSize+1)
	}
	if !in.whole.Load() {
		h.Set("Connection", "close")
	}
}

// end is called when the exchange is over. After it nobody reads the body but
// net/http, and that not for long.
func (in *intake) end() {
	if in == nil || in.whole.Load() {
		return
	}
	in.over.Store(true)
	control := http.NewResponseController(in.caller)
	_ = control.SetReadDeadline(past()) // whoever waits for a byte waits no longer
	in.reading.Lock()
	defer in.reading.Unlock()
	if in.http1 {
		_ = control.SetReadDeadline(time.Now().Add(lingering))
	}
}
