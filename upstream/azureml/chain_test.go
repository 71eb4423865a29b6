package azureml_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"amlproxy/upstream/azureml"
	"amlproxy/upstream/azuremltest"
)

// unset takes away what this machine may say about an identity.
func unset(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE",
		"AZURE_AUTHORITY_HOST", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "MSI_ENDPOINT", "MSI_SECRET", "IMDS_ENDPOINT",
	} {
		t.Setenv(name, "") // has it put back at the end
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
}

// A managed identity is asked over plain http, on an address of the host that it
// runs on: App Service, Container Apps. What is used for it is in the environment
// and nowhere else.
//
// Its library keeps tokens for the whole process, so one that was rejected has to
// be asked for past that. For the same reason each test has an audience of its own.
func TestAManagedIdentityWorksWithoutTLS(t *testing.T) {
	a := startAzure(t, azuremltest.Options{ARMAudience: "https://arm-without-tls.test"})
	scoring := must(a.AddService(azuremltest.Service{Name: "m", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: model}))(t)
	cfg := config(t, a)
	var asked atomic.Int32
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("X-Identity-Header") != "canary-header" || r.URL.Query().Get("resource") != a.ARMAudience() {
			t.Errorf("asked with %v for %s", r.Header, r.URL)
		}
		token, expires := tokenOf(t, a, cfg.Client)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{
			"access_token": token, "expires_on": expires, "resource": r.URL.Query().Get("resource"), "token_type": "Bearer",
		})
	}))
	defer agent.Close()
	unset(t)
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
	t.Setenv("IDENTITY_ENDPOINT", agent.URL+"/msi/token")
	t.Setenv("IDENTITY_HEADER", "canary-header")

	cfg.Identity = azureml.Identity{AuthorityHost: a.AuthorityURL(), DisableInstanceDiscovery: true}
	s := open(t, cfg).Service("m", azureml.Auto)
	for range 3 {
		if lease := fetch(t, s, nil); score(t, cfg.Client, lease) != http.StatusOK {
			t.Error("the workspace's token is refused")
		}
	}
	if asked.Load() != 1 {
		t.Errorf("the agent was asked %d times", asked.Load())
	}
	a.Fail("get", azuremltest.Fault{Times: 1, Status: http.StatusUnauthorized})
	fetch(t, s, nil)
	if asked.Load() != 2 {
		t.Errorf("the agent was asked %d times, once for another token", asked.Load())
	}
	if scoring.Posts() != 3 {
		t.Errorf("%d calls reached the model", scoring.Posts())
	}
}

// tokenOf gets a token for Azure Resource Manager, as the agent of a managed
// identity does behind its address.
func tokenOf(t *testing.T, a *azuremltest.Azure, client *http.Client) (token, expires string) {
	t.Helper()
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {a.ClientID()}, "client_secret": {a.ClientSecret()}, "scope": {a.ARMAudience() + "/.default"},
	}
	resp, err := client.PostForm(a.AuthorityURL()+a.Tenant()+"/oauth2/v2.0/token", form)
	if err != nil {
		t.Error(err)
		return "", ""
	}
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		t.Errorf("%s: %v", resp.Status, err)
	}
	return answer.AccessToken, strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
}

func TestAManagedIdentityThatIsNotThereIsSaid(t *testing.T) {
	a := startAzure(t, azuremltest.Options{ARMAudience: "https://arm-not-there.test"})
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error":{"code":"invalid_request","message":"Identity not found"}}`, http.StatusBadRequest)
	}))
	defer agent.Close()
	unset(t)
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
	t.Setenv("IDENTITY_ENDPOINT", agent.URL)
	t.Setenv("IDENTITY_HEADER", "canary-header")
	cfg := config(t, a)
	cfg.Identity = azureml.Identity{}
	err := failure(t, open(t, cfg).Endpoint("m", "", azureml.Auto))
	wantText(t, err, "asking Entra ID", "Identity not found")
	if strings.Contains(err.Error(), "canary") {
		t.Error(err)
	}
}

// A workload identity: Kubernetes projects a token, Entra exchanges it.
func TestAWorkloadIdentityIsExchanged(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	must(a.AddEndpoint(azuremltest.Endpoint{Name: "m", Auth: azuremltest.Entra, Model: model}))(t)
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, []byte(must(a.FederatedToken())(t)))
	unset(t)
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "WorkloadIdentityCredential")
	t.Setenv("AZURE_CLIENT_ID", a.ClientID())
	t.Setenv("AZURE_TENANT_ID", a.Tenant())
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", file)
	cfg := config(t, a)
	cfg.Identity = azureml.Identity{AuthorityHost: a.AuthorityURL(), DisableInstanceDiscovery: true}
	lease := fetch(t, open(t, cfg).Endpoint("m", "", azureml.Auto), nil)
	if status := score(t, cfg.Client, lease); status != http.StatusOK {
		t.Errorf("%d", status)
	}
	wantCalls(t, a, map[string]int{authorityToken: 2, "get endpoint/m": 1})

	token, _ := tokenOf(t, a, cfg.Client)
	write(t, file, []byte(token)) // an access token is no proof of identity
	err := failure(t, open(t, cfg).Endpoint("m", "", azureml.Auto))
	wantText(t, err, "asking Entra ID", "assertion")
	if strings.Contains(err.Error(), token) {
		t.Errorf("a token in: %v", err)
	}
}
