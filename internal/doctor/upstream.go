package doctor

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"amlproxy/internal/app"
	"amlproxy/internal/config"
	"amlproxy/upstream/azureml"
)

// Options are what a caller may want to be otherwise. The zero value is what the
// command uses.
type Options struct {
	// Limit is how long each check may take; zero: 15 s.
	Limit time.Duration
	// Prompt is given what the operator has to read in order to sign in. Required
	// where the settings want a device code.
	Prompt func(message string)
	// Lookup resolves names; nil: as the system does.
	Lookup func(ctx context.Context, host string) ([]string, error)
	// Tune changes the transports before they are used: another dialer, another
	// proxy. May be nil.
	Tune func(*http.Transport)
}

// An upstreams is everything that the proxy calls, and what has been found out
// about it so far.
type upstreams struct {
	settings *config.Settings
	options  Options
	toAzure  *http.Transport
	toModels *http.Transport
	ways     []*http.Transport  // of backends that are called in a way of their own
	identity *azureml.Inspector // who asks for the token; nil: nobody has to
	places   []*workspace

	checks []Check

	mu        sync.Mutex
	principal azureml.Principal
	clocks    []reading
}

// A workspace is one of the settings' workspaces that some route is in.
type workspace struct {
	name      string // of its checks: "workspace", "workspace north"
	named     config.Workspace
	found     azureml.Location
	err       error              // of finding it
	inspector *azureml.Inspector // nil when it was not found
	v1        bool               // some route is a v1 service: those need the workspace itself
	region    string             // as it says, once it was looked at

	mu      sync.Mutex
	needs   []string // the actions that its routes need, as they are found out
	askedBy []string // the checks that find them out
}

// Upstream returns the checks of all that the proxy calls: the authority and Azure
// Resource Manager, the proxy's identity, its workspaces, and each route's
// endpoint. end releases what they used; it is to be called after Run. The error is
// of settings that nothing can be built from.
func Upstream(s *config.Settings, o Options) (checks []Check, end func(), err error) {
	if o.Lookup == nil {
		o.Lookup = net.DefaultResolver.LookupHost
	}
	u := &upstreams{settings: s, options: o}
	u.toAzure, u.toModels, err = app.Transports(s)
	if err != nil {
		return nil, nil, err
	}
	if o.Tune != nil {
		o.Tune(u.toAzure)
		o.Tune(u.toModels)
	}
	if err := u.meet(); err != nil {
		u.end()
		return nil, nil, err
	}
	if u.identity != nil {
		u.azure()
	}
	for _, w := range u.places {
		u.workspace(w)
	}
	for i := range s.Routes {
		if err := u.route(&s.Routes[i]); err != nil {
			u.end()
			return nil, nil, err
		}
	}
	for _, w := range u.places {
		u.excess(w)
	}
	if o.Limit != 0 {
		for i := range u.checks {
			u.checks[i].Limit = o.Limit
		}
	}
	return u.checks, u.end, nil
}

// meet finds the workspaces that routes are in. One that is not found is the
// business of a check; its routes then have nobody to ask.
func (u *upstreams) meet() error {
	used, entra := map[string]bool{}, false
	v1 := map[string]bool{}
	for i := range u.settings.Routes {
		for _, b := range u.settings.Routes[i].Backends {
			entra = entra || b.Auth == config.AuthEntra
			if b.NeedsWorkspace() {
				used[b.Workspace] = true
				v1[b.Workspace] = v1[b.Workspace] || b.Service != ""
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		w := &workspace{name: "workspace", named: u.settings.Workspaces[name], v1: v1[name]}
		if name != "" {
			w.name += " " + name
		}
		u.places = append(u.places, w)
		if w.found, w.err = app.Locate(w.named); w.err != nil {
			continue
		}
		var err error
		if w.inspector, err = u.inspector(w.found); err != nil {
			return err
		}
		if u.identity == nil {
			u.identity = w.inspector // the first one signs in for all
		}
	}
	if u.identity != nil || len(used) == 0 && !entra {
		return nil
	}
	var err error
	u.identity, err = u.inspector(azureml.Location{})
	return err
}

func (u *upstreams) inspector(at azureml.Location) (*azureml.Inspector, error) {
	return azureml.NewInspector(app.AzureConfig(u.settings, at, u.toAzure, u.options.Prompt))
}

func (u *upstreams) end() {
	if u.identity != nil {
		_ = u.identity.Close()
	}
	for _, w := range u.places {
		if w.inspector != nil {
			_ = w.inspector.Close()
		}
	}
	u.toAzure.CloseIdleConnections()
	u.toModels.CloseIdleConnections()
	for _, t := range u.ways {
		t.CloseIdleConnections()
	}
}

func (u *upstreams) add(c Check) { u.checks = append(u.checks, c) }

// who is the identity, as far as it is known by now.
func (u *upstreams) who() azureml.Principal {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.principal
}

// place returns the workspace that a backend is in, nil for an address.
func (u *upstreams) place(b *config.Backend) *workspace {
	if !b.NeedsWorkspace() {
		return nil
	}
	for _, w := range u.places {
		if w.named.Name == b.Workspace {
			return w
		}
	}
	return nil
}
