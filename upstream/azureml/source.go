package azureml

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
)

const (
	lookEvery = time.Hour   // an endpoint is looked at; key listings show in activity logs
	lookRetry = time.Minute // after a look that failed while the credential was renewed
)

// errNoWorkspace: a Source of the workspace was asked without one.
var errNoWorkspace = errors.New("no workspace is configured: subscription, resource group and name are missing")

// An endpoint is what differs between v1 services, online endpoints, serverless
// endpoints and addresses given by hand.
type endpoint interface {
	look(ctx context.Context) (place, error)
	keys(ctx context.Context, at place) (pair, error)
	token(ctx context.Context) (credential, error)
	regenerate(ctx context.Context, at place, which KeyName) error
}

// A credential is a key pair or a token, and until when it is good.
type credential struct {
	primary, secondary secret.Value
	asked              time.Time
	due                time.Time // from when on another should be had; zero: when the endpoint changes
	expires            time.Time // zero: never
}

// source implements [upstream.Source] for every kind of endpoint.
type source struct {
	w          *Workspace
	what       string // "service diabetes"
	endpoint   endpoint
	mode       Mode
	deployment string
	scope      string // of an Entra token
	err        error  // a mistake in what it was made of

	mu   sync.Mutex
	last memory
	told bool // of its region
}

// memory is what a source found out last.
type memory struct {
	place   place
	kind    upstream.Kind
	looked  time.Time
	lookDue time.Time // zero: never
	cred    credential
}

// newSource makes a source; err is a mistake that every Fetch reports.
func (w *Workspace) newSource(what string, e endpoint, mode Mode, deployment string, err error) *source {
	switch upstream.Kind(mode) {
	case "", upstream.Kind(Auto), upstream.None, upstream.Key, upstream.Token, upstream.Entra:
	default:
		err = fmt.Errorf("%s: there is no auth mode %q", what, mode)
	}
	if err == nil && w.id == "" {
		err = errNoWorkspace
	}
	return &source{w: w, what: what, endpoint: e, mode: mode, deployment: deployment, scope: w.mlScope, err: err}
}

// Fetch implements [upstream.Source]. With a held lease it looks at the endpoint
// again only when an hour has passed, and asks for a credential only when the
// held one is due or the endpoint has changed. A renewal that the cache plans
// ahead, by up to a tenth of the time, counts as due.
func (s *source) Fetch(ctx context.Context, held *upstream.Lease) (*upstream.Lease, error) {
	if s.err != nil {
		return nil, s.err
	}
	old := s.recall(held)
	next, lookErr := s.look(ctx, old, held != nil)
	if lookErr != nil && !next.known() {
		return nil, lookErr
	}
	if held == nil || next.moved(old) || old.cred.isDue(time.Now()) {
		cred, err := s.credential(ctx, next, old.cred.primary, held != nil)
		if err != nil {
			if lookErr != nil {
				err = fmt.Errorf("%w; before that, %w", err, lookErr)
			}
			return nil, err
		}
		next.cred = cred
	} else if lookErr != nil {
		return nil, lookErr
	}
	s.mu.Lock()
	s.last = next
	s.mu.Unlock()
	return next.lease(s.deployment), nil
}

// recall returns what was found out last. It is worth nothing for another
// lease than the last one.
func (s *source) recall(held *upstream.Lease) memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held != nil && (held.Kind != s.last.kind || !held.Primary.Equal(s.last.cred.primary)) {
		return memory{}
	}
	return s.last
}

// look looks at the endpoint if that is due. When it fails, and not because the
// endpoint is gone, it returns what is known from before besides the error: a
// token can be renewed while its endpoint cannot be looked at, which keeps an
// online endpoint with Entra tokens going while Azure Resource Manager is down.
func (s *source) look(ctx context.Context, old memory, mayKeep bool) (memory, error) {
	now := time.Now()
	if mayKeep && old.known() && (old.lookDue.IsZero() || now.Before(ahead(old.looked, old.lookDue))) {
		return old, nil
	}
	at, err := s.endpoint.look(ctx)
	kind := at.kind
	if err == nil {
		kind, err = s.kind(at)
	}
	var e *Error
	switch {
	case err == nil:
		next := memory{place: at, kind: kind, looked: now, lookDue: now.Add(lookEvery), cred: old.cred}
		if _, fixed := s.endpoint.(address); fixed {
			next.lookDue = time.Time{}
		}
		s.compareRegions(at)
		return next, nil
	case !mayKeep, errors.As(err, &e) && e.Status == http.StatusNotFound:
		return memory{}, err
	}
	old.looked, old.lookDue = now, now.Add(lookRetry)
	return old, err
}

// kind is what the endpoint wants: what it said, unless the settings say.
func (s *source) kind(at place) (upstream.Kind, error) {
	if s.mode != "" && s.mode != Auto {
		return upstream.Kind(s.mode), nil
	}
	if at.kind == "" {
		return "", fmt.Errorf("%s authenticates in a way that is not known, %q: say how, instead of auto", s.what, tidy(at.authMode))
	}
	return at.kind, nil
}

// credential gets what the endpoint wants. last is the credential given out last;
// renewing says that it was not rejected.
func (s *source) credential(ctx context.Context, m memory, last secret.Value, renewing bool) (credential, error) {
	switch m.kind {
	case upstream.Key:
		keys, err := s.endpoint.keys(ctx, m.place)
		return credential{primary: keys.Primary, secondary: keys.Secondary}, err
	case upstream.Token:
		return s.endpoint.token(ctx)
	case upstream.Entra:
		return s.entra(ctx, last, renewing)
	}
	return credential{}, nil
}

// entra gets an Entra token for scoring. Routes share it, so it is asked for anew
// only when it is due, or is the very one that was rejected.
func (s *source) entra(ctx context.Context, last secret.Value, renewing bool) (credential, error) {
	if renewing {
		last = secret.Value{}
	}
	token, err := s.w.identity.get(ctx, policy.TokenRequestOptions{Scopes: []string{s.scope}}, last)
	if err != nil && (renewing || token.value.IsZero()) {
		return credential{}, err
	}
	return credential{primary: token.value, asked: time.Now(), due: token.due, expires: token.expires}, nil
}

// known reports whether anything has been found out.
func (m memory) known() bool { return m.place.scoring != nil }

// moved reports whether the endpoint is another than before: then it has other
// credentials, and those of before are none of its business.
func (m memory) moved(old memory) bool {
	return !old.known() || m.kind != old.kind || m.place.scoring.String() != old.place.scoring.String()
}

// isDue reports whether another credential should be had now.
func (c credential) isDue(now time.Time) bool {
	return !c.due.IsZero() && !now.Before(ahead(c.asked, c.due))
}

// ahead is when the earliest planned renewal comes: a tenth of the way before it
// is due.
func ahead(from, due time.Time) time.Time { return due.Add(-due.Sub(from) / 10) }

// lease is what the cache is told.
func (m memory) lease(deployment string) *upstream.Lease {
	return &upstream.Lease{
		Scoring:     clone(m.place.scoring),
		Description: clone(m.place.description),
		Deployment:  deployment,
		Kind:        m.kind,
		Primary:     m.cred.primary,
		Secondary:   m.cred.secondary,
		Refresh:     earlier(m.lookDue, m.cred.due),
		Expires:     m.cred.expires,
	}
}

// earlier returns the earlier of two times of which the zero one is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func clone(u *url.URL) *url.URL {
	if u == nil {
		return nil
	}
	c := *u
	return &c
}
