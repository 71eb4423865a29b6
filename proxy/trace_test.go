package proxy_test

import (
	"testing"
	"time"

	"amlproxy/proxy"
)

// The model is sent the span that is made here, in the caller's trace; and who
// made it hears of the end of every request, refused ones too.
func TestATraceGoesThroughTheProxy(t *testing.T) {
	const caller, ours = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-aaaaaaaaaaaaaaaa-01"
	up := record(t, "")
	var parents, states []string
	ended := make(chan proxy.Record, 10)
	h := open(t, proxy.Config{
		Routes: []proxy.Route{{Name: "m", Public: true, Transport: to(t, up.url())}},
		Trace: func(start time.Time, parent, state string) (string, func(*proxy.Record)) {
			if start.IsZero() {
				t.Error("no start")
			}
			parents, states = append(parents, parent), append(states, state)
			return ours, func(r *proxy.Record) { ended <- *r }
		},
	})
	for i, c := range []struct{ parent, wantParent, wantState string }{
		{caller, caller, "a=b,c=d"},
		{"", "", ""},
		{"00-xyz", "", ""}, // and the tracestate goes with it
	} {
		more := []string{"Tracestate: a=b", "Tracestate: c=d"}
		if c.parent != "" {
			more = append(more, "Traceparent: "+c.parent)
		}
		h.ask(t, "GET", "/models/m", "", more...)
		head, _ := up.last(t)
		if got := fields(head, "Traceparent"); len(got) != 1 || got[0] != ours {
			t.Errorf("%q: the model got %q", c.parent, got)
		}
		if got := fields(head, "Tracestate"); (len(got) > 0) != (c.wantState != "") {
			t.Errorf("%q: the model got tracestate %q", c.parent, got)
		}
		if parents[i] != c.wantParent || states[i] != c.wantState {
			t.Errorf("%q: told %q %q", c.parent, parents[i], states[i])
		}
		if r := <-ended; r.TraceParent != ours || r.Status != 200 || r.Duration == 0 {
			t.Errorf("%+v", r)
		}
	}
	h.ask(t, "GET", "/models/none", "")
	if r := <-ended; r.Problem != "not-found" {
		t.Errorf("%+v", r)
	}
}
