package app

import (
	"sync/atomic"

	"amlproxy/proxy"
	"amlproxy/upstream"
)

// readiness says what this replica can do. One route without a credential takes
// no replica out of service: the others work, and another replica would not get
// that credential either.
type readiness struct {
	serving atomic.Bool // listeners stand and no stop was asked for
	models  []model
}

// public is what anybody may read: causes stay in the log and on the admin side.
func (r *readiness) public() proxy.Readiness {
	return r.report(func(error) string { return "see the log of the proxy" })
}

// detailed is for the operator.
func (r *readiness) detailed() proxy.Readiness { return r.report(error.Error) }

func (r *readiness) report(explain func(error) string) proxy.Readiness {
	answer := proxy.Readiness{Ready: r.serving.Load()}
	if !answer.Ready {
		answer.Reason = "starting or draining"
	}
	for i := range r.models {
		m := &r.models[i]
		answer.Routes = append(answer.Routes, reading(m.route.Name, m.backend.Status(), explain))
	}
	return answer
}

func reading(name string, s upstream.Status, explain func(error) string) proxy.RouteReading {
	reading := proxy.RouteReading{Name: name, State: "ready"}
	switch {
	case !s.Usable:
		reading.State, reading.Reason = "missing", "its credential is being fetched"
	case s.Err != nil:
		reading.State = "degraded"
	}
	if s.Err != nil {
		reading.Reason = explain(s.Err)
	}
	return reading
}
