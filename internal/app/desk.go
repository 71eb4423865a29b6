package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"amlproxy/internal/config"
	"amlproxy/internal/secret"
	"amlproxy/internal/telemetry"
	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
)

// ErrNoSuchRoute says that the settings have no such route, or the route no such
// backend.
var ErrNoSuchRoute = errors.New("no such route")

// ErrSettings says that the settings are mistaken in what only shows when a
// workspace is to be asked.
var ErrSettings = errors.New("a mistake in the settings")

// A Desk is where an operator's commands ask about the credentials of routes. It
// asks the workspace itself, as a proxy with the same settings would, and starts
// no proxy; running ones are not spoken to.
type Desk struct {
	settings   *config.Settings
	log        *zap.Logger
	workspaces []*azureml.Workspace // that were asked
	outgoing   []*http.Transport
	toAzure    http.RoundTripper
	toModels   *http.Transport
}

// NewDesk builds a Desk. It asks nobody yet. What the operator has to do, in order
// to sign in for instance, is written to log.
func NewDesk(s *config.Settings, log io.Writer) (*Desk, error) {
	logger, err := telemetry.NewLogger(log, "warn", "console")
	if err != nil {
		return nil, err
	}
	pool, err := roots(s.CAFile)
	if err != nil {
		return nil, err
	}
	toAzure, toModels := outgoing(pool), scoring(pool)
	return &Desk{settings: s, log: logger, toAzure: toAzure, toModels: toModels, outgoing: []*http.Transport{toAzure, toModels}}, nil
}

// Close ends what the Desk started.
func (d *Desk) Close() {
	for _, w := range d.workspaces {
		_ = w.Close()
	}
	for _, t := range d.outgoing {
		t.CloseIdleConnections()
	}
}

// A Credential is what calls of one route's backend need now.
type Credential struct {
	Backend    string // "service diabetes", or an address
	Address    string // where calls go
	Deployment string // that calls are pinned to; usually empty
	Kind       string // none, key, token or entra

	Primary   secret.Value // the key or the token; empty for none
	Secondary secret.Value // the other key, if there is one

	Refresh time.Time // from when on it is asked for again; zero: never
	Expires time.Time // zero: never
}

// Credential returns what a proxy that started now would use for a route. Its
// backends are counted from 1.
func (d *Desk) Credential(ctx context.Context, route string, backend int) (*Credential, error) {
	b, err := d.find(route, backend)
	if err != nil {
		return nil, err
	}
	lease, err := b.source.Fetch(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", route, err)
	}
	return b.credential(lease), nil
}

// Keys returns the pair of keys of a route's backend, or an error that says why
// there is none and what to do.
func (d *Desk) Keys(ctx context.Context, route string, backend int) (*Credential, error) {
	c, err := d.Credential(ctx, route, backend)
	if err == nil && c.Kind != string(upstream.Key) {
		return nil, noKeys(route, c)
	}
	return c, err
}

func noBackend(route string, have, asked int) error {
	if have == 1 {
		return fmt.Errorf("%w: route %s has one backend, which is number 1, and no %d", ErrNoSuchRoute, route, asked)
	}
	return fmt.Errorf("%w: route %s has %d backends, counted from 1, and no %d", ErrNoSuchRoute, route, have, asked)
}

// deskBackend is one backend of one route.
type deskBackend struct {
	route, name string
	of          *config.Backend
	source      upstream.Source
}

func (d *Desk) find(route string, backend int) (deskBackend, error) {
	var names []string
	for i := range d.settings.Routes {
		r := &d.settings.Routes[i]
		names = append(names, r.Name)
		if r.Name != route {
			continue
		}
		if backend < 1 || backend > len(r.Backends) {
			return deskBackend{}, noBackend(route, len(r.Backends), backend)
		}
		b := &r.Backends[backend-1]
		w, err := d.workspaceOf(b)
		if err != nil {
			return deskBackend{}, fmt.Errorf("%w: %w", ErrSettings, err)
		}
		return deskBackend{route: route, name: backendName(b), of: b, source: source(b, w)}, nil
	}
	return deskBackend{}, fmt.Errorf("%w: %q; there are: %s", ErrNoSuchRoute, route, strings.Join(names, ", "))
}

func (d *Desk) workspaceOf(b *config.Backend) (*azureml.Workspace, error) {
	if !asksAzure(b) {
		return nil, nil //nolint:nilnil // nothing to ask is not an error
	}
	w, err := newWorkspace(d.settings, b.Workspace, d.toAzure, d.log)
	if err == nil {
		d.workspaces = append(d.workspaces, w)
	}
	return w, err
}

func backendName(b *config.Backend) string {
	var name string
	switch {
	case b.Service != "":
		name = "service " + b.Service
	case b.Endpoint != "":
		name = "endpoint " + b.Endpoint
	case b.Serverless != "":
		name = "serverless endpoint " + b.Serverless
	default:
		return b.URL.String()
	}
	if b.Workspace != "" {
		name += " in workspace " + b.Workspace
	}
	return name
}

func (b deskBackend) credential(lease *upstream.Lease) *Credential {
	return &Credential{
		Backend: b.name, Address: lease.Scoring.String(), Deployment: lease.Deployment, Kind: string(lease.Kind),
		Primary: lease.Primary, Secondary: lease.Secondary, Refresh: lease.Refresh, Expires: lease.Expires,
	}
}

// noKeys says what to do instead for an endpoint whose credential is no key.
func noKeys(route string, c *Credential) error {
	why := "takes no credential, so there are no keys; if not everybody who reaches it may call it, turn its key authentication on"
	switch upstream.Kind(c.Kind) {
	case upstream.Token:
		why = "takes tokens that the workspace issues, and has no keys: tokens expire and are renewed by themselves; amlproxy token " + route + " shows the one in use"
	case upstream.Entra:
		why = "takes Entra tokens of the proxy's own identity, and has no keys: tokens are renewed by themselves; what can be rotated is the secret or the certificate of that identity, in Entra ID"
	case upstream.None, upstream.Key:
	}
	return fmt.Errorf("route %s: %s %s", route, c.Backend, why)
}

// Revealed returns a secret itself, for an operator who asked for it.
func Revealed(v secret.Value) string { return v.Reveal() }

// Masked returns enough of a secret to tell it from another one: its end, if so
// much remains that nobody could guess it, and its length.
func Masked(v secret.Value) string {
	const shown, least = 4, 20
	text := v.Reveal()
	n := utf8.RuneCountInString(text)
	if n < least {
		return fmt.Sprintf("[secret] (%d characters)", n)
	}
	return fmt.Sprintf("…%s (%d characters)", string([]rune(text)[n-shown:]), n)
}
