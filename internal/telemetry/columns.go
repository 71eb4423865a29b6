package telemetry

import (
	"fmt"
	"strings"

	"amlproxy/authn"
	"amlproxy/proxy"
)

// accessColumns is what the access log says about a request. The reference is made
// of it, too.
func accessColumns(l *line, r *proxy.Record) {
	l.text("request_id", "`X-Request-Id` of the request, the answer and the call of the model: the caller's if it sent a sensible one.", r.RequestID)
	l.text("trace_id", "The trace that the request belongs to (W3C Trace Context).", traceID(r.TraceParent))
	targetColumns(l, r)
	l.number("status", "What the caller was sent; 499 if it left before.", int64(r.Status))
	l.seconds("duration", "Until the last byte of the answer, or until the caller left.", r.Duration)
	l.address("address", "The caller's, as far as it can be known.", r.Address)
	l.text("user_agent", "What the caller says that it is.", r.UserAgent)
	l.number("bytes_in", "Of the request's body, as far as it was read.", r.RequestBytes)
	l.number("bytes_out", "Of the answer's body.", r.ResponseBytes)
	l.text("route", "The name of the route.", r.Route)
	l.text("endpoint", "Which of the proxy's own endpoints it was instead.", r.Endpoint)
	l.text("problem", "The type of the refusal, if the proxy refused it.", r.Problem)
	outcomeColumns(l, r)
	l.text("upstream_request_id", "What the model's endpoint called the request.", r.UpstreamRequestID)
	callerColumns(l, callerOf(r))
	l.bounded("error", "The cause, for whoever runs the proxy: callers are not told.", cause(r), maxError)
}

// auditColumns is what both lines of the audit say.
func auditColumns(l *line, r *proxy.Record) {
	l.moment("start", "When the request came. With request_id, it is the same in both lines and in no other.", r.Start)
	l.text("request_id", "`X-Request-Id`. A caller may send the same twice.", r.RequestID)
	l.text("trace_id", "The trace that the request belongs to.", traceID(r.TraceParent))
	l.text("route", "The model, by the name of its route.", r.Route)
	targetColumns(l, r)
	l.address("address", "The caller's, as far as it can be known.", r.Address)
	id := callerOf(r)
	callerColumns(l, id)
	l.text("session", "Which session it was.", id.Session)
	l.text("tenant", "The caller's Entra tenant (`tid`).", id.Tenant)
	l.text("object_id", "The caller in that tenant (`oid`), the same in all of its applications.", id.ObjectID)
	l.text("email", "The caller's address, vouched for or not.", id.Email)
	l.text("username", "`preferred_username`.", id.Username)
}

// endColumns is what the second line of the audit says besides.
func endColumns(l *line, r *proxy.Record) {
	l.number("status", "What the caller was sent; 499 if it left before.", int64(r.Status))
	l.seconds("duration", "Until the last byte of the answer, or until the caller left.", r.Duration)
	l.number("bytes_in", "Of the request's body, as far as it was read.", r.RequestBytes)
	l.number("bytes_out", "Of the answer's body.", r.ResponseBytes)
	l.text("problem", "The type of the refusal, if the model gave no answer that could be passed on.", r.Problem)
	l.text("upstream_request_id", "What the model's endpoint called the request.", r.UpstreamRequestID)
	outcomeColumns(l, r)
}

// targetColumns is what was asked for.
func targetColumns(l *line, r *proxy.Record) {
	l.text("method", "", r.Method)
	l.text("host", "The host that was asked for.", r.Host)
	l.bounded("path", "As the caller wrote it, without the query.", r.Path, maxPath)
}

// outcomeColumns is what became of a request at the model.
func outcomeColumns(l *line, r *proxy.Record) {
	l.text("credential", "What the model was called with: none, key, token, entra.", string(r.Kind))
	if l.tells(r.Sends > 0) {
		l.number("upstream_status", "The model's answer; 0 if there was none. Absent if it was not called.", int64(r.UpstreamStatus))
	}
	if l.tells(r.Began > 0) {
		l.seconds("began", "Until the model's answer began. Absent if it did not.", r.Began)
	}
	l.yes("retried", "true: it was sent again after a 401, with another credential.", r.Retried)
	l.yes("upgraded", "true: it became a WebSocket.", r.Upgraded)
	l.yes("aborted", "true: the answer began and could not be finished.", r.Aborted)
}

// callerColumns says who called.
func callerColumns(l *line, id *authn.Identity) {
	l.text("issuer", "Who vouches for the caller.", id.Issuer)
	l.text("subject", "The caller, by the issuer's name for it.", id.Subject)
	l.text("client", "The program that the token was issued to.", id.Client)
	l.text("authenticated_by", "session or bearer.", string(id.Method))
}

// nobody called where nobody was asked.
var nobody authn.Identity

func callerOf(r *proxy.Record) *authn.Identity {
	if r.Identity == nil {
		return &nobody
	}
	return r.Identity
}

func cause(r *proxy.Record) string {
	if r.Err == nil {
		return ""
	}
	return r.Err.Error()
}

// traceID returns the trace of a traceparent.
func traceID(parent string) string {
	_, rest, _ := strings.Cut(parent, "-")
	id, _, _ := strings.Cut(rest, "-")
	return id
}

// LogReference returns what the lines of the access log and of the audit hold, in
// Markdown. docs/logs.md is this text, and a test keeps it so.
func LogReference() string {
	var b strings.Builder
	table := func(columns ...func(*line, *proxy.Record)) {
		told := []column{}
		for _, tell := range columns {
			tell(&line{told: &told}, &proxy.Record{})
		}
		b.WriteString("| field | type | meaning |\n|---|---|---|\n")
		for _, c := range told {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c.name, c.kind, c.doc)
		}
	}
	b.WriteString(logIntroduction)
	table(accessColumns)
	b.WriteString(auditIntroduction)
	table(auditColumns)
	b.WriteString("\nAn `outcome` says all of that again, and besides:\n\n")
	table(endColumns)
	b.WriteString(auditFiling)
	return b.String()
}
