package app

import (
	"net/http"
	"os"
	"sync/atomic"

	"go.uber.org/zap"

	"amlproxy/authn"
	"amlproxy/internal/config"
	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
)

// What follows is for the doctor: the wiring of a proxy piece by piece, so that
// what is examined is what would run.

// Transports returns how a proxy with these settings calls Azure, and how it calls
// the models. Whoever asks for them closes their idle connections.
func Transports(s *config.Settings) (toAzure, toModels *http.Transport, err error) {
	pool, err := roots(s.CAFile)
	if err != nil {
		return nil, nil, err
	}
	return outgoing(pool), scoring(pool), nil
}

// TransportTo returns how a proxy with these settings calls a backend that says so
// itself; other is for all others. Whoever gets another one closes its idle
// connections.
func TransportTo(s *config.Settings, b *config.Backend, other *http.Transport) (*http.Transport, error) {
	if b.TLS == nil {
		return other, nil
	}
	pool, err := roots(s.CAFile)
	if err != nil {
		return nil, err
	}
	return scoringWith(b.TLS, pool)
}

// Locate says which workspace one of the settings' workspaces is, and which file
// says so.
func Locate(w config.Workspace) (azureml.Location, error) {
	switch {
	case w.WorkspaceName != "":
		return azureml.Location{SubscriptionID: w.SubscriptionID, ResourceGroup: w.ResourceGroup, Workspace: w.WorkspaceName}, nil
	case w.Config != "":
		return azureml.FindConfig(w.Config)
	}
	here, err := os.Getwd()
	if err != nil {
		return azureml.Location{}, err
	}
	return azureml.FindConfig(here)
}

// AzureConfig says whom to ask about the workspace at a place, which may be none,
// and as whom.
func AzureConfig(s *config.Settings, place azureml.Location, transport http.RoundTripper, prompt func(string)) azureml.Config {
	return azureml.Config{
		SubscriptionID: place.SubscriptionID, ResourceGroup: place.ResourceGroup, Workspace: place.Workspace,
		Cloud:  azureml.Cloud(s.AzureCloud),
		ARMURL: s.AzureARMURL, ARMAudience: s.AzureARMAudience, MLScope: s.AzureMLScope,
		Identity: azureml.Identity{
			TenantID: s.Identity.TenantID, ClientID: s.Identity.ClientID, ClientSecret: s.Identity.ClientSecret,
			CertFile: s.Identity.CertFile, CertPassword: s.Identity.CertPassword,
			AuthorityHost: s.Identity.AuthorityHost, DisableInstanceDiscovery: s.AzureDisableInstanceDiscovery,
			Login: s.AzureLogin,
		},
		Client: &http.Client{Transport: transport},
		Prompt: prompt,
	}
}

// Source says who knows about the endpoint of a backend.
func Source(b *config.Backend, ws *azureml.Workspace) upstream.Source { return source(b, ws) }

// Login returns the login that a proxy with these settings has, nil if they want
// none, and where its sessions live, nil if that is in their cookies. Whoever asks
// closes the latter.
func Login(s *config.Settings, transport http.RoundTripper) (*authn.Login, *authn.Redis, error) {
	logRedis(zap.NewNop()) // what fails is returned
	pool, err := roots(s.CAFile)
	if err != nil {
		return nil, nil, err
	}
	var names atomic.Pointer[named]
	all := namedIn(s)
	names.Store(&all)
	who, err := newCallers(s, &http.Client{Transport: transport}, pool, &names, nil)
	return who.login, who.store, err
}
