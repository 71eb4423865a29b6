package proxy

import (
	"fmt"
	"strings"
)

// A ProblemType is one reason for which the proxy answers by itself.
type ProblemType struct {
	Type   string // of RFC 9457, and of a Record's Problem
	Status string // what it comes with
	Means  string // what happened
	Advice string // what a caller, or the operator, can do
}

// ProblemTypes returns every reason there is, sorted: nothing that a caller writes
// adds another.
func ProblemTypes() []ProblemType {
	return []ProblemType{
		{"audit-unavailable", "503", "The call could not be written to the audit file.", "Send it again after Retry-After. The operator: the disk of AUDIT_FILE."},
		{"authentication-unavailable", "503", "The identity provider or the session store could not be asked. Nobody was signed out.", "Send it again after Retry-After."},
		{"bad-body", "400", "The request's body broke off.", "Send it whole."},
		{"bad-framing", "400", "The request says in two ways where it ends, or asks for a WebSocket in a way that opens none.", "Send one Content-Length, and begin a WebSocket with a GET of HTTP/1.1 without a body."},
		{"bad-query", "400", "A question to `/oauth2/auth` that is not understood.", "Ask for `route` or `allowed_groups` alone."},
		{"bad-target", "400", "The address could be read in two ways, or the Host is malformed.", "Write the path without encoded slashes, dots, `//`, `;` and backslashes."},
		{"credential-rejected", "502", "The model's endpoint refused the proxy's credential, and no other was to be had.", "The operator: `amlproxy doctor`. Signing in again does not help."},
		{"credential-renewing", "503", "The proxy's credential changed while a body was sent that is too large to be kept.", "Send it again."},
		{"credential-unavailable", "503", "The proxy has no credential for the model.", "Send it again after Retry-After. The operator: the log names what is missing."},
		{"cross-site-request", "403", "A page of another site sent this with somebody's session.", "Name the page's origin in the route's `cors` with credentials, or send a bearer token."},
		{"internal", "500", "A mistake in the proxy.", "Report it with the request ID."},
		{"invalid-request", "400", "The Authorization field is malformed, or there are two.", "Send one `Authorization: Bearer`."},
		{"invalid-token", "401", "The bearer token is expired, forged, or made out to somebody else; the detail says which.", "Get a token for this proxy."},
		{"login-failed", "400, 403, 503", "A sign-in did not end well; the detail says why.", "Begin again."},
		{"login-loop", "403", "Signing in worked three times in a row, and the session was gone each time.", "See [Signing in](login.md#what-can-go-wrong)."},
		{"method-not-allowed", "405", "The route does not take this method.", "See Allow."},
		{"not-allowed", "403", "The caller is known, and the route's rule does not let him in.", "Ask the operator for access."},
		{"not-found", "404", "No route, or a path that the route does not take.", "See `/` for the models there are."},
		{"rate-limited", "429", "The route's rate limit is used up.", "Send it again after Retry-After."},
		{"request-timeout", "408", "The body came more slowly than 1 KiB/s.", "Send it faster, or in parts."},
		{"sign-in-required", "401", "There is no credential.", "Sign in at `login_url` with a browser, or send a bearer token."},
		{"too-large", "413", "The body is larger than the route's `max_body`.", "Send less."},
		{"too-many-at-once", "429", "The route serves as many requests as it may.", "Send it again after Retry-After."},
		{"upstream-timeout", "504", "The model did not begin to answer within the route's `timeout`.", "Send less at once. The operator: a longer `timeout`, or the model's own logs."},
		{"upstream-unreachable", "502", "No connection to the model's endpoint, or one that broke before the answer.", "The operator: `amlproxy doctor`. The request was not repeated."},
	}
}

// Problems returns the names of ProblemTypes.
func Problems() []string {
	var names []string
	for _, p := range ProblemTypes() {
		names = append(names, p.Type)
	}
	return names
}

// ProblemReference returns docs/problems.md.
func ProblemReference() string {
	var b strings.Builder
	b.WriteString("# Problems\n\n<!-- Written by `go test ./proxy -run Problem -update`; do not edit. -->\n\n" +
		"What the proxy refuses by itself it answers as `application/problem+json` (RFC 9457) to programs, and as a page to people, by `Accept`. What a model\n" +
		"answers is passed on, whatever its status, so the type tells whose answer it is:\n\n" +
		"```json\n" +
		`{"type": "not-allowed", "title": "This is not open to you", "status": 403, "detail": "You may not call this. Ask whoever runs this proxy for access.", "request_id": "XZB4GMI6ZZ5TNTT3"}` + "\n```\n\n" +
		"`request_id` is in `X-Request-Id` and in the log too, with the cause. `login_url` is there when signing in would help. `type` is a relative reference: the same\n" +
		"word wherever the proxy runs.\n\n" +
		"| type | status | what happened | what helps |\n|---|---|---|---|\n")
	for _, p := range ProblemTypes() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", p.Type, p.Status, p.Means, p.Advice)
	}
	return b.String()
}
