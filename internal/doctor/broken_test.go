package doctor_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"amlproxy/upstream/azuremltest"
)

// A broken environment is a healthy one in which one thing is wrong.
type broken struct {
	options  azuremltest.Options
	sabotage func(*testing.T, *world)
	wants    []want
}

// TestEveryBrokenEnvironmentIsDiagnosed: the one thing that is wrong is named, with
// what mends it, and nothing else is blamed.
func TestEveryBrokenEnvironmentIsDiagnosed(t *testing.T) {
	for _, table := range []map[string]broken{wayThere(), identities(), workspaces(), endpoints(), scorings(), rarer()} {
		for name, b := range table {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, b.options)
				b.sabotage(t, w)
				failed, lines := w.examine(t)
				wantLines(t, failed, lines, b.wants...)
			})
		}
	}
}

func wayThere() map[string]broken {
	return map[string]broken{
		"clock 10 minutes slow": {
			azuremltest.Options{Clock: off(10 * time.Minute)},
			func(*testing.T, *world) {},
			[]want{{"FAIL", "clock", "10m0s behind 127.0.0.1", "timedatectl"}},
		},
		"clock a minute fast": {
			azuremltest.Options{Clock: off(-time.Minute)},
			func(*testing.T, *world) {},
			[]want{{"warn", "clock", "1m0s ahead of 127.0.0.1", "timedatectl"}},
		},
		"authority down": {sabotage: func(t *testing.T, w *world) {
			w.settings["AZURE_AUTHORITY_HOST"] = "https://" + nowhere(t)
		}, wants: []want{{"FAIL", "authority: connection", "refuses the connection", "AZURE_AUTHORITY_HOST"}}},
		"authority of an unknown CA": {sabotage: func(t *testing.T, w *world) {
			w.settings["AZURE_AUTHORITY_HOST"] = newWorld(t, azuremltest.Options{}).AuthorityURL()
		}, wants: []want{{"FAIL", "authority: connection", "amlproxy test Azure CA", "AMLPROXY_CA_FILE"}}},
		"authority that never answers": {sabotage: func(t *testing.T, w *world) {
			w.options.Limit = 300 * time.Millisecond
			w.Fail("authority", azuremltest.Fault{Until: make(chan struct{})})
		}, wants: []want{{"FAIL", "authority: connection", "no answer within 300ms", "firewall"}}},
		"resource manager down": {sabotage: func(t *testing.T, w *world) {
			w.settings["AMLPROXY_AZURE_ARM_URL"] = "https://" + nowhere(t)
		}, wants: []want{{"FAIL", "resource manager: connection", "refuses the connection", "AMLPROXY_AZURE_ARM_URL"}}},
		"resource manager does not resolve": {sabotage: func(_ *testing.T, w *world) {
			w.settings["AMLPROXY_AZURE_ARM_URL"] = "https://management.azure.test"
		}, wants: []want{{"FAIL", "resource manager: dns", "management.azure.test does not resolve", "AMLPROXY_AZURE_ARM_URL"}}},
		"resource manager without TLS": {sabotage: func(_ *testing.T, w *world) {
			w.settings["AMLPROXY_AZURE_ARM_URL"] = strings.Replace(w.diabetes.URL(), "http:", "https:", 1)
		}, wants: []want{{"FAIL", "resource manager: connection", "does not speak TLS", "AMLPROXY_AZURE_ARM_URL"}}},
		"a proxy that is not there": {sabotage: func(t *testing.T, w *world) {
			proxy := &url.URL{Scheme: "http", Host: nowhere(t), User: url.UserPassword("me", "hunter2")}
			w.secrets = append(w.secrets, "hunter2")
			w.options.Tune = func(tr *http.Transport) {
				tr.Proxy = func(r *http.Request) (*url.URL, error) {
					if strings.HasPrefix(w.ARMURL(), "https://"+r.URL.Host) {
						return proxy, nil
					}
					return nil, nil //nolint:nilnil // what net/http calls no proxy
				}
			}
		}, wants: []want{{"FAIL", "resource manager: connection", "through the proxy http://me:xxxxx@127", "NO_PROXY"}}},
	}
}

