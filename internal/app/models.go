package app

import (
	"net/http"

	"amlproxy/internal/config"
	"amlproxy/proxy"
	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
)

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
		Name: r.Name, Path: r.Path, Host: r.Host, Public: r.Public, Methods: r.Methods, Paths: r.Paths,
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
