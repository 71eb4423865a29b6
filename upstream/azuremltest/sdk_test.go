package azuremltest_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/google/go-cmp/cmp"

	"amlproxy/upstream/azuremltest"
)

// microsoft returns Microsoft's own clients, pointed at that Azure: an
// independent reading of what ARM and Entra say.
func microsoft(t *testing.T, a *azuremltest.Azure, secret string) *armmachinelearning.ClientFactory {
	t.Helper()
	options := azcore.ClientOptions{
		Transport: client(t, a),
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Cloud: cloud.Configuration{
			ActiveDirectoryAuthorityHost: a.AuthorityURL(),
			Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
				cloud.ResourceManager: {Endpoint: a.ARMURL(), Audience: a.ARMAudience()},
			},
		},
	}
	credential, err := azidentity.NewClientSecretCredential(a.Tenant(), a.ClientID(), secret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	factory, err := armmachinelearning.NewClientFactory(a.SubscriptionID(), credential,
		&arm.ClientOptions{ClientOptions: options, DisableRPRegistration: true})
	if err != nil {
		t.Fatal(err)
	}
	return factory
}

func TestMicrosoftsClientReadsTheWorkspace(t *testing.T) {
	a := start(t, azuremltest.Options{})
	workspaces := microsoft(t, a, a.ClientSecret()).NewWorkspacesClient()
	got, err := workspaces.Get(t.Context(), a.ResourceGroup(), a.WorkspaceName(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *got.Name != a.WorkspaceName() || *got.Location != a.Location() || *got.Properties.WorkspaceID == "" ||
		*got.Properties.DiscoveryURL != a.ModelManagementURL()+"/discovery" {
		t.Errorf("got %+v with %+v", got.Workspace, got.Properties)
	}
	want := map[string]int{"authority discovery": 1, "authority token": 1, "workspace": 1}
	if diff := cmp.Diff(want, a.Calls()); diff != "" {
		t.Error(diff)
	}
}

func TestMicrosoftsClientReadsEndpoints(t *testing.T) {
	a := start(t, azuremltest.Options{})
	blue := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{
		Name: "fraud", Swagger: swagger, Tags: map[string]string{"team": "a"},
		Deployments: []azuremltest.Deployment{{Name: "blue", Traffic: 90, Model: echo}, {Name: "green", Traffic: 10, Model: echo}},
	}))
	for auth, name := range map[azuremltest.Auth]string{azuremltest.Token: "iris", azuremltest.Entra: "digits"} {
		must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: name, Auth: auth, Model: echo}))
	}
	endpoints := microsoft(t, a, a.ClientSecret()).NewOnlineEndpointsClient()

	got, err := endpoints.Get(t.Context(), a.ResourceGroup(), a.WorkspaceName(), "fraud", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := got.Properties
	if *p.AuthMode != armmachinelearning.EndpointAuthModeKey || *p.ScoringURI != blue.URL() || *p.SwaggerURI == "" ||
		*p.ProvisioningState != armmachinelearning.EndpointProvisioningStateSucceeded || *p.Traffic["blue"] != 90 || *got.Tags["team"] != "a" {
		t.Errorf("got %+v", p)
	}

	modes := map[string]armmachinelearning.EndpointAuthMode{}
	for pager := endpoints.NewListPager(a.ResourceGroup(), a.WorkspaceName(), nil); pager.More(); {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Value {
			modes[*e.Name] = *e.Properties.AuthMode
		}
	}
	want := map[string]armmachinelearning.EndpointAuthMode{
		"fraud": armmachinelearning.EndpointAuthModeKey, "iris": armmachinelearning.EndpointAuthModeAMLToken, "digits": armmachinelearning.EndpointAuthModeAADToken,
	}
	if diff := cmp.Diff(want, modes); diff != "" {
		t.Error(diff)
	}
	if a.Calls()["list endpoints"] != 2 {
		t.Errorf("%d pages, want 2", a.Calls()["list endpoints"])
	}
}