func identities() map[string]broken {
	return map[string]broken{
		"wrong secret": {sabotage: func(_ *testing.T, w *world) {
			w.settings["AML_PRINCIPAL_PASS"] = "hunter2hunter2"
			w.secrets = append(w.secrets, "hunter2hunter2")
		}, wants: []want{{"FAIL", "identity", "AADSTS7000215", "az ad app credential reset"}}},
		"wrong secret in a file": {sabotage: func(t *testing.T, w *world) {
			file := filepath.Join(t.TempDir(), "azure.json")
			text := fmt.Sprintf(`{"appId": %q, "password": "hunter2hunter2", "tenant": %q}`, w.ClientID(), w.Tenant())
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"AML_TENANT_ID", "AML_PRINCIPAL_ID", "AML_PRINCIPAL_PASS"} {
				delete(w.settings, name)
			}
			w.settings["AMLPROXY_SDK_AUTH_FILE"] = file
			w.secrets = append(w.secrets, "hunter2hunter2")
		}, wants: []want{{"FAIL", "identity", "AADSTS7000215", "the secret in AMLPROXY_SDK_AUTH_FILE is not a secret of this client"}}},
		"expired secret": {sabotage: func(_ *testing.T, w *world) {
			w.Fail("authority token", azuremltest.Fault{Status: 401, Body: `{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys for app are expired."}`})
		}, wants: []want{{"FAIL", "identity", "AADSTS7000222", "has expired"}}},
		"unknown client": {sabotage: func(_ *testing.T, w *world) {
			w.settings["AML_PRINCIPAL_ID"] = "11111111-2222-3333-4444-555555555555"
		}, wants: []want{{"FAIL", "identity", "AADSTS700016", "AML_PRINCIPAL_ID is no application"}}},
		"unknown tenant": {sabotage: func(_ *testing.T, w *world) {
			w.settings["AML_TENANT_ID"] = "11111111-2222-3333-4444-555555555555"
		}, wants: []want{{"FAIL", "tenant", "AADSTS90002", "az account show"}}},
		"wrong audience": {sabotage: func(_ *testing.T, w *world) {
			w.settings["AMLPROXY_AZURE_ARM_AUDIENCE"] = "https://management.azure.com"
		}, wants: []want{{"FAIL", "identity", "AADSTS500011", "AMLPROXY_AZURE_ARM_AUDIENCE"}}},
		"no identity at all": {sabotage: func(t *testing.T, w *world) {
			for _, name := range []string{"AML_TENANT_ID", "AML_PRINCIPAL_ID", "AML_PRINCIPAL_PASS"} {
				delete(w.settings, name)
			}
			t.Setenv("AZURE_TOKEN_CREDENTIALS", "AzureCLICredential")
			t.Setenv("PATH", t.TempDir())
		}, wants: []want{{"FAIL", "identity", "Attempted credentials: AzureCLICredential: ", "az ad sp create-for-rbac"}}},
		"more than it needs": {sabotage: func(_ *testing.T, w *world) {
			w.Hold("*")
		}, wants: []want{{"warn", "workspace: permissions", "change the workspace, delete the workspace, list the keys of its storage, change endpoints", `"Actions":["Microsoft.Auth`}}},
		"may regenerate keys": {sabotage: func(_ *testing.T, w *world) {
			w.Hold(append(enough, ml+"*/action")...)
			w.Deny(ml + "listKeys/action")
		}, wants: []want{{"warn", "workspace: permissions", "may also regenerate keys: ", "az role definition create"}}},
	}
}

