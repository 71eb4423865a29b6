package azuremltest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"amlproxy/upstream/azuremltest"
)

func TestScoringServersAnswerAsTheirKindsDo(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	add := must[*azuremltest.Scoring](t)
	tests := map[string]struct {
		*azuremltest.Scoring
		scheme, path string
	}{
		"ACI":        {add(a.AddService(azuremltest.Service{Name: "one", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: echo, Swagger: swagger})), "http://", "/score"},
		"AKS":        {add(a.AddService(azuremltest.Service{Name: "two", Compute: azuremltest.AKS, Model: echo, Swagger: swagger})), "http://", "/api/v1/service/two/score"},
		"managed":    {add(a.AddEndpoint(azuremltest.Endpoint{Name: "three", Model: echo, Swagger: swagger})), "https://", "/score"},
		"serverless": {add(a.AddServerless(azuremltest.Serverless{Name: "four", Model: echo, Swagger: swagger})), "https://", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			address := test.URL()
			if !strings.HasPrefix(address, test.scheme) || !strings.HasSuffix(address, test.path) || strings.Count(address, "/") != strings.Count(test.scheme+test.path, "/") {
				t.Fatalf("at %s", address)
			}
			folder := strings.TrimSuffix(address, "/score")
			primary, secondary := test.Keys()
			for _, call := range []struct {
				method, address, key string
				status               int
				body                 string
			}{
				{http.MethodPost, address, primary, 200, "hi"},
				{http.MethodPost, address, secondary, 200, "hi"},
				{http.MethodPost, address, primary + "x", 401, ""},
				{http.MethodPost, address, "", 401, ""},
				{http.MethodGet, folder + "/swagger.json?version=3", primary, 200, string(swagger)},
				{http.MethodGet, folder + "/swagger.json", "", 401, ""},
				{http.MethodGet, folder + "/", primary, 200, "Healthy"},
				{http.MethodOptions, address, primary, 405, ""},
			} {
				body := ""
				if call.method == http.MethodPost {
					body = "hi"
				}
				r := do(t, c, call.method, call.address, call.key, body)
				if r.StatusCode != call.status || call.body != "" && r.body != call.body {
					t.Errorf("%s %s: %s: %s, want %d", call.method, call.address, r.Status, r.body, call.status)
				}
			}
			if test.Requests() != 8 || test.Refusals() != 3 || test.Posts() != 2 {
				t.Errorf("%d requests, %d refusals, %d POSTs", test.Requests(), test.Refusals(), test.Posts())
			}
		})
	}
}

func TestModelSeesTheRequestAndTheCallerItsHeaders(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	seen := make(chan string, 1)
	model := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen <- r.URL.RawQuery })
	s := must[*azuremltest.Scoring](t)(a.AddService(azuremltest.Service{Name: "one", Compute: azuremltest.ACI, Model: model}))
	r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"?a=1;b", nil))
	r.Header.Set("X-Ms-Request-Id", "mine")
	r.Header.Set("X-Ms-Client-Request-Id", "its")
	got := send(t, c, r)
	if q := <-seen; q != "a=1;b" {
		t.Errorf("the model sees %q", q)
	}
	for name, want := range map[string]string{
		"X-Ms-Request-Id": "mine", "X-Request-Id": "mine", "X-Ms-Client-Request-Id": "its", "X-Ms-Run-Function-Failed": "False",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.Header.Get(name), want)
		}
	}
	if got.Header.Get("X-Ms-Run-Fn-Exec-Ms") == "" || got.Header.Get("X-Ms-Server-Version") == "" {
		t.Error(got.Header)
	}
	r.Header.Set("X-Ms-Request-Id", strings.Repeat("x", 101))
	if got := send(t, c, r); got.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("an id of 101 characters: %s", got.Status)
	}
}

// TestPlatformsRewriteTheModelsStatus: a managed endpoint and Kubernetes hide
// it, each in its way.
func TestPlatformsRewriteTheModelsStatus(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	failing := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oh", http.StatusInternalServerError) })
	add := must[*azuremltest.Scoring](t)
	aci := add(a.AddService(azuremltest.Service{Name: "one", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: failing}))
	aks := add(a.AddService(azuremltest.Service{Name: "two", Compute: azuremltest.AKS, Model: failing}))
	managed := add(a.AddEndpoint(azuremltest.Endpoint{Name: "three", Model: failing}))
	for s, want := range map[*azuremltest.Scoring]int{aci: 500, aks: 502, managed: 424} {
		key, _ := s.Keys()
		r := do(t, c, http.MethodPost, s.URL(), key, "hi")
		if r.StatusCode != want || r.body != "oh\n" || r.Header.Get("X-Ms-Run-Function-Failed") != "True" {
			t.Errorf("%s: %s: %s", s.Name(), r.Status, r.body)
		}
		if was := r.Header.Get("Ms-Azureml-Model-Error-Statuscode"); (was == "500") != (s == managed) {
			t.Errorf("%s: the model's status is given as %q", s.Name(), was)
		}
	}
}

// TestManagedEndpointSendsTrailers, and lets a stream pass while it lasts.
func TestManagedEndpointSendsTrailers(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	more := make(chan struct{})
	stream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("a"))
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = w.Write([]byte("b"))
	})
	s := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "llm", Model: stream}))
	key, _ := s.Keys()
	r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(), nil))
	r.Header.Set("Authorization", "bearer "+key)
	response := must[*http.Response](t)(c.Do(r))
	defer response.Body.Close()
	if b := make([]byte, 2); must[int](t)(response.Body.Read(b)) != 1 || b[0] != 'a' {
		t.Errorf("the first part is %q", b)
	}
	close(more)
	for err := error(nil); err == nil; {
		_, err = response.Body.Read(make([]byte, 2))
	}
	if response.Trailer.Get("Ms-Azureml-Bandwidth-Request-Delay-Ms") == "" || response.Trailer.Get("Ms-Azureml-Bandwidth-Response-Delay-Ms") == "" {
		t.Errorf("trailers: %v", response.Trailer)
	}
}

