package azuremltest

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A Behaviour is how a scoring server treats its callers. The zero Behaviour is
// the good one.
type Behaviour struct {
	Latency   time.Duration // before anything else, of every call
	AuthDelay time.Duration // before it looks at the credential; a body may be on its way by then
	Refusal   Refusal       // how it says 401

	// NewKeyDelay is for keys that are regenerated from now on: they are accepted
	// only this long after they were first shown, by listkeys or by regenerateKeys.
	// The replaced keys are refused at once all the same.
	NewKeyDelay time.Duration

	// ModelAnswers401 makes the model's own answer 401, which a caller cannot tell
	// from a refused credential; a managed endpoint would rewrite it, but here it
	// does not.
	ModelAnswers401 bool

	// TokenRefresh and TokenLifetime are those of workspace tokens issued from now
	// on; by default 12 h and 24 h.
	TokenRefresh, TokenLifetime time.Duration

	// AsyncPolls lets regenerateKeys answer 202, and the operation that it names
	// report success only after so many polls. The new key works before that.
	AsyncPolls int
}

// Behave replaces the whole Behaviour.
func (s *Scoring) Behave(b Behaviour) {
	if b.TokenRefresh == 0 {
		b.TokenRefresh = 12 * time.Hour
	}
	if b.TokenLifetime == 0 {
		b.TokenLifetime = 24 * time.Hour
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manner = b
}

func (s *Scoring) behaviour() Behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.manner
}

// Refusal is how a scoring server says 401, which is told by what it does about
// the body.
type Refusal int

// The ways to refuse. All are seen in front of real models.
const (
	// Refuse answers 401 without asking for the body: a client that waits for 100
	// Continue (RFC 9110, section 10.1.1) keeps all of it.
	Refuse Refusal = iota
	// ContinueThenRefuse says 100 Continue, takes one byte, and answers 401.
	ContinueThenRefuse
	// ReadThenRefuse takes the whole body before it answers 401.
	ReadThenRefuse
	// RefuseThenClose answers 401 and closes at once. A client that is still
	// writing meets a reset, and perhaps never sees the answer.
	RefuseThenClose
	// CloseUnread closes the connection with neither an answer nor a look at the
	// body.
	CloseUnread
)

func (how Refusal) refuse(w http.ResponseWriter, r *http.Request, compute Compute) {
	body, challenge := compute.refusal()
	switch how {
	case ContinueThenRefuse:
		_, _ = r.Body.Read(make([]byte, 1)) // the first Read says 100 Continue
	case ReadThenRefuse:
		_, _ = io.Copy(io.Discard, r.Body)
	case RefuseThenClose:
		refuseAndClose(w, body)
		return
	case CloseUnread:
		hangUp(w)
		return
	}
	if challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	w.Header().Set("X-Ms-Request-Id", guid())
	http.Error(w, body, http.StatusUnauthorized)
}

// refusal is what the kinds of server say with a 401; nobody should read it.
func (c Compute) refusal() (body, challenge string) {
	if c == ACI || c == AKS {
		return "Unauthorized", `Bearer realm="scoring"`
	}
	return "key_auth_access_denied", ""
}

// refuseAndClose writes an answer past net/http, which would first read what it
// can of the body.
func refuseAndClose(w http.ResponseWriter, body string) {
	connection, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // never: HTTP/1.1 can be hijacked
	}
	answer := bufio.NewWriter(buffer)
	_, _ = fmt.Fprintf(answer, "HTTP/1.1 401 Unauthorized\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
	_ = answer.Flush()
	_ = buffer.Flush()
	_ = connection.Close()
}
