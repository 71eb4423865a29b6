package azureml_test

import (
	"net/http"
	"testing"

	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
	"amlproxy/upstream/azuremltest"
)

func TestARejectedCredentialIsReplacedThroughTheCache(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	keyed := must(a.AddService(azuremltest.Service{Name: "key", Compute: azuremltest.AKS, Model: model}))(t)
	token := must(a.AddService(azuremltest.Service{Name: "token", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: model}))(t)
	entra := must(a.AddEndpoint(azuremltest.Endpoint{Name: "entra", Auth: azuremltest.Entra, Model: model}))(t)
	cfg := config(t, a)
	w := open(t, cfg)
	for _, c := range []struct {
		source upstream.Source
		rotate func()
		calls  map[string]int
	}{
		{w.Service("key", azureml.Auto), func() { keyed.RegenerateKey(azuremltest.Both) }, map[string]int{"get service/key": 1, "listkeys service/key": 1}},
		{w.Service("token", azureml.Auto), token.RevokeTokens, map[string]int{"get service/token": 1, "token service/token": 1}},
		{w.Endpoint("entra", "", azureml.Auto), entra.RevokeTokens, map[string]int{"get endpoint/entra": 1, authorityToken: 1}},
	} {
		cache := upstream.Cached(c.source, nil)
		target := must(cache.Target(t.Context()))(t)
		c.rotate()
		a.ResetCalls()
		next := must(cache.Rejected(t.Context(), target))(t)
		wantCalls(t, a, c.calls)
		lease := &upstream.Lease{Scoring: next.Scoring, Kind: next.Kind, Primary: next.Credential}
		if status := score(t, cfg.Client, lease); status != http.StatusOK {
			t.Errorf("%s: %d", next.Kind, status)
		}
		if err := cache.Close(); err != nil {
			t.Error(err)
		}
	}
}
