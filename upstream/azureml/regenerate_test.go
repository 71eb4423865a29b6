package azureml_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// polled is a workspace in which a regeneration is accepted, and then these
// answers are given about it.
func polled(location string, states ...func(*http.Request) *http.Response) (answers, func() []*http.Request) {
	var mu sync.Mutex
	var seen []*http.Request
	next := func(r *http.Request) *http.Response {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r)
		if len(seen) > len(states) {
			return states[len(states)-1](r)
		}
		return states[len(seen)-1](r)
	}
	keys := stubID + "/onlineEndpoints/m"
	all := answers{
		"GET " + keys:                                   reply(http.StatusOK, `{"properties":{"authMode":"Key","scoringUri":"https://m.test/score"}}`),
		"POST " + keys + "/regenerateKeys":              reply(http.StatusAccepted, "", "Location", location, "Retry-After", "3"),
		"GET " + stubV1 + "/services/m":                 reply(http.StatusOK, `{"authEnabled":true,"scoringUri":"https://m.test/score"}`),
		"POST " + stubV1 + "/services/m/regenerateKeys": reply(http.StatusAccepted, "", "Operation-Location", location),
		"GET /results/op":                               next,
		"GET " + stubV1 + "/operations/op":              next,
	}
	return all, func() []*http.Request {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

func TestAnOperationIsAskedAboutUntilItIsDone(t *testing.T) {
	running := reply(http.StatusAccepted, "", "Retry-After", "10")
	state := func(s string) func(*http.Request) *http.Response {
		return reply(http.StatusOK, `{"state":"`+s+`","error":{"code":"KeyVaultDown","message":"no vault"}}`)
	}
	for name, c := range map[string]struct {
		v1     bool
		states []func(*http.Request) *http.Response
		took   time.Duration
		fails  string
	}{
		"v2":                 {false, []func(*http.Request) *http.Response{running, running, reply(http.StatusOK, "")}, 23 * time.Second, ""},
		"v2, no content":     {false, []func(*http.Request) *http.Response{reply(http.StatusNoContent, "")}, 3 * time.Second, ""},
		"v2, failed":         {false, []func(*http.Request) *http.Response{reply(http.StatusOK, `{"status":"Failed"}`)}, 3 * time.Second, "ended as Failed"},
		"v2, gone":           {false, []func(*http.Request) *http.Response{reply(http.StatusNotFound, `{"error":{"code":"NotFound","message":"x"}}`)}, 3 * time.Second, "404 NotFound"},
		"v1":                 {true, []func(*http.Request) *http.Response{state("NotStarted"), state("Running"), state("Succeeded")}, 3 * time.Second, ""},
		"v1, failed":         {true, []func(*http.Request) *http.Response{state("Running"), state("Failed")}, 2 * time.Second, "KeyVaultDown: no vault: the operation ended as Failed"},
		"v1, cancelled":      {true, []func(*http.Request) *http.Response{state("Cancelled")}, time.Second, "ended as Cancelled"},
		"v1, timed out":      {true, []func(*http.Request) *http.Response{state("TimedOut")}, time.Second, "ended as TimedOut"},
		"v1, no JSON":        {true, []func(*http.Request) *http.Response{reply(http.StatusOK, `<html>`)}, time.Second, "not the JSON"},
		"never":              {true, []func(*http.Request) *http.Response{state("Running")}, 5 * time.Minute, "not done within 5m0s"},
		"asked for too much": {false, []func(*http.Request) *http.Response{reply(http.StatusAccepted, "", "Retry-After", "3600"), reply(http.StatusOK, "")}, 33 * time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				location := stubARM + "/results/op?api-version=2024-04-01"
				if c.v1 {
					location = "/api/whatever/operations/op?x=y"
				}
				a, seen := polled(location, c.states...)
				w := open(t, stubbed(a))
				s := w.Endpoint("m", "", azureml.Auto)
				if c.v1 {
					s = w.Service("m", azureml.Auto)
				}
				began := time.Now()
				err := regenerate(t, s, azureml.SecondaryKey)
				if took := time.Since(began); took != c.took {
					t.Errorf("it took %s", took)
				}
				if c.fails == "" && err != nil || c.fails != "" && (!errors.Is(err, azureml.ErrUnsettled) || !strings.Contains(err.Error(), c.fails)) {
					t.Error(err)
				}
				for _, r := range seen() {
					if r.Header.Get("Authorization") != "Bearer "+entraToken {
						t.Errorf("asked without the identity: %v", r.Header)
					}
				}
			})
		})
	}
}

