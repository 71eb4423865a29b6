package azureml_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
	"amlproxy/upstream/azuremltest"
)

func regenerate(t *testing.T, s upstream.Source, which azureml.KeyName) error {
	t.Helper()
	r, ok := s.(azureml.Regenerator)
	if !ok {
		t.Fatalf("%T regenerates nothing", s)
	}
	return r.Regenerate(t.Context(), which)
}

func TestEachKindOfEndpointRegeneratesOneKey(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	add := func(s *azuremltest.Scoring, err error) *azuremltest.Scoring { return must(s, err)(t) }
	aci := add(a.AddService(azuremltest.Service{Name: "aci", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: model}))
	aks := add(a.AddService(azuremltest.Service{Name: "aks", Compute: azuremltest.AKS, Model: model}))
	v2 := add(a.AddEndpoint(azuremltest.Endpoint{Name: "v2", Model: model}))
	less := add(a.AddServerless(azuremltest.Serverless{Name: "less", Model: model}))
	cfg := config(t, a)
	w := open(t, cfg)
	for _, c := range []struct {
		scoring *azuremltest.Scoring
		source  upstream.Source
		op      string
		polls   int
	}{
		{aci, w.Service("aci", azureml.Auto), "service/aci", 1},
		{aks, w.Service("aks", azureml.Auto), "service/aks", 0},
		{v2, w.Endpoint("v2", "", azureml.Auto), "endpoint/v2", 1},
		{less, w.Serverless("less"), "serverless/less", 0},
	} {
		t.Run(c.op, func(t *testing.T) {
			fetch(t, c.source, nil)
			wantOneNewKey(t, a, c.scoring, c.source, c.op, azureml.SecondaryKey, 0)
			wantOneNewKey(t, a, c.scoring, c.source, c.op, azureml.PrimaryKey, c.polls)
			lease := fetch(t, c.source, nil)
			primary, secondary := c.scoring.Keys()
			if lease.Primary.Reveal() != primary || lease.Secondary.Reveal() != secondary || score(t, cfg.Client, lease) != http.StatusOK {
				t.Error("a fetch does not list the new pair")
			}
		})
	}
}

// wantOneNewKey regenerates a key, which takes so many looks at the operation.
func wantOneNewKey(t *testing.T, a *azuremltest.Azure, scoring *azuremltest.Scoring, s upstream.Source, op string, which azureml.KeyName, polls int) {
	t.Helper()
	scoring.Behave(azuremltest.Behaviour{AsyncPolls: polls})
	primary, secondary := scoring.Keys()
	a.ResetCalls()
	if err := regenerate(t, s, which); err != nil {
		t.Errorf("%s: %v", which, err)
	}
	calls := a.Calls()
	newPrimary, newSecondary := scoring.Keys()
	if (newPrimary != primary) != (which == azureml.PrimaryKey) || (newSecondary != secondary) != (which == azureml.SecondaryKey) {
		t.Errorf("after %s another key is new", which)
	}
	asked := calls["operation service"] + calls["operation endpoint"]
	if calls["regenerate "+op] != 1 || (asked > 0) != (polls > 0) {
		t.Errorf("%s: %v", which, calls)
	}
}

// A regeneration that was never looked at needs the permission that its compute
// names.
func TestARegenerationNeedsNoFetchBefore(t *testing.T) {
	const action = "Microsoft.MachineLearningServices/workspaces/services/aci/write"
	a := startAzure(t, azuremltest.Options{})
	must(a.AddService(azuremltest.Service{Name: "aci", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: model}))(t)
	a.Deny(action)
	err := regenerate(t, open(t, config(t, a)).Service("aci", azureml.Auto), azureml.PrimaryKey)
	var e *azureml.Error
	if !errors.As(err, &e) || e.Status != http.StatusForbidden || e.Action != action || e.Scope == "" || e.Grant == "" || errors.Is(err, azureml.ErrUnsettled) {
		t.Errorf("%v", err)
	}
}

