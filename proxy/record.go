package proxy

import (
	"net/netip"
	"time"

	"amlproxy/authn"
	"amlproxy/upstream"
)

// A Record is what happened to one request. Logs, audit, metrics and traces are
// made of it, and of nothing else. It holds no credential, no header, no query
// and no body; what a caller wrote in it (Method, Path, Host, UserAgent) is raw.
type Record struct {
	Start    time.Time
	Duration time.Duration // until the last byte, or until the caller left
	Began    time.Duration // until the upstream's answer began; zero if it never did

	RequestID   string // of X-Request-Id: the caller's, or made here
	TraceParent string // of traceparent, as the model is sent it
	Method      string
	Path        string // as the caller wrote it, without the query
	Host        string
	Proto       string
	UserAgent   string
	Address     netip.Addr // the caller's, as far as it can be known

	Route    string // its name; empty when none was found
	Endpoint string // one of the proxy's own ("livez", "oauth2/auth"); empty for a route
	Identity *authn.Identity

	Status        int   // what the caller was sent; 499 if it left before
	RequestBytes  int64 // of the body, as far as it was read
	ResponseBytes int64
	Upgraded      bool // to a WebSocket
	Aborted       bool // the answer began and could not be finished

	// Problem is the type of the refusal ("credential-rejected"), empty when the
	// answer is the upstream's or an endpoint's own.
	Problem string
	// Admitted says that the access rule, the limits and Config.Admit let the
	// request through.
	Admitted bool
	// Err is the cause, for the operator alone; nil when all went well.
	Err error

	UpstreamStatus    int           // 0 when there was no answer
	UpstreamRequestID string        // x-ms-request-id or x-request-id of the answer
	Sends             int           // how many times the request was sent upstream: 0, 1 or 2
	Retried           bool          // it was sent again after a 401
	Resent            time.Duration // until then; zero if it was not
	Kind              upstream.Kind // of the credential last sent
}
