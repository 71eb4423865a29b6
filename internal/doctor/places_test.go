package doctor_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"amlproxy/upstream/azuremltest"
)

// routesFile replaces the routes of the environment by a file.
func (w *world) routesFile(t *testing.T, yaml string) {
	t.Helper()
	maps.DeleteFunc(w.settings, func(name, _ string) bool { return strings.HasPrefix(name, "AMLPROXY_ROUTES_") })
	file := filepath.Join(t.TempDir(), "routes.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	w.settings["AMLPROXY_ROUTES_FILE"] = file
}

// TestEachWorkspaceAndEachBackendIsExamined: one that is not there takes nothing
// with it but what is in it.
func TestEachWorkspaceAndEachBackendIsExamined(t *testing.T) {
	w := newWorld(t, azuremltest.Options{})
	w.routesFile(t, fmt.Sprintf(`
workspaces:
  north: {subscription_id: %s, resource_group: %s, workspace_name: nowhere}
routes:
  - name: fraud
    public: true
    backends:
      - {endpoint: fraud}
      - {service: fraud-aks, workspace: north}
  - {name: iris, service: iris, public: true}
`, w.SubscriptionID(), w.ResourceGroup()))
	failed, lines := w.examine(t)
	wantLines(t, failed, lines,
		want{"FAIL", "workspace north: exists", "ResourceNotFound", "az ml workspace list"},
		want{"FAIL", "route iris: exists", "has no service iris", "name one of them in service at " + w.settings["AMLPROXY_ROUTES_FILE"] + ":10:"},
		want{"ok", "workspace: exists", "westeurope", ""},
		want{"ok", "route fraud #1: scoring", "accepts", ""},
		want{"skip", "route fraud #2: exists", "because this failed: workspace north: exists", ""},
	)
}

// TestRolesOnEndpointsAloneAreEnough: v2 endpoints are resources of their own, and
// nobody has to be allowed to read the workspace.
func TestRolesOnEndpointsAloneAreEnough(t *testing.T) {
	w := newWorld(t, azuremltest.Options{})
	w.only("fraud", "ENDPOINT=fraud")
	w.Hold(ml+"onlineEndpoints/read", ml+"onlineEndpoints/listKeys/action")
	failed, lines := w.examine(t)
	wantLines(t, failed, lines,
		want{"skip", "workspace: exists", "may not read the workspace, and its routes do not need that", ""},
		want{"skip", "route fraud: region", "not known", ""},
		want{"ok", "route fraud: scoring", "accepts the credential", ""},
		want{"skip", "workspace: permissions", "may not ask", ""},
	)
}

// TestWithoutAzureNobodyIsAskedThere: an address with a key of the settings needs
// no identity.
func TestWithoutAzureNobodyIsAskedThere(t *testing.T) {
	w := newWorld(t, azuremltest.Options{})
	primary, _ := w.fraud.Keys()
	w.only("byhand", "URL="+w.fraud.URL(), "AUTH=key", "KEY="+primary)
	w.ResetCalls()
	failed, lines := w.examine(t)
	wantLines(t, failed, lines, want{"ok", "route byhand: credential", "one key, from the settings", ""})
	if len(lines) != 3 || len(w.Calls()) != 0 {
		t.Errorf("%d lines, calls %v", len(lines), w.Calls())
	}
}

// TestAnAddressWithAnEntraTokenNeedsNoWorkspace, nor Azure Resource Manager.
func TestAnAddressWithAnEntraTokenNeedsNoWorkspace(t *testing.T) {
	w := newWorld(t, azuremltest.Options{})
	w.only("byhand", "URL="+w.churn.URL(), "AUTH=entra")
	w.settings["AMLPROXY_AZURE_ARM_URL"] = "https://" + nowhere(t)
	for _, name := range []string{"SUBSCRIPTION_ID", "RESOURCE_GROUP", "WORKSPACE_NAME"} {
		delete(w.settings, "AMLPROXY_"+name)
	}
	failed, lines := w.examine(t)
	wantLines(t, failed, lines,
		want{"ok", "identity", "has a token", ""},
		want{"ok", "route byhand: credential", "a token of Entra ID", ""},
		want{"ok", "route byhand: scoring", "accepts the credential", ""},
	)
}

// TestAnOpenDescriptionProvesNothing: the doctor does not say that a key is
// accepted where none is asked for.
func TestAnOpenDescriptionProvesNothing(t *testing.T) {
	w := newWorld(t, azuremltest.Options{})
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	w.only("byhand", "URL="+s.URL+"/score", "AUTH=key", "KEY=k3y-that-nobody-looks-at")
	failed, lines := w.examine(t)
	wantLines(t, failed, lines, want{"ok", "route byhand: scoring", "as it does without a credential: only a call would tell", ""})
}

// TestAManagedIdentityNeedsNoAuthority: the machine itself gives it tokens, and an
// authority that cannot be reached from there is worth a word and no more.
func TestAManagedIdentityNeedsNoAuthority(t *testing.T) {
	w := newWorld(t, azuremltest.Options{})
	authority, secret := w.settings["AZURE_AUTHORITY_HOST"], w.settings["AML_PRINCIPAL_PASS"]
	machine := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		form := url.Values{
			"grant_type": {"client_credentials"}, "client_id": {w.ClientID()}, "client_secret": {secret},
			"scope": {r.URL.Query().Get("resource") + "/.default"},
		}
		resp, err := w.client(t).PostForm(authority+w.Tenant()+"/oauth2/v2.0/token", form)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		var token map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&token); err != nil {
			t.Error(err)
		}
		token["expires_on"] = fmt.Sprint(4102444800) // App Service says it in seconds since 1970
		body, _ := json.Marshal(token)
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write(body)
	}))
	t.Cleanup(machine.Close)
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
	t.Setenv("IDENTITY_ENDPOINT", machine.URL)
	t.Setenv("IDENTITY_HEADER", "header")
	for _, name := range []string{"AML_TENANT_ID", "AML_PRINCIPAL_ID", "AML_PRINCIPAL_PASS"} {
		delete(w.settings, name)
	}
	w.settings["AZURE_AUTHORITY_HOST"] = "https://" + nowhere(t)
	failed, lines := w.examine(t)
	wantLines(t, failed, lines,
		want{"warn", "authority: connection", "a managed identity does not need it", "AZURE_AUTHORITY_HOST"},
		want{"ok", "identity", "client " + w.ClientID(), ""},
		want{"ok", "route churn: scoring", "accepts", ""},
	)
}
