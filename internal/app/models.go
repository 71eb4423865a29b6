package app

import (
	"fmt"
	"net/http"
	"os"
	"slices"

	"go.uber.org/zap"

	"amlproxy/internal/config"
	"amlproxy/proxy"
	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
)

// A model is one route with the backend behind it.
type model struct {
	route   proxy.Route
	backend *upstream.Cache
}

// newWorkspace wires package azureml, or returns nil when no route asks Azure
// for anything.
func newWorkspace(s *config.Settings, client *http.Client, log *zap.Logger) (*azureml.Workspace, error) {
	if err := oneBackendEach(s); err != nil {
		return nil, err
	}
	asksAzure := func(r config.Route) bool { return r.NeedsWorkspace() || r.Backends[0].Auth == config.AuthEntra }
	if !slices.ContainsFunc(s.Routes, asksAzure) {
		return nil, nil //nolint:nilnil // nothing to ask is not an error
	}
	place, err := location(s)
	if err != nil {
		return nil, err
	}
	return azureml.New(azureml.Config{
		SubscriptionID: place.SubscriptionID, ResourceGroup: place.ResourceGroup, Workspace: place.Workspace,
		Cloud:  azureml.Cloud(s.AzureCloud),
		ARMURL: s.AzureARMURL, ARMAudience: s.AzureARMAudience, MLScope: s.AzureMLScope,
		Identity: azureml.Identity{
			TenantID: s.Identity.TenantID, ClientID: s.Identity.ClientID, ClientSecret: s.Identity.ClientSecret,
			AuthorityHost: s.Identity.AuthorityHost, DisableInstanceDiscovery: s.AzureDisableInstanceDiscovery,
			Login: s.AzureLogin,
		},
		Client: client,
		Prompt: func(message string) { log.Warn("the operator has to sign in to Azure", zap.String("do", message)) },
	})
}

// oneBackendEach refuses what settings can say and this package does not do so
// far: better than to leave a backend out, or to ask the wrong workspace for it.
func oneBackendEach(s *config.Settings) error {
	for i := range s.Routes {
		b := s.Routes[i].Backends
		if len(b) > 1 || b[0].Workspace != "" {
			return fmt.Errorf("%s: several backends and named workspaces are not supported yet", s.Routes[i].Where)
		}
	}
	return nil
}

// location says which workspace: the three settings, the file that one names, or
// the one that the Azure ML SDK would find from here.
func location(s *config.Settings) (azureml.Location, error) {
	switch {
	case s.WorkspaceName != "":
		return azureml.Location{SubscriptionID: s.SubscriptionID, ResourceGroup: s.ResourceGroup, Workspace: s.WorkspaceName}, nil
	case s.WorkspaceConfig != "":
		content, err := os.ReadFile(s.WorkspaceConfig)
		if err != nil {
			return azureml.Location{}, fmt.Errorf("AMLPROXY_WORKSPACE_CONFIG: %w", err)
		}
		return azureml.ParseConfig(s.WorkspaceConfig, content)
	case !slices.ContainsFunc(s.Routes, func(r config.Route) bool { return r.NeedsWorkspace() }):
		return azureml.Location{}, nil
	}
	here, err := os.Getwd()
	if err != nil {
		return azureml.Location{}, err
	}
	return azureml.FindConfig(here)
}

// newModels wires one route after the other. events returns who is told of the
// fetches of a route's n-th backend, from 0.
func newModels(s *config.Settings, ws *azureml.Workspace, base http.RoundTripper, events func(route string, n int) func(upstream.Event)) []model {
	models := make([]model, len(s.Routes))
	for i := range s.Routes {
		r := &s.Routes[i]
		backend := upstream.Cached(source(&r.Backends[0], ws), events(r.Name, 0))
		models[i] = model{backend: backend, route: proxyRoute(r, &upstream.Transport{
			Backends: []upstream.Backend{backend}, Base: base, ReplayLimit: int64(s.ReplayLimit),
		})}
	}
	return models
}

// source says who knows about the endpoint of b. Settings are validated: exactly
// one of its four names is set, and auth fits it.
func source(b *config.Backend, ws *azureml.Workspace) upstream.Source {
	mode := azureml.Mode(b.Auth)
	switch {
	case b.Service != "":
		return ws.Service(b.Service, mode)
	case b.Endpoint != "":
		return ws.Endpoint(b.Endpoint, b.Deployment, mode)
	case b.Serverless != "":
		return ws.Serverless(b.Serverless)
	case b.Auth == config.AuthEntra:
		return ws.Entra(b.URL, "")
	}
	return upstream.Static(upstream.Lease{
		Scoring: b.URL, Kind: upstream.Kind(b.Auth), Primary: b.Key, Secondary: b.SecondaryKey,
	})
}

func proxyRoute(r *config.Route, transport http.RoundTripper) proxy.Route {
	route := proxy.Route{
		Name: r.Name, Path: r.Path, Public: r.Public, Methods: r.Methods, Paths: r.Paths,
		MaxConcurrent: r.MaxConcurrent, MaxBody: r.MaxBody, Timeout: r.Timeout,
		IdentityHeaders: r.IdentityHeaders, Transport: transport,
	}
	if a := r.Access; a != nil {
		route.Access = &proxy.Access{Any: proxy.Rules(a.Any), All: proxy.Rules(a.All), None: proxy.Rules(a.None)}
	}
	if c := r.CORS; c != nil {
		route.CORS = &proxy.CORS{Origins: c.Origins, Credentials: c.Credentials}
	}
	if l := r.RateLimit; l != nil {
		route.RateLimit = &proxy.RateLimit{Requests: l.Requests, Per: l.Per, Burst: l.Burst, By: proxy.LimitBy(l.By)}
	}
	return route
}
