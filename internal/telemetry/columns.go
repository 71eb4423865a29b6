package telemetry

import (
	"fmt"
	"strings"

	"amlproxy/authn"
	"amlproxy/proxy"
)

// accessColumns are what the access log says about a request. The reference is made
// of them, too.
func accessColumns() []column {
	c := []column{
		{"request_id", "`X-Request-Id` of the request, the answer and the call of the model: the caller's if it sent a sensible one.", "string", func(r *proxy.Record) value { return text(r.RequestID) }},
		{"trace_id", "The trace that the request belongs to (W3C Trace Context).", "string", func(r *proxy.Record) value { return text(traceID(r.TraceParent)) }},
		{"method", "", "string", func(r *proxy.Record) value { return text(r.Method) }},
		{"host", "The host that was asked for.", "string", func(r *proxy.Record) value { return text(r.Host) }},
		{"path", "As the caller wrote it, without the query.", "string", func(r *proxy.Record) value { return bounded(r.Path, maxPath) }},
		{"status", "What the caller was sent; 499 if it left before.", "number", func(r *proxy.Record) value { return number(r.Status) }},
		{"duration", "Until the last byte of the answer, or until the caller left.", "seconds", func(r *proxy.Record) value { return seconds(r.Duration) }},
		{"address", "The caller's, as far as it can be known.", "string", func(r *proxy.Record) value { return text(r.Address.String()) }},
		{"user_agent", "What the caller says that it is.", "string", func(r *proxy.Record) value { return text(r.UserAgent) }},
		{"bytes_in", "Of the request's body, as far as it was read.", "number", func(r *proxy.Record) value { return number(r.RequestBytes) }},
		{"bytes_out", "Of the answer's body.", "number", func(r *proxy.Record) value { return number(r.ResponseBytes) }},
		{"route", "The name of the route.", "string", func(r *proxy.Record) value { return text(r.Route) }},
		{"endpoint", "Which of the proxy's own endpoints it was instead.", "string", func(r *proxy.Record) value { return text(r.Endpoint) }},
		{"problem", "The type of the refusal, if the proxy refused it.", "string", func(r *proxy.Record) value { return text(r.Problem) }},
	}
	c = append(c, outcomeColumns()...)
	c = append(c, column{"upstream_request_id", "What the model's endpoint called the request.", "string", func(r *proxy.Record) value { return text(r.UpstreamRequestID) }})
	c = append(c, callerColumns()...)
	return append(c, column{"error", "The cause, for whoever runs the proxy: callers are not told.", "string", func(r *proxy.Record) value { return bounded(cause(r), maxError) }})
}

// auditColumns are what both lines of the audit say.
func auditColumns() []column {
	c := []column{
		{"start", "When the request came. With request_id, it is the same in both lines and in no other.", "RFC 3339", func(r *proxy.Record) value { return text(r.Start.UTC().Format(timeLayout)) }},
		{"request_id", "`X-Request-Id`. A caller may send the same twice.", "string", func(r *proxy.Record) value { return text(r.RequestID) }},
		{"trace_id", "The trace that the request belongs to.", "string", func(r *proxy.Record) value { return text(traceID(r.TraceParent)) }},
		{"route", "The model, by the name of its route.", "string", func(r *proxy.Record) value { return text(r.Route) }},
		{"method", "", "string", func(r *proxy.Record) value { return text(r.Method) }},
		{"host", "The host that was asked for.", "string", func(r *proxy.Record) value { return text(r.Host) }},
		{"path", "As the caller wrote it, without the query.", "string", func(r *proxy.Record) value { return bounded(r.Path, maxPath) }},
		{"address", "The caller's, as far as it can be known.", "string", func(r *proxy.Record) value { return text(r.Address.String()) }},
	}
	c = append(c, callerColumns()...)
	return append(c,
		who("session", "Which session it was.", func(id *authn.Identity) string { return id.Session }),
		who("tenant", "The caller's Entra tenant (`tid`).", func(id *authn.Identity) string { return id.Tenant }),
		who("object_id", "The caller in that tenant (`oid`), the same in all of its applications.", func(id *authn.Identity) string { return id.ObjectID }),
		who("email", "The caller's address, vouched for or not.", func(id *authn.Identity) string { return id.Email }),
		who("username", "`preferred_username`.", func(id *authn.Identity) string { return id.Username }),
	)
}

// endColumns are what the second line of the audit says besides.
func endColumns() []column {
	return append([]column{
		{"status", "What the caller was sent; 499 if it left before.", "number", func(r *proxy.Record) value { return number(r.Status) }},
		{"duration", "Until the last byte of the answer, or until the caller left.", "seconds", func(r *proxy.Record) value { return seconds(r.Duration) }},
		{"bytes_in", "Of the request's body, as far as it was read.", "number", func(r *proxy.Record) value { return number(r.RequestBytes) }},
		{"bytes_out", "Of the answer's body.", "number", func(r *proxy.Record) value { return number(r.ResponseBytes) }},
		{"problem", "The type of the refusal, if the model gave no answer that could be passed on.", "string", func(r *proxy.Record) value { return text(r.Problem) }},
		{"upstream_request_id", "What the model's endpoint called the request.", "string", func(r *proxy.Record) value { return text(r.UpstreamRequestID) }},
	}, outcomeColumns()...)
}

// outcomeColumns are what became of a request at the model.
func outcomeColumns() []column {
	return []column{
		{"credential", "What the model was called with: none, key, token, entra.", "string", func(r *proxy.Record) value { return text(string(r.Kind)) }},
		{"upstream_status", "The model's answer; 0 if there was none. Absent if it was not called.", "number", func(r *proxy.Record) value {
			if r.Sends == 0 {
				return value{}
			}
			return number(r.UpstreamStatus)
		}},
		{"began", "Until the model's answer began. Absent if it did not.", "seconds", func(r *proxy.Record) value {
			if r.Began == 0 {
				return value{}
			}
			return seconds(r.Began)
		}},
		{"retried", "true: it was sent again after a 401, with another credential.", "boolean", func(r *proxy.Record) value { return yes(r.Retried) }},
		{"upgraded", "true: it became a WebSocket.", "boolean", func(r *proxy.Record) value { return yes(r.Upgraded) }},
		{"aborted", "true: the answer began and could not be finished.", "boolean", func(r *proxy.Record) value { return yes(r.Aborted) }},
	}
}

// callerColumns say who called, where that was asked.
func callerColumns() []column {
	return []column{
		who("issuer", "Who vouches for the caller.", func(id *authn.Identity) string { return id.Issuer }),
		who("subject", "The caller, by the issuer's name for it.", func(id *authn.Identity) string { return id.Subject }),
		who("client", "The program that the token was issued to.", func(id *authn.Identity) string { return id.Client }),
		who("authenticated_by", "session or bearer.", func(id *authn.Identity) string { return string(id.Method) }),
	}
}

func who(name, doc string, of func(*authn.Identity) string) column {
	return column{name, doc, "string", func(r *proxy.Record) value {
		if r.Identity == nil {
			return value{}
		}
		return text(of(r.Identity))
	}}
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
	table := func(columns []column) {
		b.WriteString("| field | type | meaning |\n|---|---|---|\n")
		for _, c := range columns {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c.name, c.kind, c.doc)
		}
	}
	b.WriteString(logIntroduction)
	table(accessColumns())
	b.WriteString(auditIntroduction)
	table(auditColumns())
	b.WriteString("\nAn `outcome` says all of that again, and besides:\n\n")
	table(endColumns())
	b.WriteString(auditFiling)
	return b.String()
}