func TestDeploymentsShareTrafficAndCanBePinned(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	s := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Deployments: []azuremltest.Deployment{
		{Name: "blue", Traffic: 90, Model: echo}, {Name: "green", Traffic: 10, Model: echo}, {Name: "dark", Model: echo},
	}}))
	key, _ := s.Keys()
	call := func(pin string) reply {
		r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(), nil))
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("azureml-model-deployment", pin)
		return send(t, c, r)
	}
	answered := map[string]int{}
	for range 100 {
		answered[call("").Header.Get("azureml-model-deployment")]++
	}
	if answered["blue"] != 90 || answered["green"] != 10 {
		t.Errorf("of 100 calls: %v", answered)
	}
	if r := call("dark"); r.StatusCode != http.StatusOK || r.Header.Get("azureml-model-deployment") != "dark" {
		t.Errorf("pinned: %s by %q", r.Status, r.Header.Get("azureml-model-deployment"))
	}
	if r := call("red"); r.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown one: %s", r.Status)
	}
}

func TestEntraEndpointWantsTheAudienceAndThePermission(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	s := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "iris", Auth: azuremltest.Entra, Model: echo}))
	score := func(token string) int { return do(t, c, http.MethodPost, s.URL(), token, "{}").StatusCode }
	token := accessToken(t, c, a, a.MLScope())
	if got := score(token); got != http.StatusOK {
		t.Errorf("a token for it: %d", got)
	}
	if got := score(accessToken(t, c, a, a.ARMAudience()+"/.default")); got != http.StatusUnauthorized {
		t.Errorf("a token for ARM: %d", got)
	}
	a.Deny("Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action")
	if got := score(token); got != http.StatusForbidden {
		t.Errorf("without the permission: %d", got)
	}
}

func TestAuthorizationMustBeOneBearerField(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	s := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Model: echo}))
	key, _ := s.Keys()
	for _, fields := range [][]string{{key}, {"Basic " + key}, {"Bearer"}, {"Bearer " + key, "Bearer " + key}} {
		r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(), nil))
		r.Header["Authorization"] = fields
		if got := send(t, c, r); got.StatusCode != http.StatusUnauthorized {
			t.Errorf("%d fields: %s", len(fields), got.Status)
		}
	}
}

func TestExpiredTokenIsRefused(t *testing.T) {
	clock := newHandClock()
	a := start(t, azuremltest.Options{Clock: clock})
	c := client(t, a)
	s := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "iris", Auth: azuremltest.Token, Model: echo}))
	s.Behave(azuremltest.Behaviour{TokenRefresh: time.Minute, TokenLifetime: time.Hour})
	token := endpointToken(t, c, a, "iris")
	for _, want := range []int{200, 401} {
		if r := do(t, c, http.MethodPost, s.URL(), token, "{}"); r.StatusCode != want {
			t.Errorf("%s, want %d", r.Status, want)
		}
		clock.advance(time.Hour)
	}
}

// endpointToken asks the workspace for a token.
func endpointToken(t *testing.T, c *http.Client, a *azuremltest.Azure, name string) string {
	t.Helper()
	r := do(t, c, http.MethodPost, workspace(a, a.ARMURL())+"/onlineEndpoints/"+name+"/token"+apiVersion, accessToken(t, c, a, a.ARMAudience()+"/.default"), "")
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", r.Status, r.body)
	}
	return r.field(t, "accessToken")
}

// TestAzureRefusesWhatAzureRefuses: an impossible endpoint is a mistake in a
// test, and must not look like one in the code under test.
func TestAzureRefusesWhatAzureRefuses(t *testing.T) {
	a := start(t, azuremltest.Options{})
	must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "taken", Model: echo}))
	service := func(s azuremltest.Service) error { _, err := a.AddService(s); return err }
	endpoint := func(e azuremltest.Endpoint) error { _, err := a.AddEndpoint(e); return err }
	for name, err := range map[string]error{
		"ACI with a token":        service(azuremltest.Service{Name: "a", Compute: azuremltest.ACI, Auth: azuremltest.Token, Model: echo}),
		"AKS with an Entra token": service(azuremltest.Service{Name: "b", Compute: azuremltest.AKS, Auth: azuremltest.Entra, Model: echo}),
		"no compute":              service(azuremltest.Service{Name: "c", Model: echo}),
		"no model":                service(azuremltest.Service{Name: "d", Compute: azuremltest.ACI}),
		"an open endpoint":        endpoint(azuremltest.Endpoint{Name: "e", Auth: azuremltest.None, Model: echo}),
		"no name":                 endpoint(azuremltest.Endpoint{Model: echo}),
		"a path as a name":        endpoint(azuremltest.Endpoint{Name: "a/b", Model: echo}),
		"a name that is taken":    endpoint(azuremltest.Endpoint{Name: "taken", Model: echo}),
		"traffic of 90 %":         endpoint(azuremltest.Endpoint{Name: "f", Deployments: []azuremltest.Deployment{{Name: "blue", Traffic: 90, Model: echo}}}),
	} {
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
