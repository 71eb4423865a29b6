package app_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"amlproxy/internal/app"
	"amlproxy/internal/config"
	"amlproxy/upstream/azuremltest"
)

// An office is an Azure with an endpoint of every kind, each under a route of the
// same name, and the settings of proxies in front of it.
type office struct {
	azure   *azuremltest.Azure
	byName  map[string]*azuremltest.Scoring
	environ []string
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{byName: map[string]*azuremltest.Scoring{}}
	var err error
	if o.azure, err = azuremltest.Start(azuremltest.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.azure.Close() })
	model := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "scored %d bytes", n)
	})
	swagger := []byte(`{"swagger":"2.0"}`)
	var yaml strings.Builder
	yaml.WriteString("routes:\n")
	add := func(kind string) func(*azuremltest.Scoring, error) {
		return func(s *azuremltest.Scoring, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			o.byName[s.Name()] = s
			fmt.Fprintf(&yaml, "  - {name: %s, public: true, %s: %s}\n", s.Name(), kind, s.Name())
		}
	}
	add("service")(o.azure.AddService(azuremltest.Service{Name: "aci", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: model, Swagger: swagger}))
	add("service")(o.azure.AddService(azuremltest.Service{Name: "aks", Compute: azuremltest.AKS, Model: model}))
	add("service")(o.azure.AddService(azuremltest.Service{Name: "open", Compute: azuremltest.ACI, Model: model}))
	add("service")(o.azure.AddService(azuremltest.Service{Name: "token", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: model}))
	add("endpoint")(o.azure.AddEndpoint(azuremltest.Endpoint{Name: "online", Model: model, Swagger: swagger}))
	add("endpoint")(o.azure.AddEndpoint(azuremltest.Endpoint{Name: "entra", Auth: azuremltest.Entra, Model: model}))
	add("serverless")(o.azure.AddServerless(azuremltest.Serverless{Name: "serverless", Model: model, Swagger: swagger}))
	yaml.WriteString("  - {name: given, public: true, url: 'https://models.example/score', auth: key, key: given-by-hand}\n")
	yaml.WriteString("  - {name: both, public: true, backends: [{service: aci}, {endpoint: online, workspace: north}]}\n")
	fmt.Fprintf(&yaml, "workspaces: {north: {subscription_id: %q, resource_group: %q, workspace_name: %q}}\n",
		o.azure.SubscriptionID(), o.azure.ResourceGroup(), o.azure.WorkspaceName())

	dir := t.TempDir()
	ca, routes := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "routes.yaml")
	for file, content := range map[string][]byte{ca: o.azure.CAPEM(), routes: []byte(yaml.String())} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.environ = append(o.azure.Environ(), "AMLPROXY_CA_FILE="+ca, "AMLPROXY_ROUTES_FILE="+routes)
	return o
}

