package upstream

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// errLetGo is what a reader of a body says after its Close, and GetBody when nobody
// holds the body any more.
var errLetGo = errors.New("the request's body is not held any more")

// A memory is what the bodies of one Transport are read into, if they are read first.
type memory struct {
	held atomic.Int64 // bytes of all of them
	pool sync.Pool    // of *piece that nobody uses
}

// A piece is memory for a part of a body, and then for a part of another one: where
// 100 KiB were new for each request, they were a quarter of its whole cost. A larger
// body has more pieces, not larger ones, so that its memory grows as it comes,
// nothing is copied, and one pool does for every size.
//
// The pool needs no bound of its own: no more pieces lie there than were in use
// together, which keptTogether bounds, and the garbage collector takes those that
// nobody wanted for two of its rounds.
type piece [pieceSize]byte

const pieceSize = 32 << 10

func (m *memory) take() *piece {
	if p, ok := m.pool.Get().(*piece); ok {
		return p
	}
	return new(piece)
}

// read reads n bytes, and takes a piece only when the one before it is full. What
// another body left in the last piece stays behind n, where no reader comes.
func (m *memory) read(r io.Reader, n int64) (*pieces, error) {
	b := &pieces{memory: m, size: n, holders: 1}
	for from := int64(0); from < n; from += pieceSize {
		p := m.take()
		b.all = append(b.all, p)
		if err := fill(p[:min(pieceSize, n-from)], r); err != nil {
			b.letGo()
			return nil, err
		}
	}
	return b, nil
}

// fill reads len(p) bytes.
func fill(p []byte, r io.Reader) error {
	_, err := io.ReadFull(r, p)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// pieces are a body. Were one of them used again too early, a caller's data would go
// out as another's, and a RoundTripper may read on after it has returned, and close
// in the middle of a Read. So they have holders: whoever read them in, and each reader
// until it is closed. The last gives them back, and leaves none behind: the
// pieces are used again but not this list of them, so that whoever comes late finds
// nothing instead of somebody else's body.
type pieces struct {
	memory *memory
	size   int64

	mu      sync.Mutex // is held as long as anything touches what follows
	all     []*piece
	holders int
}

// open gives out the body from its beginning.
func (b *pieces) open() (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.holders == 0 { // the GetBody of an answer's Request can be called at any time
		return nil, errLetGo
	}
	b.holders++
	return &piecesReader{pieces: b}, nil
}

// letGo is called once by each holder.
func (b *pieces) letGo() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letGoLocked()
}

func (b *pieces) letGoLocked() {
	b.holders--
	if b.holders > 0 {
		return
	}
	for _, p := range b.all {
		b.memory.pool.Put(p)
	}
	b.all = nil
}

// A piecesReader is one reading. It copies, and has no method that would show the
// memory itself. One that is never closed keeps the pieces from being used again.
type piecesReader struct {
	pieces *pieces
	offset int64 // this and the next are under the mutex of pieces
	closed bool
}

func (r *piecesReader) Read(p []byte) (int, error) {
	b := r.pieces
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case r.closed:
		return 0, errLetGo
	case r.offset == b.size:
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && r.offset < b.size {
		at := r.offset % pieceSize
		m := copy(p[n:], b.all[r.offset/pieceSize][at:min(pieceSize, at+b.size-r.offset)])
		n, r.offset = n+m, r.offset+int64(m)
	}
	return n, nil
}

// Close ends this reading. It waits for a Read under way, which only copies.
func (r *piecesReader) Close() error {
	r.pieces.mu.Lock()
	defer r.pieces.mu.Unlock()
	if !r.closed {
		r.closed = true
		r.pieces.letGoLocked()
	}
	return nil
}
