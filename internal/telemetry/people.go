package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"

	"amlproxy/authn"
)

// people are the metrics of logins, sessions and tokens.
type people struct {
	all map[authn.Event]prometheus.Counter
}

func (m *Metrics) newPeople() {
	m.people.all = make(map[authn.Event]prometheus.Counter)
	for _, of := range []struct {
		kind           authn.EventKind
		name, help, by string
		outcomes       []authn.Outcome
	}{
		{
			authn.LoginStarted, "amlproxy_logins_started_total", "Browsers sent to the identity provider to sign in.",
			"",
			[]authn.Outcome{authn.OK},
		},
		{
			authn.LoginEnded, "amlproxy_logins_total",
			"Logins that ended, by outcome: ok, forbidden (the provider's answer is not good, or its holder is not let in), malformed (no answer of a provider), loop (in circles), unavailable (provider or session store).",
			"outcome",
			[]authn.Outcome{authn.OK, authn.Forbidden, authn.Malformed, authn.Loop, authn.Unavailable},
		},
		{authn.SessionStarted, "amlproxy_sessions_started_total", "Sessions that began.", "", []authn.Outcome{authn.OK}},
		{
			authn.SessionRenewed, "amlproxy_session_renewals_total",
			"Renewals of a session's claims through its refresh token, by outcome: ok, refused (the provider ended it), unavailable (the session goes on as it is).",
			"outcome",
			[]authn.Outcome{authn.OK, authn.Refused, authn.Unavailable},
		},
		{
			authn.SessionEnded, "amlproxy_session_ends_total",
			"Times that somebody ended sessions before their time, by reason: sign-out, everywhere (all of a person, at his wish), back-channel (the provider said so), refused (it does not renew it).",
			"reason",
			[]authn.Outcome{authn.SignOut, authn.Everywhere, authn.BackChannel, authn.Refused},
		},
		{
			authn.TokenVerified, "amlproxy_tokens_verified_total",
			"Bearer tokens whose signature and claims were checked, by outcome: ok, forbidden (it is not good, or its holder is not let in), unavailable (the provider's keys). Who brings one that is remembered is not counted.",
			"outcome",
			[]authn.Outcome{authn.OK, authn.Forbidden, authn.Unavailable},
		},
	} {
		var labels []string
		if of.by != "" {
			labels = []string{of.by}
		}
		vec := m.counter(of.name, of.help, labels...)
		for _, outcome := range of.outcomes {
			values := []string{string(outcome)}[:len(labels)]
			m.people.all[authn.Event{Kind: of.kind, Outcome: outcome}] = vec.WithLabelValues(values...)
		}
	}
}

// Session takes an Event of package authn into account.
func (m *Metrics) Session(e authn.Event) {
	if c := m.people.all[e]; c != nil {
		c.Inc()
	}
}
