package azuremltest

import (
	"bytes"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Fault is what goes wrong with an operation. The zero Fault is none. Delay
// and Until come first; then Drop, or Status, RetryAfter and Body answer without
// performing the operation; else the operation is performed, and Size,
// Malformed and Trickle spoil how it is answered.
type Fault struct {
	Times int // how many calls it strikes; 0: every call until Mend

	Delay time.Duration   // answer only after this long
	Until <-chan struct{} // answer only when this is closed
	Drop  bool            // close the connection without an answer

	// Performed lets the operation happen although Drop or Status hides that: a
	// key that was regenerated, and nobody was told.
	Performed bool

	Status     int           // answer this; 200 with a Body, 429 with a RetryAfter
	Code       string        // the service's own code in that answer; there is a default
	RetryAfter time.Duration // in whole seconds, rounded up
	Header     http.Header   // more header fields, for example a Location
	Body       string        // instead of the service's own error

	Size      int           // make the answer at least this many bytes, still JSON
	Malformed bool          // cut the answer in the middle, with a Content-Length that fits
	Trickle   time.Duration // send the answer's bytes one by one, this far apart
}

// Fail makes every operation that op names fail in that way, until Mend or as
// often as f says. op is the name of an operation ("listkeys service/diabetes"),
// its first word ("listkeys"), the host that performs it ("authority", "arm",
// "modelmanagement"), or "" for all; of several that apply, the narrowest does.
// It replaces an earlier fault of the same op.
func (a *Azure) Fail(op string, f Fault) { a.faults.set(op, f) }

// Mend ends the fault of exactly this op.
func (a *Azure) Mend(op string) { a.faults.remove(op) }

// faults are what was asked for and has not ended.
type faults struct {
	mu sync.Mutex
	by map[string]*Fault
}

func (s *faults) set(op string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = make(map[string]*Fault)
	}
	s.by[op] = &f
}

func (s *faults) remove(op string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, op)
}

// take returns the fault that strikes this call, and uses it up by one.
func (s *faults) take(host, op string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	verb, _, _ := strings.Cut(op, " ")
	for _, name := range []string{op, verb, host, ""} {
		f, ok := s.by[name]
		if !ok {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				delete(s.by, name)
			}
		}
		return *f
	}
	return Fault{}
}

// serve performs do, spoiled.
func (f Fault) serve(w http.ResponseWriter, r *http.Request, clock Clock, fail shape, do operation) {
	if clock.Sleep(r.Context(), f.Delay) != nil {
		return
	}
	if f.Until != nil {
		select {
		case <-f.Until:
		case <-r.Context().Done():
			return
		}
	}
	result, instead := f.instead(fail)
	if f.Performed || !f.Drop && !instead {
		done := do(r)
		if !instead {
			result = done
		}
	}
	if f.Drop {
		hangUp(w)
		return
	}
	f.spoil(result).write(r.Context(), w, clock, f.Trickle)
}

// instead returns what is answered without performing the operation, if
// anything is.
func (f Fault) instead(fail shape) (answer, bool) {
	status := f.Status
	switch {
	case status != 0:
	case f.RetryAfter > 0:
		status = http.StatusTooManyRequests
	case f.Body != "":
		status = http.StatusOK
	default:
		return answer{}, false
	}
	code := f.Code
	if code == "" {
		code = strings.ReplaceAll(http.StatusText(status), " ", "")
	}
	result := fail(status, code, "a fault was asked for")
	if f.Body != "" {
		result.body = []byte(f.Body)
	}
	maps.Copy(result.header, f.Header)
	if f.RetryAfter > 0 {
		result = result.with("Retry-After", seconds(f.RetryAfter))
	}
	return result, true
}

// spoil makes an answer too large, or no JSON any more.
func (f Fault) spoil(result answer) answer {
	if rest, isObject := bytes.CutPrefix(result.body, []byte("{")); isObject && len(result.body) < f.Size {
		// The padding comes first: who reads only so far gets nothing.
		padding := bytes.Repeat([]byte("."), f.Size-len(result.body))
		result.body = bytes.Join([][]byte{[]byte(`{"padding":"`), padding, []byte(`",`), rest}, nil) // no operation answers {}
	}
	if f.Malformed {
		result.body = result.body[:len(result.body)/2]
	}
	return result
}

// hangUp closes the connection as a host does that fell over: nothing is said,
// and what the client is still sending meets a reset.
func hangUp(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err == nil { // all hosts here speak HTTP/1.1, which can always be hijacked
		_ = connection.Close()
	}
}
