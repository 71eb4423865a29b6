package azureml_test

import (
	"testing"

	"amlproxy/internal/secret"
	"amlproxy/upstream/azureml"
	"amlproxy/upstream/azuremltest"
)

// A secret that was exchanged is taken over, and one that is no secret is not.
func TestAnIdentityGetsAnotherSecret(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	must(a.AddEndpoint(azuremltest.Endpoint{Name: "m", Auth: azuremltest.Key, Model: model}))(t)
	cfg := config(t, a)
	right := cfg.Identity.ClientSecret
	cfg.Identity.ClientSecret = secret.New("expired-secret")
	w := open(t, cfg)
	failure(t, w.Endpoint("m", "", azureml.Auto))

	cfg.Identity.ClientSecret = secret.Value{}
	if err := w.SetIdentity(cfg); err == nil {
		t.Error("an identity without a proof was taken over")
	}
	cfg.Identity.ClientSecret = right
	if err := w.SetIdentity(cfg); err != nil {
		t.Fatal(err)
	}
	if l := fetch(t, w.Endpoint("m", "", azureml.Auto), nil); l.Primary.IsZero() {
		t.Error("no key")
	}
}
