package azuremltest_test

import (
	"encoding/json"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"amlproxy/upstream/azuremltest"
)

// services finds the model management service as a client has to, and returns
// its base address and a token for it.
func services(t *testing.T, c *http.Client, a *azuremltest.Azure) (base, token string) {
	t.Helper()
	token = accessToken(t, c, a, a.ARMAudience()+"/.default")
	w := do(t, c, http.MethodGet, workspace(a, a.ARMURL())+apiVersion, token, "")
	discovery := w.field(t, "properties", "discoveryUrl")
	if r := do(t, c, http.MethodGet, discovery, token, ""); r.StatusCode != http.StatusBadRequest {
		t.Errorf("discovery with a token: %s", r.Status)
	}
	return workspace(a, do(t, c, http.MethodGet, discovery, "", "").field(t, "api")+"/modelmanagement/v1.0"), token
}

// service is what is read of a v1 service.
type service struct {
	Name, ComputeType, State, ScoringURI, SwaggerURI, Location string
	AuthEnabled, AADAuthEnabled                                *bool
}

func TestServiceSaysHowItAuthenticates(t *testing.T) {
	a := start(t, azuremltest.Options{Location: "northeurope"})
	c := client(t, a)
	yes, no := true, false
	tests := map[string]struct {
		compute    azuremltest.Compute
		auth       azuremltest.Auth
		key, token *bool
	}{
		"aci":       {azuremltest.ACI, "", &no, nil},
		"aci-key":   {azuremltest.ACI, azuremltest.Key, &yes, nil},
		"aks":       {azuremltest.AKS, "", &yes, &no},
		"aks-token": {azuremltest.AKS, azuremltest.Token, &no, &yes},
		"aks-none":  {azuremltest.AKS, azuremltest.None, &no, &no},
	}
	base, token := services(t, c, a)
	for name, test := range tests {
		s := must[*azuremltest.Scoring](t)(a.AddService(azuremltest.Service{Name: name, Compute: test.compute, Auth: test.auth, Model: echo, Swagger: swagger}))
		r := do(t, c, http.MethodGet, base+"/services/"+name, token, "")
		var got service
		if err := json.Unmarshal([]byte(r.body), &got); err != nil {
			t.Fatalf("%v in %s", err, r.body)
		}
		want := service{
			Name: name, ComputeType: string(test.compute), State: "Healthy", Location: "northeurope",
			ScoringURI: s.URL(), SwaggerURI: strings.TrimSuffix(s.URL(), "score") + "swagger.json",
			AuthEnabled: test.key, AADAuthEnabled: test.token,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}

	names := 0
	for next, pages := base+"/services", 0; next != "" && pages < 10; pages++ {
		var page struct {
			Value    []service
			NextLink string
		}
		if err := json.Unmarshal([]byte(do(t, c, http.MethodGet, next, token, "").body), &page); err != nil {
			t.Fatal(err)
		}
		names, next = names+len(page.Value), page.NextLink
	}
	if names != len(tests) {
		t.Errorf("%d services are listed, want %d", names, len(tests))
	}
}

func TestServiceKeys(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	s := must[*azuremltest.Scoring](t)(a.AddService(azuremltest.Service{Name: "diabetes", Compute: azuremltest.AKS, Model: echo}))
	base, token := services(t, c, a)
	base += "/services/diabetes"
	primary, secondary := s.Keys()

	r := do(t, c, http.MethodPost, base+"/listkeys", token, "")
	if r.field(t, "primaryKey") != primary || r.field(t, "secondaryKey") != secondary {
		t.Error(r.body)
	}
	r = do(t, c, http.MethodPost, base+"/regenerateKeys", token, `{"keyType":"Secondary","keyValue":null}`)
	if r.StatusCode != http.StatusOK || r.field(t, "primaryKey") != primary || r.field(t, "secondaryKey") == secondary {
		t.Errorf("%s: %s", r.Status, r.body)
	}
	if r := do(t, c, http.MethodPost, s.URL(), secondary, "{}"); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("the replaced key: %s", r.Status)
	}
	for _, bad := range []string{`{"keyType":"Both"}`, `{`, `{}`} {
		if r := do(t, c, http.MethodPost, base+"/regenerateKeys", token, bad); r.StatusCode != http.StatusBadRequest || r.field(t, "code") != "BadRequest" {
			t.Errorf("%s: %s: %s", bad, r.Status, r.body)
		}
	}
	if r := do(t, c, http.MethodPost, base+"/token", token, ""); r.StatusCode != http.StatusBadRequest {
		t.Errorf("a token for a service with keys: %s", r.Status)
	}
}

