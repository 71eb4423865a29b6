package azureml_test

import (
	"net/http"
	"net/url"
	"testing"

	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
	"amlproxy/upstream/azuremltest"
)

func TestEveryKindOfEndpointIsFoundByItsName(t *testing.T) {
	swagger := []byte(`{"swagger":"2.0"}`)
	for name, c := range map[string]struct {
		add    func(*azuremltest.Azure) (*azuremltest.Scoring, error)
		source func(*azureml.Workspace) upstream.Source
		kind   upstream.Kind
		calls  map[string]int
	}{
		"ACI without authentication": {
			add: func(a *azuremltest.Azure) (*azuremltest.Scoring, error) {
				return a.AddService(azuremltest.Service{Name: "m", Compute: azuremltest.ACI, Model: model, Swagger: swagger})
			},
			source: func(w *azureml.Workspace) upstream.Source { return w.Service("m", azureml.Auto) },
			kind:   upstream.None,
			calls:  map[string]int{"workspace": 1, "discovery": 1, "get service/m": 1, authorityToken: 1},
		},
		"ACI with a key": {
			add: func(a *azuremltest.Azure) (*azuremltest.Scoring, error) {
				return a.AddService(azuremltest.Service{Name: "m", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: model, Swagger: swagger})
			},
			source: func(w *azureml.Workspace) upstream.Source { return w.Service("m", "") },
			kind:   upstream.Key,
			calls:  map[string]int{"workspace": 1, "discovery": 1, "get service/m": 1, "listkeys service/m": 1, authorityToken: 1},
		},
		"AKS with a token": {
			add: func(a *azuremltest.Azure) (*azuremltest.Scoring, error) {
				return a.AddService(azuremltest.Service{Name: "m", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: model, Swagger: swagger})
			},
			source: func(w *azureml.Workspace) upstream.Source { return w.Service("m", azureml.Auto) },
			kind:   upstream.Token,
			calls:  map[string]int{"workspace": 1, "discovery": 1, "get service/m": 1, "token service/m": 1, authorityToken: 1},
		},
		"online endpoint with keys": {
			add: func(a *azuremltest.Azure) (*azuremltest.Scoring, error) {
				return a.AddEndpoint(azuremltest.Endpoint{Name: "m", Model: model, Swagger: swagger})
			},
			source: func(w *azureml.Workspace) upstream.Source { return w.Endpoint("m", "default", azureml.Auto) },
			kind:   upstream.Key,
			calls:  map[string]int{"get endpoint/m": 1, "listkeys endpoint/m": 1, authorityToken: 1},
		},
		"online endpoint with AMLToken": {
			add: func(a *azuremltest.Azure) (*azuremltest.Scoring, error) {
				return a.AddEndpoint(azuremltest.Endpoint{Name: "m", Auth: azuremltest.Token, Model: model, Swagger: swagger})
			},
			source: func(w *azureml.Workspace) upstream.Source { return w.Endpoint("m", "", azureml.Auto) },
			kind:   upstream.Token,
			calls:  map[string]int{"get endpoint/m": 1, "token endpoint/m": 1, authorityToken: 1},
		},
		"online endpoint with AADToken": {
			add: func(a *azuremltest.Azure) (*azuremltest.Scoring, error) {
				return a.AddEndpoint(azuremltest.Endpoint{Name: "m", Auth: azuremltest.Entra, Model: model, Swagger: swagger})
			},
			source: func(w *azureml.Workspace) upstream.Source { return w.Endpoint("m", "", azureml.Auto) },
			kind:   upstream.Entra,
			calls:  map[string]int{"get endpoint/m": 1, authorityToken: 2}, // one for ARM, one for scoring
		},
		"serverless endpoint": {
			add: func(a *azuremltest.Azure) (*azuremltest.Scoring, error) {
				return a.AddServerless(azuremltest.Serverless{Name: "m", Model: model})
			},
			source: func(w *azureml.Workspace) upstream.Source { return w.Serverless("m") },
			kind:   upstream.Key,
			calls:  map[string]int{"get serverless/m": 1, "listkeys serverless/m": 1, authorityToken: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := startAzure(t, azuremltest.Options{})
			s := must(c.add(a))(t)
			cfg := config(t, a)
			lease := fetch(t, c.source(open(t, cfg)), nil)
			if lease.Kind != c.kind {
				t.Errorf("kind %q, want %q", lease.Kind, c.kind)
			}
			if lease.Kind == upstream.Key {
				primary, secondary := s.Keys()
				if lease.Primary.Reveal() != primary || lease.Secondary.Reveal() != secondary {
					t.Error("not the pair of this endpoint")
				}
			}
			if lease.Description == nil && name != "serverless endpoint" {
				t.Error("no description")
			}
			wantCalls(t, a, c.calls)
			if status := score(t, cfg.Client, lease); status != http.StatusOK {
				t.Errorf("scoring answered %d", status)
			}
		})
	}
}

func TestAModeGivenByHandIsBelieved(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	must(a.AddService(azuremltest.Service{Name: "m", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: model}))(t)
	w := open(t, config(t, a))
	if l := fetch(t, w.Service("m", azureml.Mode(upstream.None)), nil); l.Kind != upstream.None || !l.Primary.IsZero() {
		t.Errorf("kind %q", l.Kind)
	}
	if l := fetch(t, w.Service("m", azureml.Mode(upstream.Entra)), nil); l.Kind != upstream.Entra || l.Primary.IsZero() {
		t.Errorf("kind %q", l.Kind)
	}
	if _, err := w.Service("m", "oauth").Fetch(t.Context(), nil); err == nil {
		t.Error("an unknown mode was taken")
	}
}

func TestAnAddressWithAnEntraTokenNeedsNoWorkspace(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	s := must(a.AddEndpoint(azuremltest.Endpoint{Name: "m", Auth: azuremltest.Entra, Model: model}))(t)
	cfg := config(t, a)
	cfg.SubscriptionID, cfg.ResourceGroup, cfg.Workspace = "", "", ""
	w := open(t, cfg)
	scoring := must(url.Parse(s.URL()))(t)
	for _, scope := range []string{"", a.MLScope()} {
		lease := fetch(t, w.Entra(scoring, scope), nil)
		if lease.Kind != upstream.Entra || score(t, cfg.Client, lease) != http.StatusOK {
			t.Errorf("scope %q: %+v", scope, lease)
		}
	}
	wantCalls(t, a, map[string]int{authorityToken: 1}) // shared by both
	if _, err := w.Service("m", azureml.Auto).Fetch(t.Context(), nil); err == nil {
		t.Error("a service without a workspace")
	}
	if _, err := w.Entra(&url.URL{Path: "/score"}, "").Fetch(t.Context(), nil); err == nil {
		t.Error("an address without a host")
	}
}