func TestNothingIsRegeneratedByMistake(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	must(a.AddEndpoint(azuremltest.Endpoint{Name: "v2", Model: model}))(t)
	w := open(t, config(t, a))
	for name, err := range map[string]error{
		"no such key":   regenerate(t, w.Endpoint("v2", "", azureml.Auto), "Both"),
		"a bad name":    regenerate(t, w.Endpoint("..", "", azureml.Auto), azureml.PrimaryKey),
		"no such thing": regenerate(t, w.Endpoint("v3", "", azureml.Auto), azureml.PrimaryKey),
		"an address":    regenerate(t, w.Entra(must(url.Parse("https://m.test/score"))(t), ""), azureml.PrimaryKey),
	} {
		if err == nil || errors.Is(err, azureml.ErrUnsettled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := a.Calls()["regenerate endpoint/v2"]; n != 0 {
		t.Errorf("%d keys were made", n)
	}
}

// A repeat makes another key, so whatever happens the request is sent once; what
// does not say that nothing happened is marked.
func TestARegenerationIsNeverSentTwice(t *testing.T) {
	for name, c := range map[string]struct {
		fault     azuremltest.Fault
		unsettled bool
		sends     int
	}{
		"no answer":             {azuremltest.Fault{Drop: true}, true, 1},
		"500":                   {azuremltest.Fault{Status: 500}, true, 1},
		"503 with a time":       {azuremltest.Fault{Status: 503, RetryAfter: time.Second}, true, 1},
		"504":                   {azuremltest.Fault{Status: 504}, true, 1},
		"408":                   {azuremltest.Fault{Status: 408}, true, 1},
		"409":                   {azuremltest.Fault{Status: 409}, false, 1},
		"429":                   {azuremltest.Fault{RetryAfter: 7 * time.Second}, false, 1},
		"a token refused":       {azuremltest.Fault{Status: 401, Times: 1}, false, 2}, // who refuses a token does nothing
		"every token refused":   {azuremltest.Fault{Status: 401}, false, 2},
		"a redirect":            {azuremltest.Fault{Status: 307, Header: http.Header{"Location": {"https://other.test/"}}}, false, 1},
		"accepted, and no more": {azuremltest.Fault{Status: 202}, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			a := startAzure(t, azuremltest.Options{})
			must(a.AddEndpoint(azuremltest.Endpoint{Name: "v2", Model: model}))(t)
			must(a.AddService(azuremltest.Service{Name: "v1", Compute: azuremltest.AKS, Model: model}))(t)
			w := open(t, config(t, a))
			for op, s := range map[string]upstream.Source{"endpoint/v2": w.Endpoint("v2", "", azureml.Auto), "service/v1": w.Service("v1", azureml.Auto)} {
				fetch(t, s, nil)
				a.Fail("regenerate", c.fault)
				err := regenerate(t, s, azureml.PrimaryKey)
				if n := a.Calls()["regenerate "+op]; n != c.sends {
					t.Errorf("%s: sent %d times", op, n)
				}
				if settled := c.fault.Times == 1; settled != (err == nil) {
					t.Errorf("%s: %v", op, err)
				}
				var e *azureml.Error
				if err != nil && !errors.As(err, &e) {
					t.Errorf("%s: %T %v", op, err, err)
				}
				if errors.Is(err, azureml.ErrUnsettled) != c.unsettled {
					t.Errorf("%s: %v", op, err)
				}
			}
		})
	}
}

// What was asked for and cannot have arrived is no doubt.
func TestWithoutAnIdentityNothingWasSent(t *testing.T) {
	cfg := stubbed(stub.with(answers{
		"POST /tenant/oauth2/v2.0/token": reply(http.StatusUnauthorized, `{"error":"invalid_client","error_description":"AADSTS7000215"}`),
	}))
	err := regenerate(t, open(t, cfg).Endpoint("m", "", azureml.Mode(upstream.Key)), azureml.PrimaryKey)
	if err == nil || errors.Is(err, azureml.ErrUnsettled) {
		t.Error(err)
	}
}
