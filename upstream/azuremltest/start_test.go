package azuremltest_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"amlproxy/upstream/azuremltest"
)

func TestEnvironNamesEverything(t *testing.T) {
	a := start(t, azuremltest.Options{
		Tenant: "tenant", ClientID: "client", ClientSecret: "pass", SubscriptionID: "sub", ResourceGroup: "group", Workspace: "team",
		ARMAudience: "https://arm", MLAudience: "https://ml",
	})
	got := map[string]string{}
	for _, setting := range a.Environ() {
		name, value, _ := strings.Cut(setting, "=")
		got[name] = value
	}
	want := map[string]string{
		"AML_TENANT_ID": "tenant", "AML_PRINCIPAL_ID": "client", "AML_PRINCIPAL_PASS": "pass",
		"AZURE_AUTHORITY_HOST": a.AuthorityURL(), "AMLPROXY_AZURE_ARM_URL": a.ARMURL(),
		"AMLPROXY_SUBSCRIPTION_ID": "sub", "AMLPROXY_RESOURCE_GROUP": "group", "AMLPROXY_WORKSPACE_NAME": "team",
		"AMLPROXY_AZURE_ARM_AUDIENCE": "https://arm", "AMLPROXY_AZURE_ML_SCOPE": "https://ml/.default",
		"AMLPROXY_AZURE_DISABLE_INSTANCE_DISCOVERY": "true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestStartReportsThatNoPortIsFree(t *testing.T) {
	errTaken := errors.New("taken")
	for free := range 3 {
		network := azuremltest.NewNetwork()
		_, err := azuremltest.Start(azuremltest.Options{Listen: func() (net.Listener, error) {
			if free--; free < 0 {
				return nil, errTaken
			}
			return network.Listen()
		}})
		if !errors.Is(err, errTaken) {
			t.Errorf("with %d free ports: %v", free, err)
		}
	}
}

// TestCloseEndsCallsUnderWay: a call that waits for a fault to end, and one in a
// model, hold nothing up, and nothing can be added afterwards.
func TestCloseEndsCallsUnderWay(t *testing.T) {
	a := must[*azuremltest.Azure](t)(azuremltest.Start(azuremltest.Options{}))
	c := client(t, a)
	inside := make(chan struct{})
	slow := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(inside)
		<-r.Context().Done()
	})
	s := must[*azuremltest.Scoring](t)(a.AddService(azuremltest.Service{Name: "slow", Compute: azuremltest.ACI, Model: slow}))
	a.Fail("discovery", azuremltest.Fault{Until: make(chan struct{})})
	ended := make(chan struct{}, 2)
	for _, address := range []string{s.URL(), a.ModelManagementURL() + "/discovery"} {
		r := must[*http.Request](t)(http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, address, nil))
		go func() {
			defer func() { ended <- struct{}{} }()
			if response, err := c.Do(r); err == nil {
				_ = response.Body.Close()
			}
		}()
	}
	<-inside
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	<-ended
	<-ended
	if _, err := a.AddService(azuremltest.Service{Name: "late", Compute: azuremltest.ACI, Model: echo}); err == nil {
		t.Error("a service was added to a closed Azure")
	}
	if err := s.Move(); err == nil {
		t.Error("a service of a closed Azure moved")
	}
}
