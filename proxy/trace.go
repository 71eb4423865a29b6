package proxy

import (
	"net/http"
	"strings"
	"time"
)

// A Trace begins the span of a request, within the caller's if he sent a valid
// traceparent (W3C Trace Context), which else is empty, as is state then. It
// returns the traceparent that the model is sent, in the same trace, and what is
// told how the request ended, before Config.Record is; nil if nobody wants to know.
// It is called on every request, and must not block.
type Trace func(start time.Time, parent, state string) (traceparent string, end func(*Record))

// follow finds out in which trace x is. Without a Config.Trace the model is sent
// the caller's traceparent, or a new one that says that nothing was recorded.
func (x *exchange) follow() {
	parent, state := traceOf(x.r.Header)
	x.follows = parent != ""
	switch {
	case x.p.trace != nil:
		x.record.TraceParent, x.traced = x.p.trace(x.record.Start, parent, state)
	case parent != "":
		x.record.TraceParent = parent
	default:
		x.record.TraceParent = x.p.chance.traceParent()
	}
}

// traceOf returns the trace of a request, empty if it has none.
func traceOf(h http.Header) (parent, state string) {
	if all := h["Traceparent"]; len(all) == 1 && validTraceParent(all[0]) {
		return all[0], strings.Join(h["Tracestate"], ",")
	}
	return "", ""
}

// validTraceParent accepts version 00.
func validTraceParent(s string) bool {
	field := strings.Split(s, "-")
	if len(field) != 4 || field[0] != "00" || len(field[1]) != 32 || len(field[2]) != 16 || len(field[3]) != 2 {
		return false
	}
	zero := func(f string) bool { return strings.Trim(f, "0") == "" }
	return strings.Trim(s, "0123456789abcdef-") == "" && !zero(field[1]) && !zero(field[2])
}