func workspaces() map[string]broken {
	named := func(w *world) {
		for _, name := range []string{"SUBSCRIPTION_ID", "RESOURCE_GROUP", "WORKSPACE_NAME"} {
			delete(w.settings, "AMLPROXY_"+name)
		}
	}
	return map[string]broken{
		"no such workspace": {sabotage: func(_ *testing.T, w *world) {
			w.settings["AMLPROXY_WORKSPACE_NAME"] = "wrkspace"
		}, wants: []want{{"FAIL", "workspace: exists", "404 ResourceNotFound", "az ml workspace list"}}},
		"no such resource group": {sabotage: func(_ *testing.T, w *world) {
			w.settings["AMLPROXY_RESOURCE_GROUP"] = "modells"
		}, wants: []want{{"FAIL", "workspace: exists", "404 ResourceGroupNotFound", "az group list"}}},
		"no such subscription": {sabotage: func(_ *testing.T, w *world) {
			w.settings["AMLPROXY_SUBSCRIPTION_ID"] = "other"
		}, wants: []want{{"FAIL", "workspace: exists", "404 SubscriptionNotFound", "az account list"}}},
		"workspace forbidden": {sabotage: func(_ *testing.T, w *world) {
			w.Deny(ml + "read")
		}, wants: []want{{"FAIL", "workspace: exists", "the action " + ml + "read on /subscriptions/", "az role assignment create --assignee "}}},
		"resource manager out of order": {sabotage: func(_ *testing.T, w *world) {
			w.Fail("workspace", azuremltest.Fault{Status: 500})
		}, wants: []want{{"FAIL", "workspace: exists", "500", "azure.status"}}},
		"discovery broken": {sabotage: func(_ *testing.T, w *world) {
			w.Fail("discovery", azuremltest.Fault{Body: `{"studio":"https://ml.azure.test"}`})
		}, wants: []want{{"FAIL", "workspace: hosts", `a map of hosts without "api"`, "private link"}}},
		"discovery names a host that is not there": {sabotage: func(t *testing.T, w *world) {
			w.Fail("discovery", azuremltest.Fault{Body: `{"api":"https://` + nowhere(t) + `"}`})
		}, wants: []want{{"FAIL", "workspace: model management", "refuses the connection", "discoveryUrl"}}},
		"discovery address that is not there": {sabotage: func(t *testing.T, w *world) {
			w.says(t, "workspace", map[string]any{"location": "westeurope", "properties": map[string]any{"discoveryUrl": "https://" + nowhere(t) + "/discovery"}})
		}, wants: []want{{"FAIL", "workspace: hosts", "refuses the connection", "what the workspace said"}}},
		"config.json absent": {sabotage: func(t *testing.T, w *world) {
			named(w)
			t.Chdir(t.TempDir())
		}, wants: []want{{"FAIL", "workspace: named", "no config.json of a workspace in ", "AMLPROXY_WORKSPACE_CONFIG"}}},
		"config.json malformed": {sabotage: func(t *testing.T, w *world) {
			named(w)
			w.settings["AMLPROXY_WORKSPACE_CONFIG"] = filepath.Join(t.TempDir(), "config.json")
			if err := os.WriteFile(w.settings["AMLPROXY_WORKSPACE_CONFIG"], []byte(`{"workspace_name": "ws"`), 0o600); err != nil {
				t.Fatal(err)
			}
		}, wants: []want{{"FAIL", "workspace: named", "config.json: not a JSON object", "download it again"}}},
		"config.json incomplete": {sabotage: func(t *testing.T, w *world) {
			named(w)
			t.Chdir(t.TempDir())
			if err := os.WriteFile("config.json", []byte(`{"workspace_name": "ws"}`), 0o600); err != nil {
				t.Fatal(err)
			}
		}, wants: []want{{"FAIL", "workspace: named", "config.json: the subscription ID is missing; the resource group is missing", "download it again"}}},
	}
}