func TestServiceRegeneratesLater(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	s := must[*azuremltest.Scoring](t)(a.AddService(azuremltest.Service{Name: "diabetes", Compute: azuremltest.AKS, Model: echo}))
	s.Behave(azuremltest.Behaviour{AsyncPolls: 2})
	base, token := services(t, c, a)
	r := do(t, c, http.MethodPost, base+"/services/diabetes/regenerateKeys", token, `{"keyType":"Primary"}`)
	location := r.Header.Get("Operation-Location")
	if r.StatusCode != http.StatusAccepted || location == "" {
		t.Fatalf("%s, Operation-Location %q", r.Status, location)
	}
	for _, want := range []string{"Running", "Running", "Succeeded", "Succeeded"} {
		if r := do(t, c, http.MethodGet, base+"/operations/"+path.Base(location), token, ""); r.field(t, "state") != want {
			t.Errorf("%s, want %s", r.body, want)
		}
	}
	if r := do(t, c, http.MethodGet, base+"/operations/other", token, ""); r.StatusCode != http.StatusNotFound {
		t.Errorf("another operation: %s", r.Status)
	}
}

func TestServiceToken(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	s := must[*azuremltest.Scoring](t)(a.AddService(azuremltest.Service{Name: "digits", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: echo}))
	base, token := services(t, c, a)
	r := do(t, c, http.MethodPost, base+"/services/digits/token", token, "")
	var got struct {
		AccessToken            string
		ExpiryOn, RefreshAfter int64
	}
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || r.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %v", r.Status, err)
	}
	if after := time.Unix(got.ExpiryOn, 0).Sub(time.Unix(got.RefreshAfter, 0)); after != 12*time.Hour {
		t.Errorf("valid for %s after its refresh time", after)
	}
	if r := do(t, c, http.MethodPost, s.URL(), got.AccessToken, "{}"); r.StatusCode != http.StatusOK {
		t.Errorf("scoring with it: %s", r.Status)
	}
	if r := do(t, c, http.MethodPost, s.URL(), token, "{}"); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("scoring with a token for ARM: %s", r.Status)
	}
}

func TestModelManagementRefuses(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	must[*azuremltest.Scoring](t)(a.AddService(azuremltest.Service{Name: "diabetes", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: echo}))
	base, token := services(t, c, a)
	const action = "Microsoft.MachineLearningServices/workspaces/services/aci/listkeys/action"

	if r := do(t, c, http.MethodGet, base+"/services/diabetes", "", ""); r.StatusCode != http.StatusUnauthorized || r.field(t, "error", "code") != "AuthenticationFailed" {
		t.Errorf("no token: %s: %s", r.Status, r.body)
	}
	if r := do(t, c, http.MethodGet, base+"/services/nobody", token, ""); r.StatusCode != http.StatusNotFound || r.field(t, "code") == "" || r.field(t, "message") == "" {
		t.Errorf("an unknown service: %s: %s", r.Status, r.body)
	}
	a.Deny(action)
	if r := do(t, c, http.MethodPost, base+"/services/diabetes/listkeys", token, ""); r.StatusCode != http.StatusForbidden || !strings.Contains(r.field(t, "error", "message"), action) {
		t.Errorf("without permission: %s: %s", r.Status, r.body)
	}
}

func TestServiceWithoutAnAddressYet(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	s := must[*azuremltest.Scoring](t)(a.AddService(azuremltest.Service{Name: "diabetes", Compute: azuremltest.ACI, Model: echo}))
	s.SetState("Transitioning")
	base, token := services(t, c, a)
	if r := do(t, c, http.MethodGet, base+"/services/diabetes", token, ""); strings.Contains(r.body, "scoringUri") || r.field(t, "state") != "Transitioning" {
		t.Error(r.body)
	}
}

// TestCallsAreCounted is what tests of economy lean on.
func TestCallsAreCounted(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	must[*azuremltest.Scoring](t)(a.AddService(azuremltest.Service{Name: "diabetes", Compute: azuremltest.AKS, Model: echo}))
	base, token := services(t, c, a)
	for range 2 {
		do(t, c, http.MethodGet, base+"/services/diabetes", token, "")
	}
	do(t, c, http.MethodPost, base+"/services/diabetes/listkeys", "", "")
	do(t, c, http.MethodGet, base+"/elsewhere", token, "")
	want := map[string]int{
		"authority token": 1, "workspace": 1, "discovery": 2, "get service/diabetes": 2, "listkeys service/diabetes": 1,
		"unknown GET " + strings.TrimPrefix(base, a.ModelManagementURL()) + "/elsewhere": 1,
	}
	if diff := cmp.Diff(want, a.Calls()); diff != "" {
		t.Error(diff)
	}
	if a.ResetCalls(); len(a.Calls()) != 0 {
		t.Error(a.Calls())
	}
}
