package upstream

import (
	"context"
	"errors"
	"net/url"
	"sync/atomic"
	"time"

	"amlproxy/internal/secret"
)

// Kind is what an endpoint wants to see in the Authorization header.
type Kind string

// The kinds of credential.
const (
	None  Kind = "none"  // nothing
	Key   Kind = "key"   // one of a pair of keys, which live until regenerated
	Token Kind = "token" // a token that the workspace issues
	Entra Kind = "entra" // a token that Entra ID issues to the proxy's own identity
)

// A Lease is what a [Source] found out about an endpoint: where it is, what it
// wants, and until when that is good. It is immutable once returned.
type Lease struct {
	Scoring     *url.URL // the scoring address
	Description *url.URL // of swagger.json; nil when the Source was not told
	Deployment  string   // pins one deployment of an online endpoint; usually empty

	Kind      Kind
	Primary   secret.Value // the key or the token
	Secondary secret.Value // the other key of a pair, if there is one

	Refresh time.Time // from when on a renewal should be tried; zero: never
	Expires time.Time // from when on the credential is worthless; zero: never
}

// A Source finds out what a call to one endpoint needs. It is safe for
// concurrent use, but [Cached] calls it once at a time.
type Source interface {
	// Fetch asks now. held is the lease in use, of which what is not yet due may
	// be kept (it saves calls); it is nil when there is none, or when the endpoint
	// rejected it, and then everything is asked anew.
	//
	// The error says which operation failed and with which status; it may wrap a
	// *RetryAfterError, which the cache honours.
	Fetch(ctx context.Context, held *Lease) (*Lease, error)
}

// A Backend says where a call to one scoring endpoint goes, and what proves
// that the proxy may make it. It is safe for concurrent use.
type Backend interface {
	// Target returns what to use now. While it holds a valid one it does not touch
	// the network. The error wraps ErrNoCredential, or is ctx's.
	Target(ctx context.Context) (Target, error)
	// Rejected is told that the endpoint answered 401 to t. It returns a different
	// target, or an error wrapping ErrNoReplacement. A target that Rejected itself
	// returned is only noted, never replaced: no third try exists.
	Rejected(ctx context.Context, t Target) (Target, error)
}

// A Target is an address, a credential and its generation: they change together.
type Target struct {
	Scoring     *url.URL
	Description *url.URL
	Deployment  string
	Kind        Kind
	Credential  secret.Value
	Generation  uint64

	replacement bool         // returned by Rejected
	proven      *atomic.Bool // whether some request was let in with it; nil: nobody asks
}

// accepted notes that the endpoint answered something else than 401 to t.
func (t Target) accepted() {
	if t.proven != nil && !t.proven.Load() { // a load does not make the other cores fetch it anew
		t.proven.Store(true)
	}
}

// Errors of this package. Ask with errors.Is.
var (
	// ErrNoCredential: no valid credential is held and none could be had.
	ErrNoCredential = errors.New("no credential to be had")
	// ErrNoReplacement: after a 401 there is nothing new to try.
	ErrNoReplacement = errors.New("no other credential to try")
	// ErrRejected: the endpoint answered 401 to the retry, or no retry was
	// possible with anything new.
	ErrRejected = errors.New("endpoint rejected the credential")
	// ErrNotReplayable: the endpoint answered 401 after it had taken a part of a
	// body that was not kept. The credential is being renewed.
	ErrNotReplayable = errors.New("request body cannot be sent again")
	// ErrRequestBody: the caller's body could not be read.
	ErrRequestBody = errors.New("reading the request body")
)

// A RetryAfterError is a failure whose cause said when to ask again.
type RetryAfterError struct {
	After time.Duration
	Err   error
}

// Error returns the cause's text.
func (e *RetryAfterError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *RetryAfterError) Unwrap() error { return e.Err }
