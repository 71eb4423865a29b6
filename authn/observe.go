package authn

import (
	"context"
	"errors"
)

// An Event tells an observer what became of a login, a session or a token. It names nobody.
type Event struct {
	Kind    EventKind
	Outcome Outcome
}

// EventKind is what an Event is about.
type EventKind string

// The kinds of an Event, with the outcomes that each may have.
const (
	LoginStarted   EventKind = "login started"   // OK: the browser was sent to the provider
	LoginEnded     EventKind = "login ended"     // OK, Loop, Malformed, Forbidden, Unavailable
	SessionStarted EventKind = "session started" // OK
	SessionRenewed EventKind = "session renewed" // OK, Refused, Unavailable
	SessionEnded   EventKind = "session ended"   // SignOut, Everywhere, BackChannel, Refused
	TokenVerified  EventKind = "token verified"  // OK, Forbidden, Unavailable; of a remembered one nothing is told
)

// Outcome is what became of it.
type Outcome string

// The outcomes.
const (
	OK          Outcome = "ok"
	Loop        Outcome = "loop"        // signing in went round in circles
	Malformed   Outcome = "malformed"   // what the browser brought is no answer of a provider
	Forbidden   Outcome = "forbidden"   // the answer is not good, or its holder is not let in
	Unavailable Outcome = "unavailable" // the provider or the session store could not be asked
	Refused     Outcome = "refused"     // the provider does not renew it any more
	SignOut     Outcome = "sign-out"
	Everywhere  Outcome = "everywhere"   // all sessions of a person, at his wish
	BackChannel Outcome = "back-channel" // at the provider's
)

// tell tells the observer, if there is one.
func (s *Sessions) tell(kind EventKind, outcome Outcome) {
	if s.observe != nil {
		s.observe(Event{kind, outcome})
	}
}

// told tells that a login ended, unless it did not.
func (l *Login) told(err error) error {
	if err != nil {
		l.sessions.tell(LoginEnded, loginOutcome(err))
	}
	return err
}

func loginOutcome(err error) Outcome {
	var e *Error
	switch {
	case errors.Is(err, ErrLoop):
		return Loop
	case errors.Is(err, ErrUnavailable):
		return Unavailable
	case errors.As(err, &e) && e.Malformed:
		return Malformed
	}
	return Forbidden
}

// renewed tells what came of a renewal.
func (s *Sessions) renewed(err error) {
	switch {
	case err == nil:
		s.tell(SessionRenewed, OK)
	case errors.Is(err, ErrUnavailable):
		s.tell(SessionRenewed, Unavailable)
	default:
		s.tell(SessionRenewed, Refused)
		s.tell(SessionEnded, Refused)
	}
}

// Call is what a request to a provider is for.
type Call string

// The calls.
const (
	CallDiscovery  Call = "discovery"
	CallKeys       Call = "keys"
	CallToken      Call = "token"
	CallUserinfo   Call = "userinfo"
	CallRevocation Call = "revocation"
	CallOther      Call = "other"
)

// Calls returns all that CallOf may say.
func Calls() []Call {
	return []Call{CallDiscovery, CallKeys, CallToken, CallUserinfo, CallRevocation, CallOther}
}

type callKey struct{}

func calling(ctx context.Context, c Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallOf says what a request is for that is made with ctx, to the Transport of the
// Client that this package was given.
func CallOf(ctx context.Context) Call {
	if c, ok := ctx.Value(callKey{}).(Call); ok {
		return c
	}
	return CallOther
}