func (o *office) desk(t *testing.T) *app.Desk {
	t.Helper()
	settings, err := config.Load(o.environ)
	if err != nil {
		t.Fatal(err)
	}
	d, err := app.NewDesk(settings, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestTheDeskSaysWhatARouteWouldUse(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	o := newOffice(t)
	defer o.azure.Close()
	d := o.desk(t)
	defer d.Close()
	for route, want := range map[string]struct {
		backend, kind     string
		secondary, expiry bool
	}{
		"aci":        {"service aci", "key", true, false},
		"aks":        {"service aks", "key", true, false},
		"open":       {"service open", "none", false, false},
		"token":      {"service token", "token", false, true},
		"online":     {"endpoint online", "key", true, false},
		"entra":      {"endpoint entra", "entra", false, true},
		"serverless": {"serverless endpoint serverless", "key", true, false},
		"given":      {"https://models.example/score", "key", false, false},
	} {
		c, err := d.Credential(t.Context(), route, 1)
		if err != nil {
			t.Errorf("%s: %v", route, err)
			continue
		}
		if c.Backend != want.backend || c.Kind != want.kind || c.Secondary.IsZero() == want.secondary ||
			c.Expires.IsZero() == want.expiry || c.Primary.IsZero() != (want.kind == "none") {
			t.Errorf("%s: %+v", route, c)
		}
		if s := o.byName[route]; s != nil {
			primary, _ := s.Keys()
			if c.Address != s.URL() || (want.kind == "key" && c.Primary.Reveal() != primary) {
				t.Errorf("%s: at %s, want %s and the primary key", route, c.Address, s.URL())
			}
			if c.Refresh.Before(time.Now()) && want.kind != "none" {
				t.Errorf("%s: to be refreshed at %s", route, c.Refresh)
			}
		}
	}
}

func TestAnUnknownRouteIsAnsweredWithThoseThereAre(t *testing.T) {
	o := newOffice(t)
	d := o.desk(t)
	o.azure.ResetCalls()
	for _, ask := range []func() error{
		func() error { _, err := d.Credential(t.Context(), "online2", 1); return err },
		func() error { _, err := d.Keys(t.Context(), "online2", 1); return err },
		func() error { return d.Rotate(t.Context(), "online2", 1, app.Rotation{}) },
	} {
		if err := ask(); !errors.Is(err, app.ErrNoSuchRoute) || !strings.Contains(err.Error(), "aci, aks, open, token, online, entra, serverless, given, both") {
			t.Error(err)
		}
	}
	for _, backend := range []int{-1, 0, 2} {
		if _, err := d.Credential(t.Context(), "aci", backend); !errors.Is(err, app.ErrNoSuchRoute) || !strings.Contains(err.Error(), "which is number 1") {
			t.Errorf("backend %d: %v", backend, err)
		}
	}
	if calls := o.azure.Calls(); len(calls) != 0 {
		t.Errorf("Azure was asked: %v", calls)
	}
}

func TestARouteWithoutKeysSaysWhatToDo(t *testing.T) {
	o := newOffice(t)
	d := o.desk(t)
	for route, says := range map[string]string{
		"open":  "takes no credential",
		"token": "amlproxy token token",
		"entra": "the certificate of that identity",
	} {
		_, shown := d.Keys(t.Context(), route, 1)
		for _, err := range []error{shown, d.Rotate(t.Context(), route, 1, app.Rotation{})} {
			if err == nil || errors.Is(err, app.ErrNoSuchRoute) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v", route, err)
			}
		}
	}
	if c, err := d.Keys(t.Context(), "given", 1); err != nil || c.Primary.Reveal() != "given-by-hand" {
		t.Error(c, err)
	}
	if err := d.Rotate(t.Context(), "given", 1, app.Rotation{}); err == nil || !strings.Contains(err.Error(), "given by hand") {
		t.Error(err)
	}
}

func TestEachBackendOfARouteCanBeAskedAbout(t *testing.T) {
	o := newOffice(t)
	d := o.desk(t)
	for n, want := range []string{"service aci", "endpoint online in workspace north"} {
		c, err := d.Keys(t.Context(), "both", n+1)
		if err != nil || c.Backend != want {
			t.Errorf("%d: %+v %v", n+1, c, err)
		}
	}
	first, _ := o.byName["aci"].Keys()
	second, _ := o.byName["online"].Keys()
	if err := d.Rotate(t.Context(), "both", 2, app.Rotation{Pause: 10 * time.Millisecond, Say: func(string) {}}); err != nil {
		t.Error(err)
	}
	if primary, _ := o.byName["aci"].Keys(); primary != first {
		t.Error("the keys of the first backend were regenerated")
	}
	if primary, _ := o.byName["online"].Keys(); primary == second {
		t.Error("the keys of the second backend were not regenerated")
	}
}

func TestMasksTellSecretsApartAndNoMore(t *testing.T) {
	o := newOffice(t)
	d := o.desk(t)
	for route, want := range map[string]string{"given": "[secret] (13 characters)", "aci": "…"} {
		c, err := d.Credential(t.Context(), route, 1)
		if err != nil {
			t.Fatal(err)
		}
		mask := app.Masked(c.Primary)
		if !strings.HasPrefix(mask, want) || strings.Contains(mask, c.Primary.Reveal()[:len(c.Primary.Reveal())-4]) {
			t.Errorf("%s: %s", route, mask)
		}
	}
}
