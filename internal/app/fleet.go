package app

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"

	"go.uber.org/zap"

	"amlproxy/internal/config"
	"amlproxy/proxy"
	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
)

// A fleet is what one version of the routes needs: the workspaces that their
// backends are in, and a cache for each backend. It is immutable.
type fleet struct {
	pool       *x509.CertPool // of everything outside; nil: the system's
	workspaces []workspace
	models     []model
	ways       []way
}

// A way is how some backends are called that say so themselves.
type way struct {
	of        *config.TLS
	transport *http.Transport
}

// A workspace is one of the settings' workspaces that some backend is in.
type workspace struct {
	of     config.Workspace
	cfg    azureml.Config
	client *azureml.Workspace
}

// A model is one route with the backends behind it, in their order.
type model struct {
	route    proxy.Route
	backends []backend
}

type backend struct {
	of    config.Backend
	in    *azureml.Workspace // that is asked about it; nil with an address of its own
	cache *upstream.Cache
}

// newFleet builds what s needs. What before, which may be nil, has already is
// taken over: a route that did not change keeps its credential when others do.
func (a *App) newFleet(s *config.Settings, pool *x509.CertPool, before *fleet) (*fleet, error) {
	if before == nil {
		before = &fleet{}
	}
	f := &fleet{pool: pool}
	var errs []error
	for _, name := range neededWorkspaces(s) {
		w, err := a.workspaceOf(s, name, before)
		f.workspaces, errs = append(f.workspaces, w), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i := range s.Routes {
		m, err := a.newModel(s, &s.Routes[i], f, before)
		if err != nil {
			f.but(before).close()
			return nil, fmt.Errorf("%s: %w", s.Routes[i].Where, err)
		}
		f.models = append(f.models, m)
	}
	return f, nil
}

// neededWorkspaces returns the names of the workspaces that backends ask Azure
// in, sorted. An address with an Entra token asks for that token in the
// environment's.
func neededWorkspaces(s *config.Settings) []string {
	var names []string
	for i := range s.Routes {
		for _, b := range s.Routes[i].Backends {
			if asksAzure(&b) {
				names = append(names, b.Workspace)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func asksAzure(b *config.Backend) bool { return b.URL == nil || b.Auth == config.AuthEntra }

func (a *App) workspaceOf(s *config.Settings, name string, before *fleet) (workspace, error) {
	w := workspace{of: s.Workspaces[name]}
	var err error
	if w.cfg, err = workspaceConfig(s, name, a.azure(), a.log); err != nil {
		return w, err
	}
	if at := slices.IndexFunc(before.workspaces, w.is); at >= 0 {
		w.client = before.workspaces[at].client
		return w, nil
	}
	w.client, err = azureml.New(w.cfg)
	return w, err
}

// is reports whether both are the same place, which its file may say; where it is
// written does not matter.
func (w workspace) is(other workspace) bool {
	w.of.Where = other.of.Where
	return w.of == other.of && w.cfg.SubscriptionID == other.cfg.SubscriptionID &&
		w.cfg.ResourceGroup == other.cfg.ResourceGroup && w.cfg.Workspace == other.cfg.Workspace
}

// identify has the workspaces that f shares with before know who the proxy is now.
func (f *fleet) identify(before *fleet) error {
	var errs []error
	for _, w := range f.workspaces {
		at := slices.IndexFunc(before.workspaces, w.is)
		if at < 0 || sameIdentity(before.workspaces[at].cfg.Identity, w.cfg.Identity) {
			continue
		}
		errs = append(errs, w.client.SetIdentity(w.cfg))
	}
	return errors.Join(errs...)
}

func sameIdentity(a, b azureml.Identity) bool {
	return a.TenantID == b.TenantID && a.ClientID == b.ClientID && a.CertFile == b.CertFile &&
		a.ClientSecret.Equal(b.ClientSecret) && a.CertPassword.Equal(b.CertPassword)
}

func (a *App) newModel(s *config.Settings, r *config.Route, f, before *fleet) (model, error) {
	m := model{}
	transport := &upstream.Transport{Base: a.toModels, ReplayLimit: int64(s.ReplayLimit)}
	for n, of := range r.Backends {
		b := backend{of: of}
		if asksAzure(&of) {
			place := s.Workspaces[of.Workspace]
			at := slices.IndexFunc(f.workspaces, func(w workspace) bool { return w.of == place })
			b.in = f.workspaces[at].client
		}
		if b.cache = before.cacheOf(r.Name, b); b.cache == nil {
			b.cache = upstream.Cached(source(&of, b.in), a.events(r.Name, n))
		}
		m.backends = append(m.backends, b)
		transport.Backends = append(transport.Backends, b.cache)
		base, err := f.wayTo(&of, before)
		if err != nil {
			return m, err
		}
		transport.Bases = append(transport.Bases, base)
	}
	m.route = proxyRoute(r, transport)
	return m, nil
}

// wayTo returns how b is called, nil for as everything else. Those that are called
// alike share their connections.
func (f *fleet) wayTo(b *config.Backend, before *fleet) (http.RoundTripper, error) {
	if b.TLS == nil {
		return nil, nil //nolint:nilnil // upstream.Transport takes its Base then
	}
	alike := func(w way) bool { return w.of.Equal(b.TLS) }
	if at := slices.IndexFunc(f.ways, alike); at >= 0 {
		return f.ways[at].transport, nil
	}
	w := way{of: b.TLS}
	at := slices.IndexFunc(before.ways, alike)
	if at >= 0 && (b.TLS.CA != "" || f.pool.Equal(before.pool)) {
		w = before.ways[at]
	} else {
		var err error
		if w.transport, err = scoringWith(b.TLS, f.pool); err != nil {
			return nil, err
		}
	}
	f.ways = append(f.ways, w)
	return w.transport, nil
}

// cacheOf returns the cache of a backend that is already there. One that asks another
// workspace is another one: the one before is closed, and asks nobody any more.
func (f *fleet) cacheOf(route string, wanted backend) *upstream.Cache {
	for _, m := range f.models {
		for _, b := range m.backends {
			if m.route.Name == route && b.in == wanted.in && sameBackend(&b.of, &wanted.of) {
				return b.cache
			}
		}
	}
	return nil
}

func sameBackend(a, b *config.Backend) bool {
	address := func(b *config.Backend) string {
		if b.URL == nil {
			return ""
		}
		return b.URL.String()
	}
	return a.Workspace == b.Workspace && a.Service == b.Service && a.Endpoint == b.Endpoint && a.Deployment == b.Deployment &&
		a.Serverless == b.Serverless && address(a) == address(b) && a.Auth == b.Auth &&
		a.Key.Equal(b.Key) && a.SecondaryKey.Equal(b.SecondaryKey)
}

func (f *fleet) routes() []proxy.Route {
	routes := make([]proxy.Route, len(f.models))
	for i := range f.models {
		routes[i] = f.models[i].route
	}
	return routes
}

// each calls do for every backend, with its route and its number from 0.
func (f *fleet) each(do func(route string, n int, b *backend)) {
	for i := range f.models {
		for n := range f.models[i].backends {
			do(f.models[i].route.Name, n, &f.models[i].backends[n])
		}
	}
}

// but returns what of f kept does not use.
func (f *fleet) but(kept *fleet) *fleet {
	used := map[any]bool{}
	kept.each(func(_ string, _ int, b *backend) { used[b.cache] = true })
	for _, w := range kept.workspaces {
		used[w.client] = true
	}
	for _, w := range kept.ways {
		used[w.transport] = true
	}
	rest := &fleet{}
	for _, m := range f.models {
		m.backends = slices.DeleteFunc(slices.Clone(m.backends), func(b backend) bool { return used[b.cache] })
		rest.models = append(rest.models, m)
	}
	rest.workspaces = slices.DeleteFunc(slices.Clone(f.workspaces), func(w workspace) bool { return used[w.client] })
	rest.ways = slices.DeleteFunc(slices.Clone(f.ways), func(w way) bool { return used[w.transport] })
	return rest
}

// close ends everything in f.
func (f *fleet) close() {
	f.each(func(_ string, _ int, b *backend) { _ = b.cache.Close() })
	for _, w := range f.workspaces {
		_ = w.client.Close()
	}
	for _, w := range f.ways {
		w.transport.CloseIdleConnections()
	}
}

// newWorkspace wires package azureml for one of the settings' workspaces. The
// environment's may be none, when only Entra tokens are asked for.
func newWorkspace(s *config.Settings, name string, transport http.RoundTripper, log *zap.Logger) (*azureml.Workspace, error) {
	cfg, err := workspaceConfig(s, name, transport, log)
	if err != nil {
		return nil, err
	}
	return azureml.New(cfg)
}

func workspaceConfig(s *config.Settings, name string, transport http.RoundTripper, log *zap.Logger) (azureml.Config, error) {
	place, err := placeOf(s, name)
	if err != nil {
		return azureml.Config{}, err
	}
	prompt := func(message string) { log.Warn("the operator has to sign in to Azure", zap.String("do", message)) }
	cfg := AzureConfig(s, place, transport, prompt)
	cfg.Notice = func(message string) { log.Warn(message, zap.String("workspace", place.Workspace)) }
	return cfg, nil
}

func placeOf(s *config.Settings, name string) (azureml.Location, error) {
	w, ok := s.Workspaces[name]
	inIt := func(r config.Route) bool {
		return slices.ContainsFunc(r.Backends, func(b config.Backend) bool { return b.URL == nil && b.Workspace == name })
	}
	if !ok && !slices.ContainsFunc(s.Routes, inIt) {
		return azureml.Location{}, nil
	}
	place, err := Locate(w)
	if name == "" && errors.Is(err, fs.ErrNotExist) {
		return place, fmt.Errorf(whichWorkspace+": "+noWorkspace, err)
	}
	if err != nil && w.Config != "" {
		return place, fmt.Errorf("%s: %w", cmp.Or(w.Where, whichWorkspace), err)
	}
	return place, err
}