// TestAnOperationElsewhereGetsNoToken: the answer of a regeneration names an
// address, and whoever could forge it would be sent the identity's token.
func TestAnOperationElsewhereGetsNoToken(t *testing.T) {
	for _, location := range []string{
		"https://evil.test/results/op", "http://arm.test/results/op", "//evil.test/results/op", "https://arm.test:444/results/op",
		"https://arm.test@evil.test/results/op", "https://u:p@arm.test/results/op", "https://arm.test.evil.test/results/op", "", "%",
	} {
		synctest.Test(t, func(t *testing.T) {
			a, seen := polled(location, reply(http.StatusOK, ""))
			err := regenerate(t, open(t, stubbed(a)).Endpoint("m", "", azureml.Auto), azureml.PrimaryKey)
			if !errors.Is(err, azureml.ErrUnsettled) || !strings.Contains(err.Error(), "accepted") {
				t.Errorf("%q: %v", location, err)
			}
			for _, r := range seen() {
				t.Errorf("%q: %s was asked", location, r.URL)
			}
		})
	}
	for _, location := range []string{"", "/", "/operations/..", "/operations/", "/operations/%2e%2e/../x/.", "/operations/\x7f"} {
		synctest.Test(t, func(t *testing.T) {
			a, seen := polled(location, reply(http.StatusOK, ""))
			err := regenerate(t, open(t, stubbed(a)).Service("m", azureml.Auto), azureml.PrimaryKey)
			if !errors.Is(err, azureml.ErrUnsettled) {
				t.Errorf("%q: %v", location, err)
			}
			for _, r := range seen() {
				t.Errorf("%q: %s was asked", location, r.URL)
			}
		})
	}
}

func TestWhatIsSentToRegenerate(t *testing.T) {
	var body, contentType string
	a, _ := polled("")
	a["POST "+stubID+"/onlineEndpoints/m/regenerateKeys"] = func(r *http.Request) *http.Response {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		body, contentType = string(raw), r.Header.Get("Content-Type")
		if r.URL.RawQuery != "api-version=2024-04-01" {
			t.Error(r.URL)
		}
		return reply(http.StatusOK, "")(r)
	}
	if err := regenerate(t, open(t, stubbed(a)).Endpoint("m", "", azureml.Auto), azureml.SecondaryKey); err != nil {
		t.Error(err)
	}
	if body != `{"keyType":"Secondary","keyValue":null}` || contentType != "application/json" {
		t.Error(body, contentType)
	}
}

func TestAnInterruptedWaitIsUnsettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := polled(stubARM+"/results/op", reply(http.StatusAccepted, ""))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		r, _ := open(t, stubbed(a)).Endpoint("m", "", azureml.Auto).(azureml.Regenerator)
		if err := r.Regenerate(ctx, azureml.PrimaryKey); !errors.Is(err, azureml.ErrUnsettled) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func FuzzOperation(f *testing.F) {
	f.Add("https://arm.test/results/op", []byte(`{"state":"Running"}`), 200)
	f.Add("/operations/op", []byte(`{"status":"Failed","error":{"code":"x"}}`), 200)
	f.Add("//evil.test", []byte(`{`), 202)
	f.Fuzz(func(t *testing.T, location string, body []byte, status int) {
		if status < 200 || status > 599 || status == 401 || status == 500 || status == 408 || status > 501 {
			status = 200 // the others take their time
		}
		a, _ := polled(location, reply(status, string(body)))
		a["GET /results/op"] = func(r *http.Request) *http.Response {
			if r.URL.Host != "arm.test" && r.URL.Host != "mm.test" {
				t.Errorf("%q: %s was asked", location, r.URL)
			}
			return reply(status, string(body))(r)
		}
		synctest.Test(t, func(t *testing.T) {
			w := open(t, stubbed(a))
			for _, s := range []upstream.Source{w.Endpoint("m", "", azureml.Auto), w.Service("m", azureml.Auto)} {
				err := regenerate(t, s, azureml.PrimaryKey)
				if err != nil && (len(err.Error()) > 8<<10 || strings.ContainsAny(err.Error(), "\r\x00\x1b")) {
					t.Errorf("an unreadable error: %q", err)
				}
			}
		})
	})
}
