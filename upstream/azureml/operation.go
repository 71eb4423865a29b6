package azureml

import (
	"net/http"
	"strings"
)

// An Operation is what a request of this package is for, for whoever counts them
// in Config.Client's Transport.
type Operation string

// The operations.
const (
	OpIdentity    Operation = "identity"    // a token of the proxy's own: Entra, a managed identity
	OpDiscovery   Operation = "discovery"   // of Entra, or of the workspace's hosts
	OpWorkspace   Operation = "workspace"   // where it is
	OpEndpoint    Operation = "endpoint"    // where a service or an endpoint is, and what it wants
	OpKeys        Operation = "keys"        // listing keys
	OpToken       Operation = "token"       // a token of an endpoint
	OpRegenerate  Operation = "regenerate"  // making a new key, or asking whether it is made
	OpPermissions Operation = "permissions" // of the proxy
	OpOther       Operation = "other"
)

// Operations returns all that OperationOf may say.
func Operations() []Operation {
	return []Operation{OpIdentity, OpDiscovery, OpWorkspace, OpEndpoint, OpKeys, OpToken, OpRegenerate, OpPermissions, OpOther}
}

// OperationOf says what r is for. It looks at nothing but the method and the address.
func OperationOf(r *http.Request) Operation {
	path := strings.ToLower(r.URL.Path)
	has := func(part string) bool { return strings.Contains(path, part) }
	ends := func(part string) bool { return strings.HasSuffix(path, part) }
	switch {
	case ends("/.well-known/openid-configuration"), has("/discovery"):
		return OpDiscovery
	case has("/oauth2/"), has("/metadata/identity"), has("/msi/"):
		return OpIdentity
	case has("/microsoft.authorization/"):
		return OpPermissions
	case ends("/regeneratekeys"), has("operations"):
		return OpRegenerate
	case ends("/listkeys"):
		return OpKeys
	case ends("/token"):
		return OpToken
	case has("/services/"), has("endpoints/"):
		return OpEndpoint
	case has("/workspaces/"):
		return OpWorkspace
	}
	return OpOther
}