func TestMicrosoftsClientListsAndRegeneratesKeys(t *testing.T) {
	a := start(t, azuremltest.Options{})
	fraud := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Model: echo}))
	endpoints := microsoft(t, a, a.ClientSecret()).NewOnlineEndpointsClient()
	keys := func() (string, string) {
		got, err := endpoints.ListKeys(t.Context(), a.ResourceGroup(), a.WorkspaceName(), "fraud", nil)
		if err != nil {
			t.Fatal(err)
		}
		return *got.PrimaryKey, *got.SecondaryKey
	}
	primary, secondary := keys()
	if wantPrimary, wantSecondary := fraud.Keys(); primary != wantPrimary || secondary != wantSecondary {
		t.Error("listed keys are not the endpoint's")
	}

	for _, polls := range []int{0, 2} {
		fraud.Behave(azuremltest.Behaviour{AsyncPolls: polls})
		kind, value := armmachinelearning.KeyTypePrimary, "chosen"+string(rune('0'+polls))
		poller, err := endpoints.BeginRegenerateKeys(t.Context(), a.ResourceGroup(), a.WorkspaceName(), "fraud",
			armmachinelearning.RegenerateEndpointKeysRequest{KeyType: &kind, KeyValue: &value}, nil)
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		for ; !poller.Done(); asked++ {
			if _, err := poller.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := poller.Result(t.Context()); err != nil || asked < polls {
			t.Errorf("after %d polls of %d: %v", asked, polls, err)
		}
		if newPrimary, same := keys(); newPrimary != value || same != secondary {
			t.Errorf("after regenerating the primary to %q: %q, %q", value, newPrimary, same)
		}
	}
}

func TestMicrosoftsClientGetsAToken(t *testing.T) {
	a := start(t, azuremltest.Options{})
	iris := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "iris", Auth: azuremltest.Token, Model: echo}))
	endpoints := microsoft(t, a, a.ClientSecret()).NewOnlineEndpointsClient()
	got, err := endpoints.GetToken(t.Context(), a.ResourceGroup(), a.WorkspaceName(), "iris", nil)
	if err != nil {
		t.Fatal(err)
	}
	refresh, expires := time.Until(time.Unix(*got.RefreshAfterTimeUTC, 0)), time.Until(time.Unix(*got.ExpiryTimeUTC, 0))
	if refresh < 11*time.Hour || expires < refresh+11*time.Hour || *got.TokenType != "Bearer" {
		t.Errorf("a %s to be refreshed in %s, valid for %s", *got.TokenType, refresh, expires)
	}
	if r := do(t, client(t, a), http.MethodPost, iris.URL(), *got.AccessToken, `{}`); r.StatusCode != http.StatusOK {
		t.Errorf("scoring with it: %s", r.Status)
	}
	if _, err := endpoints.ListKeys(t.Context(), a.ResourceGroup(), a.WorkspaceName(), "iris", nil); code(err) != "BadRequest" {
		t.Errorf("an endpoint with tokens lists keys: %v", err)
	}
}

func TestMicrosoftsClientReadsServerless(t *testing.T) {
	a := start(t, azuremltest.Options{})
	llama := must[*azuremltest.Scoring](t)(a.AddServerless(azuremltest.Serverless{Name: "llama", Model: echo}))
	serverless := microsoft(t, a, a.ClientSecret()).NewServerlessEndpointsClient()
	got, err := serverless.Get(t.Context(), a.ResourceGroup(), a.WorkspaceName(), "llama", nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := serverless.ListKeys(t.Context(), a.ResourceGroup(), a.WorkspaceName(), "llama", nil)
	if err != nil {
		t.Fatal(err)
	}
	if uri := *got.Properties.InferenceEndpoint.URI; uri != llama.URL() {
		t.Errorf("at %q, not %q", uri, llama.URL())
	}
	if r := do(t, client(t, a), http.MethodPost, llama.URL()+"/v1/chat/completions", *keys.SecondaryKey, "hi"); r.body != "hi" {
		t.Errorf("%s: %s", r.Status, r.body)
	}
}

func TestMicrosoftsClientUnderstandsRefusals(t *testing.T) {
	a := start(t, azuremltest.Options{})
	must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Model: echo}))
	get := func(secret, name string) error {
		_, err := microsoft(t, a, secret).NewOnlineEndpointsClient().ListKeys(t.Context(), a.ResourceGroup(), a.WorkspaceName(), name, nil)
		return err
	}
	var failed *azidentity.AuthenticationFailedError
	if err := get("wrong", "fraud"); !errors.As(err, &failed) || failed.RawResponse.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong secret: %v", err)
	}
	if err := get(a.ClientSecret(), "nobody"); code(err) != "ResourceNotFound" {
		t.Errorf("an unknown endpoint: %v", err)
	}
	a.Deny("Microsoft.MachineLearningServices/workspaces/onlineEndpoints/listKeys/action")
	if err := get(a.ClientSecret(), "fraud"); code(err) != "AuthorizationFailed" {
		t.Errorf("without permission: %v", err)
	}
}

// code returns ARM's own code of an error.
func code(err error) string {
	var refused *azcore.ResponseError
	if !errors.As(err, &refused) {
		return ""
	}
	return refused.ErrorCode
}
