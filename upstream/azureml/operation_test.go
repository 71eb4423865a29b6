package azureml_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"

	"amlproxy/upstream/azureml"
	"amlproxy/upstream/azuremltest"
)

type noting struct {
	base http.RoundTripper
	mu   sync.Mutex
	seen []azureml.Operation
	urls []string
}

func (n *noting) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.seen, n.urls = append(n.seen, azureml.OperationOf(r)), append(n.urls, r.Method+" "+r.URL.Redacted())
	n.mu.Unlock()
	return n.base.RoundTrip(r)
}

// Every call of this package is known by what it is for, so that a workspace in
// trouble shows as what does not work.
func TestOperationsAreKnownByTheirAddresses(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	cfg := config(t, a)
	n := &noting{base: cfg.Client.Transport}
	cfg.Client = &http.Client{Transport: n}
	w := open(t, cfg)
	must(a.AddService(azuremltest.Service{Name: "by-key", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: model}))(t)
	must(a.AddService(azuremltest.Service{Name: "by-token", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: model}))(t)
	must(a.AddEndpoint(azuremltest.Endpoint{Name: "online", Auth: azuremltest.Token, Model: model}))(t)
	fetch(t, w.Service("by-key", azureml.Auto), nil)
	fetch(t, w.Service("by-token", azureml.Auto), nil)
	fetch(t, w.Endpoint("online", "", azureml.Auto), nil)
	for _, op := range []azureml.Operation{
		azureml.OpIdentity, azureml.OpDiscovery, azureml.OpWorkspace, azureml.OpEndpoint, azureml.OpKeys, azureml.OpToken,
	} {
		if !slices.Contains(n.seen, op) {
			t.Errorf("nothing was for %q: %q", op, n.urls)
		}
	}
	for i, op := range n.seen {
		if op == azureml.OpOther || !slices.Contains(azureml.Operations(), op) {
			t.Errorf("%s is for %q", n.urls[i], op)
		}
	}
}
