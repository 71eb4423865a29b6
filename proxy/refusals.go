package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"amlproxy/authn"
	"amlproxy/upstream"
)

// The refusals there are. What each says is for the caller: what happened as far
// as it concerns him, and what he can do.

func badTarget(err error) *refusal {
	return &refusal{status: http.StatusBadRequest, problem: "bad-target", title: "This address cannot be served", detail: sentence(err.Error()), err: err}
}

func badFraming(err error) *refusal {
	return &refusal{status: http.StatusBadRequest, problem: "bad-framing", title: "This request cannot be read in one way", detail: sentence(err.Error()), err: err, closing: true}
}

func notFound() *refusal {
	return &refusal{status: http.StatusNotFound, problem: "not-found", title: "There is nothing here", detail: "No model is served here. The start page lists the models that you may call."}
}

func methodNotAllowed(allow string) *refusal {
	return &refusal{status: http.StatusMethodNotAllowed, problem: "method-not-allowed", title: "This method is not for here", detail: "Allowed here: " + allow + ".", allow: allow}
}

func crossSiteRefused() *refusal {
	return &refusal{
		status: http.StatusForbidden, problem: "cross-site-request", title: "Another site sent this",
		detail: "A page of another site made this request with your session. Such pages send a bearer token instead, or their origin is allowed for this model (cors with credentials).",
	}
}

func tooLarge(most int64, err error) *refusal {
	return &refusal{
		status: http.StatusRequestEntityTooLarge, problem: "too-large", title: "The request is too large",
		detail: fmt.Sprintf("This model takes request bodies of at most %d bytes.", most), err: err, closing: true,
	}
}

func tooMany(problem, detail string, wait time.Duration) *refusal {
	return &refusal{status: http.StatusTooManyRequests, problem: problem, title: "Too many requests", detail: detail, retryAfter: wait}
}

// notAllowed is for an identity that the rule of a route does not let in.
func (p *Proxy) notAllowed(id *authn.Identity, scope string, err error) *refusal {
	no := &refusal{
		status: http.StatusForbidden, problem: "not-allowed", title: "This is not open to you",
		detail: "You may not call this. Ask whoever runs this proxy for access.", err: err,
	}
	if id == nil || id.Method == authn.ByBearer {
		no.challenge = p.challenge("insufficient_scope", "", scope)
	}
	return no
}

// notAuthenticated answers the four kinds of failure of authn; one that is none
// of them is refused too.
func (p *Proxy) notAuthenticated(err error) *refusal {
	var e *authn.Error
	if !errors.As(err, &e) {
		e = &authn.Error{}
	}
	switch {
	case e.Malformed:
		return &refusal{
			status: http.StatusBadRequest, problem: "invalid-request", title: "The credential is malformed", err: err,
			detail: sentence(e.Detail), challenge: p.challenge("invalid_request", e.Detail, ""),
		}
	case errors.Is(err, authn.ErrUnavailable):
		return &refusal{
			status: http.StatusServiceUnavailable, problem: "authentication-unavailable", title: "Nobody can be recognised just now", err: err,
			detail: unreached(e) + " You stay signed in; try again shortly.", retryAfter: retryAfter(err, 5*time.Second),
		}
	case errors.Is(err, authn.ErrForbidden):
		no := p.notAllowed(nil, "", err)
		if !e.Bearer {
			no.challenge = ""
		}
		if e.Detail != "" {
			no.detail = sentence(e.Detail)
		}
		return no
	case e.Bearer && errors.Is(err, authn.ErrInvalid):
		return &refusal{
			status: http.StatusUnauthorized, problem: "invalid-token", title: "The access token is not valid", err: err,
			detail: sentence(e.Detail), challenge: p.challenge("invalid_token", e.Detail, ""),
		}
	case errors.Is(err, authn.ErrNone), errors.Is(err, authn.ErrInvalid):
		return p.signInRequired(err)
	}
	return &refusal{
		status: http.StatusServiceUnavailable, problem: "authentication-unavailable", title: "Nobody can be recognised just now", err: err,
		detail: "Try again shortly.", retryAfter: 5 * time.Second,
	}
}