func endpoints() map[string]broken {
	const grant = "az role assignment create --assignee "
	return map[string]broken{
		"no such service": {sabotage: func(_ *testing.T, w *world) {
			w.route("diabetes", "SERVICE=diabetes-ask")
		}, wants: []want{{"FAIL", "route diabetes: exists", "the workspace has no service diabetes-ask", "it has diabetes-aks, iris-aks: name one of them in AMLPROXY_ROUTES_3_SERVICE"}}},
		"no such endpoint": {sabotage: func(_ *testing.T, w *world) {
			w.route("spam", "ENDPOINT=sapm")
		}, wants: []want{{"FAIL", "route spam: exists", "the workspace has no endpoint sapm", "it has spam, fraud, churn: name one of them in AMLPROXY_ROUTES_2_ENDPOINT"}}},
		"no such serverless endpoint": {sabotage: func(_ *testing.T, w *world) {
			w.route("llama", "SERVERLESS=fraud")
		}, wants: []want{{"FAIL", "route llama: exists", "the workspace has no serverless endpoint fraud", "it has llama: name"}}},
		"service failed": {sabotage: func(_ *testing.T, w *world) {
			w.diabetes.SetState("Failed")
		}, wants: []want{{"FAIL", "route diabetes: state", "Failed", "deploy it again"}}},
		"service unhealthy": {sabotage: func(_ *testing.T, w *world) {
			w.diabetes.SetState("Unhealthy")
		}, wants: []want{{"FAIL", "route diabetes: state", "Unhealthy", "logs"}}},
		"service in transition, without an address": {sabotage: func(_ *testing.T, w *world) {
			w.diabetes.SetState("Transitioning")
		}, wants: []want{{"FAIL", "route diabetes: state", "Transitioning, and without a scoring address", "wait"}}},
		"endpoint being updated": {sabotage: func(_ *testing.T, w *world) {
			w.fraud.SetState("Updating")
		}, wants: []want{{"warn", "route fraud: state", "Updating", "wait"}}},
		"endpoint without traffic": {sabotage: func(t *testing.T, w *world) {
			s, err := w.AddEndpoint(azuremltest.Endpoint{Name: "idle", Deployments: []azuremltest.Deployment{{Name: "blue", Model: model}}})
			if err != nil {
				t.Fatal(err)
			}
			w.route("idle", "ENDPOINT="+s.Name())
		}, wants: []want{{"warn", "route idle: state", "no deployment gets traffic", "az ml online-endpoint update --name idle"}}},
		"listing keys forbidden": {sabotage: func(_ *testing.T, w *world) {
			w.Deny(ml + "services/aks/listkeys/action")
		}, wants: []want{{"FAIL", "route diabetes: credential", "the action " + ml + "services/aks/listkeys/action on /subscriptions/", grant}}},
		"listing an endpoint's keys forbidden": {sabotage: func(_ *testing.T, w *world) {
			w.Deny(ml + "onlineEndpoints/listKeys/action")
		}, wants: []want{{"FAIL", "route fraud: credential", "/onlineEndpoints/fraud is missing", grant}}},
		"token forbidden": {sabotage: func(_ *testing.T, w *world) {
			w.Deny(ml + "onlineEndpoints/token/action")
		}, wants: []want{{"FAIL", "route spam: credential", "the action " + ml + "onlineEndpoints/token/action on ", grant}}},
		"reading endpoints forbidden": {sabotage: func(_ *testing.T, w *world) {
			w.only("fraud", "ENDPOINT=fraud")
			w.Deny(ml+"read", ml+"onlineEndpoints/read")
		}, wants: []want{{"FAIL", "route fraud: exists", "the action " + ml + "onlineEndpoints/read on ", "--role Reader"}}},
		"mode by hand that contradicts": {sabotage: func(_ *testing.T, w *world) {
			w.route("fraud", "ENDPOINT=fraud", "AUTH=token")
		}, wants: []want{{"FAIL", "route fraud: mode", "the settings say token by hand, and the workspace says key", "say key in AMLPROXY_ROUTES_0_AUTH"}}},
		"a mode that is not known": {sabotage: func(t *testing.T, w *world) {
			w.says(t, "get endpoint/fraud", v2("Riddle", w.fraud.URL()))
		}, wants: []want{{"FAIL", "route fraud: mode", `"Riddle"`, "AMLPROXY_ROUTES_0_AUTH"}}},
		"another region": {sabotage: func(t *testing.T, w *world) {
			s, err := w.AddService(azuremltest.Service{Name: "far", Compute: azuremltest.ACI, Model: model, Location: "North Europe"})
			if err != nil {
				t.Fatal(err)
			}
			w.route("far", "SERVICE="+s.Name())
		}, wants: []want{{"warn", "route far: region", "it is in North Europe, and the workspace in westeurope", "a workspace in North Europe"}}},
	}
}

// off is a clock that is so far from ours.
type off time.Duration

func (o off) Now() time.Time { return time.Now().Add(time.Duration(o)) }

// v2 is what ARM says about an endpoint.
func v2(mode, scoring string) map[string]any {
	return map[string]any{"location": "westeurope", "properties": map[string]any{
		"authMode": mode, "scoringUri": scoring, "provisioningState": "Succeeded",
	}}
}
