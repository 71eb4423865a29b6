package app

import (
	"sync/atomic"

	"amlproxy/authn"
	"amlproxy/proxy"
)

// readiness says what this replica can do. One route without a credential takes
// no replica out of service: the others work, and another replica would not get
// that credential either.
type readiness struct {
	serving atomic.Bool // listeners stand and no stop was asked for
	started atomic.Bool // listeners stood once
	fleet   *atomic.Pointer[fleet]
	store   *authn.Redis // nil: there is none
}

// public is what anybody may read: causes stay in the log and on the admin side.
func (r *readiness) public() proxy.Readiness {
	return r.report(func(error) string { return "see the log of the proxy" })
}

// detailed is for the operator.
func (r *readiness) detailed() proxy.Readiness { return r.report(error.Error) }

// begin says that listeners stand.
func (r *readiness) begin() {
	r.started.Store(true)
	r.serving.Store(true)
}

func (r *readiness) report(explain func(error) string) proxy.Readiness {
	answer := proxy.Readiness{Ready: r.serving.Load()}
	if !answer.Ready {
		answer.Reason = "starting"
		if r.started.Load() {
			answer.Reason = "draining"
		}
	}
	answer.Store = readStore(r.store, explain)
	models := r.fleet.Load().models
	for i := range models {
		answer.Routes = append(answer.Routes, models[i].reading(explain))
	}
	return answer
}

// reading is "ready" when every backend could be called now and answered when it
// was last asked about, "missing" when none could be called, and else "degraded".
func (m *model) reading(explain func(error) string) proxy.RouteReading {
	reading := proxy.RouteReading{Name: m.route.Name, State: "ready"}
	usable := 0
	for _, b := range m.backends {
		s := b.cache.Status()
		if s.Usable {
			usable++
		}
		if s.Usable && s.Err == nil {
			continue
		}
		reading.State = "degraded"
		switch {
		case reading.Reason != "": // the first to be tried explains
		case s.Err != nil:
			reading.Reason = explain(s.Err)
		default:
			reading.Reason = "its credential is being fetched"
		}
	}
	if usable == 0 {
		reading.State = "missing"
	}
	return reading
}