func (p *Proxy) signInRequired(err error) *refusal {
	no := &refusal{
		status: http.StatusUnauthorized, problem: "sign-in-required", title: "Please sign in",
		detail: "Send an access token as Authorization: Bearer.", err: err, login: true, challenge: p.challenge("", "", ""),
	}
	if p.login != nil {
		no.detail = "Sign in at login_url with a browser, or send an access token as Authorization: Bearer."
	}
	return no
}

// at leaves out what does not help at rt: on another host than the public URL's no
// login ends, and no session is known.
func (no *refusal) at(rt *route) *refusal {
	if rt.elsewhere && no.login {
		no.login = false
		no.detail = "Send an access token as Authorization: Bearer."
	}
	return no
}

// loginFailed answers for a Login that could not go on. Most often the person took
// too long, pressed "back", or followed a link that was not meant for him.
func (p *Proxy) loginFailed(err error) *refusal {
	var e *authn.Error
	if !errors.As(err, &e) {
		e = &authn.Error{}
	}
	no := &refusal{status: http.StatusForbidden, problem: "login-failed", title: "Signing in did not work", detail: sentence(e.Detail), err: err}
	switch {
	case errors.Is(err, authn.ErrUnavailable):
		no.status, no.retryAfter = http.StatusServiceUnavailable, retryAfter(err, 5*time.Second)
		no.detail = unreached(e) + " Try again shortly."
	case errors.Is(err, authn.ErrLoop):
		no.problem, no.title = "login-loop", "Signing in goes round in circles"
	case e.Malformed:
		no.status = http.StatusBadRequest
	}
	if no.detail == "" {
		no.detail = "Please begin again."
	}
	return no
}

// unreached says what could not be asked: the provider, or the session store.
func unreached(e *authn.Error) string {
	if e.Store {
		return "The session store cannot be reached."
	}
	return "The identity provider cannot be reached."
}

// upstreamRefusal answers for a Transport that has no answer.
func upstreamRefusal(rt *route, err error) *refusal {
	var large *http.MaxBytesError
	no := &refusal{status: http.StatusBadGateway, err: err}
	switch {
	case errors.As(err, &large):
		return tooLarge(rt.maxBody, err)
	case errors.Is(err, errSlowBody):
		no.status, no.problem, no.title = http.StatusRequestTimeout, "request-timeout", "The request came too slowly"
		no.detail, no.closing = "The request body was not complete in time.", true
	case errors.Is(err, upstream.ErrRequestBody):
		no.status, no.problem, no.title = http.StatusBadRequest, "bad-body", "The request body is broken"
		no.detail, no.closing = "The request body could not be read to its end.", true
	case errors.Is(err, upstream.ErrNotReplayable):
		no.status, no.problem, no.title = http.StatusServiceUnavailable, "credential-renewing", "Please send that again"
		no.detail, no.retryAfter = "The proxy's credential changed while the request was sent, and the request was too large to be kept. The next one has the new credential.", retryAfter(err, time.Second)
	case errors.Is(err, upstream.ErrRejected):
		no.problem, no.title = "credential-rejected", "The model does not accept the proxy"
		no.detail = "The model's endpoint refused the proxy's credential, and no other was to be had. Signing in again does not help; whoever runs this proxy has to."
	case errors.Is(err, upstream.ErrNoCredential):
		no.status, no.problem, no.title = http.StatusServiceUnavailable, "credential-unavailable", "The model cannot be called just now"
		no.detail, no.retryAfter = "The proxy has no credential for the model at the moment, and keeps trying to get one.", retryAfter(err, 5*time.Second)
	case errors.Is(err, context.DeadlineExceeded):
		no.status, no.problem, no.title = http.StatusGatewayTimeout, "upstream-timeout", "The model took too long"
		no.detail = "The model did not begin to answer in time."
	default:
		no.problem, no.title = "upstream-unreachable", "The model cannot be reached"
		no.detail = "The connection to the model's endpoint failed. The request was not repeated."
	}
	return no
}

// retryAfter returns what the cause of err said, or else.
func retryAfter(err error, or time.Duration) time.Duration {
	var hint *upstream.RetryAfterError
	if errors.As(err, &hint) && hint.After > 0 {
		return hint.After
	}
	return or
}

// sentence makes a sentence of an error's text.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}
