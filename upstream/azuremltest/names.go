package azuremltest

import (
	"net/url"
	"slices"
)

// CAPEM returns the certificate of the CA that all https hosts chain to.
func (a *Azure) CAPEM() []byte { return slices.Clone(a.ca.pem) }

// AuthorityURL returns the address of the Entra authority, with a slash at its
// end.
func (a *Azure) AuthorityURL() string { return a.entra.url + "/" }

// ARMURL returns the address of Azure Resource Manager.
func (a *Azure) ARMURL() string { return a.arm.url }

// ModelManagementURL returns the address of the v1 model management service,
// which amlproxy has to find out by host discovery.
func (a *Azure) ModelManagementURL() string { return a.model.url }

// ARMAudience returns the audience that ARM and model management demand.
func (a *Azure) ARMAudience() string { return a.options.ARMAudience }

// MLScope returns the scope of the tokens that endpoints with [Entra] demand.
func (a *Azure) MLScope() string { return a.options.MLAudience + "/.default" }

// Tenant returns the ID of the one tenant.
func (a *Azure) Tenant() string { return a.options.Tenant }

// ClientID returns the ID of the one service principal.
func (a *Azure) ClientID() string { return a.options.ClientID }

// ClientSecret returns its secret.
func (a *Azure) ClientSecret() string { return a.options.ClientSecret }

// SubscriptionID returns the ID of the one subscription.
func (a *Azure) SubscriptionID() string { return a.options.SubscriptionID }

// ResourceGroup returns the name of the one resource group.
func (a *Azure) ResourceGroup() string { return a.options.ResourceGroup }

// WorkspaceName returns the name of the one workspace.
func (a *Azure) WorkspaceName() string { return a.options.Workspace }

// Location returns the workspace's region.
func (a *Azure) Location() string { return a.options.Location }

// Environ returns the settings that point amlproxy at this Azure, as
// NAME=value. The file with the CA is the caller's: write CAPEM to one and set
// AMLPROXY_CA_FILE.
func (a *Azure) Environ() []string {
	return []string{
		"AML_TENANT_ID=" + a.Tenant(),
		"AML_PRINCIPAL_ID=" + a.ClientID(),
		"AML_PRINCIPAL_PASS=" + a.ClientSecret(),
		"AZURE_AUTHORITY_HOST=" + a.AuthorityURL(),
		"AMLPROXY_SUBSCRIPTION_ID=" + a.SubscriptionID(),
		"AMLPROXY_RESOURCE_GROUP=" + a.ResourceGroup(),
		"AMLPROXY_WORKSPACE_NAME=" + a.WorkspaceName(),
		"AMLPROXY_AZURE_ARM_URL=" + a.ARMURL(),
		"AMLPROXY_AZURE_ARM_AUDIENCE=" + a.ARMAudience(),
		"AMLPROXY_AZURE_ML_SCOPE=" + a.MLScope(),
		"AMLPROXY_AZURE_DISABLE_INSTANCE_DISCOVERY=true",
	}
}

// id is the ARM ID of the workspace, or of something in it.
func (a *Azure) id(parts ...string) string {
	id := "/subscriptions/" + url.PathEscape(a.options.SubscriptionID) +
		"/resourceGroups/" + url.PathEscape(a.options.ResourceGroup) +
		"/providers/Microsoft.MachineLearningServices/workspaces/" + url.PathEscape(a.options.Workspace)
	for _, part := range parts {
		id += "/" + url.PathEscape(part)
	}
	return id
}
