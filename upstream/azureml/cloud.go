package azureml

import (
	"fmt"
	"net/url"

	_ "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm/runtime" // fills the Services of the known clouds
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
)

// cloud returns the addresses to use: those of the cloud, each replaced where the
// settings name another.
func (cfg Config) cloud() (cloud.Configuration, error) {
	var known cloud.Configuration
	switch cfg.Cloud {
	case "", Public:
		known = cloud.AzurePublic
	case USGovernment:
		known = cloud.AzureGovernment
	case China:
		known = cloud.AzureChina
	default:
		return known, fmt.Errorf("there is no cloud %q: it is public, usgovernment or china", cfg.Cloud)
	}
	// The map of a known cloud is azcore's own: it is copied, never written to.
	service := known.Services[cloud.ResourceManager]
	if cfg.ARMURL != "" {
		if _, err := baseURL(cfg.ARMURL); err != nil {
			return known, fmt.Errorf("the address of Azure Resource Manager: %w", err)
		}
		service.Endpoint = cfg.ARMURL
	}
	if cfg.ARMAudience != "" {
		service.Audience = cfg.ARMAudience
	}
	authority := known.ActiveDirectoryAuthorityHost
	if cfg.Identity.AuthorityHost != "" {
		authority = cfg.Identity.AuthorityHost
	}
	return cloud.Configuration{
		ActiveDirectoryAuthorityHost: authority,
		Services:                     map[cloud.ServiceName]cloud.ServiceConfiguration{cloud.ResourceManager: service},
	}, nil
}

// mlScope is the scope of an Entra token for an online endpoint.
func (cfg Config) mlScope() string {
	switch {
	case cfg.MLScope != "":
		return cfg.MLScope
	case cfg.Cloud == USGovernment:
		return "https://ml.azure.us/.default"
	case cfg.Cloud == China:
		return "https://ml.azure.cn/.default"
	}
	return "https://ml.azure.com/.default"
}

// baseURL parses an address that paths are appended to.
func baseURL(raw string) (*url.URL, error) {
	u, err := webURL(raw)
	if err != nil {
		return nil, err
	}
	if u.RawQuery != "" || u.ForceQuery {
		return nil, fmt.Errorf("%q has a query", u.Redacted())
	}
	return u, nil
}

// webURL parses an absolute http or https address without user or fragment. The
// scheme is believed as it stands: v1 services are often served over plain http.
func webURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("not an address: %.200q", raw)
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Opaque != "":
		return nil, fmt.Errorf("not an absolute http or https address: %.200q", u.Redacted())
	case u.User != nil, u.Fragment != "":
		// A user would become an Authorization field of its own.
		return nil, fmt.Errorf("an address with a user or a fragment: %.200q", u.Redacted())
	}
	return u, nil
}
