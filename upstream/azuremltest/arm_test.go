package azuremltest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"amlproxy/upstream/azuremltest"
)

// workspace returns the address of the workspace below a host.
func workspace(a *azuremltest.Azure, host string) string {
	return host + "/subscriptions/" + url.PathEscape(a.SubscriptionID()) + "/resourceGroups/" + url.PathEscape(a.ResourceGroup()) +
		"/providers/Microsoft.MachineLearningServices/workspaces/" + url.PathEscape(a.WorkspaceName())
}

const apiVersion = "?api-version=2024-04-01"

func TestARMRefuses(t *testing.T) {
	clock := newHandClock()
	a := start(t, azuremltest.Options{Clock: clock, ResourceGroup: "a group"})
	c := client(t, a)
	a.SetEntraLifetime(time.Minute, 0)
	short := accessToken(t, c, a, a.ARMAudience()+"/.default")
	clock.advance(time.Minute)
	a.SetEntraLifetime(time.Hour, 0)
	good := accessToken(t, c, a, a.ARMAudience()+"/.default")
	forML := accessToken(t, c, a, a.MLScope())
	there := workspace(a, a.ARMURL())

	tests := map[string]struct {
		address, token string
		status         int
		code           string
	}{
		"no token":                   {there + apiVersion, "", 401, "AuthenticationFailed"},
		"a token of nobody's":        {there + apiVersion, "made up", 401, "InvalidAuthenticationToken"},
		"an expired token":           {there + apiVersion, short, 401, "ExpiredAuthenticationToken"},
		"a token for something else": {there + apiVersion, forML, 401, "InvalidAuthenticationTokenAudience"},
		"no api-version":             {there, good, 400, "MissingApiVersionParameter"},
		"an api-version of dreams":   {there + "?api-version=latest", good, 400, "InvalidApiVersionParameter"},
		"another subscription":       {strings.Replace(there, a.SubscriptionID(), "other", 1) + apiVersion, good, 404, "SubscriptionNotFound"},
		"another group":              {strings.Replace(there, "a%20group", "other", 1) + apiVersion, good, 404, "ResourceGroupNotFound"},
		"another workspace":          {there + "2" + apiVersion, good, 404, "ResourceNotFound"},
		"another path":               {there + "/jobs" + apiVersion, good, 404, "NotFound"},
		"an unknown endpoint":        {there + "/onlineEndpoints/nobody" + apiVersion, good, 404, "ResourceNotFound"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := do(t, c, http.MethodGet, test.address, test.token, "")
			if r.StatusCode != test.status || r.field(t, "error", "code") != test.code {
				t.Errorf("%s: %s", r.Status, r.body)
			}
			if challenged := r.Header.Get("WWW-Authenticate") != ""; challenged != (r.StatusCode == http.StatusUnauthorized) {
				t.Errorf("challenge: %v", challenged)
			}
		})
	}
	if r := do(t, c, http.MethodGet, there+apiVersion, good, ""); r.StatusCode != http.StatusOK {
		t.Errorf("the workspace itself: %s: %s", r.Status, r.body)
	}
}

func TestARMNamesTheMissingPermission(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Model: echo}))
	const action = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/listKeys/action"
	a.Deny(action)
	address := workspace(a, a.ARMURL()) + "/onlineEndpoints/fraud"
	token := accessToken(t, c, a, a.ARMAudience()+"/.default")

	r := do(t, c, http.MethodPost, address+"/listKeys"+apiVersion, token, "")
	message := r.field(t, "error", "message")
	if r.StatusCode != http.StatusForbidden || r.field(t, "error", "code") != "AuthorizationFailed" ||
		!strings.Contains(message, "'"+action+"'") || !strings.Contains(message, "'"+strings.TrimPrefix(address, a.ARMURL())+"'") {
		t.Errorf("%s: %s", r.Status, r.body)
	}
	if r := do(t, c, http.MethodGet, address+apiVersion, token, ""); r.StatusCode != http.StatusOK {
		t.Errorf("reading it: %s", r.Status)
	}
	a.Grant(action)
	if r := do(t, c, http.MethodPost, address+"/listKeys"+apiVersion, token, ""); r.StatusCode != http.StatusOK {
		t.Errorf("granted: %s", r.Status)
	}
}

// TestARMThrottles empties the bucket of writes, 200 refilled by 10 a second,
// and finds the one of reads untouched.
func TestARMThrottles(t *testing.T) {
	clock := newHandClock()
	a := start(t, azuremltest.Options{Clock: clock})
	c := client(t, a)
	must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Model: echo}))
	token := accessToken(t, c, a, a.ARMAudience()+"/.default")
	address := workspace(a, a.ARMURL()) + "/onlineEndpoints/fraud"
	keys := func() reply { return do(t, c, http.MethodPost, address+"/listKeys"+apiVersion, token, "") }
	for i := range 200 {
		if r := keys(); r.StatusCode != http.StatusOK {
			t.Fatalf("call %d: %s", i, r.Status)
		}
	}
	if r := keys(); r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") != "1" || r.field(t, "error", "code") != "TooManyRequests" {
		t.Errorf("%s, Retry-After %q", r.Status, r.Header.Get("Retry-After"))
	}
	if r := do(t, c, http.MethodGet, address+apiVersion, token, ""); r.StatusCode != http.StatusOK {
		t.Errorf("a read: %s", r.Status)
	}
	clock.advance(time.Second)
	if r := keys(); r.StatusCode != http.StatusOK {
		t.Errorf("a second later: %s", r.Status)
	}
}

func TestEndpointWithoutAnAddressYet(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	fraud := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Model: echo, Swagger: swagger}))
	fraud.SetState("Creating")
	token := accessToken(t, c, a, a.ARMAudience()+"/.default")
	address := workspace(a, a.ARMURL()) + "/onlineEndpoints/fraud" + apiVersion
	if r := do(t, c, http.MethodGet, address, token, ""); !strings.Contains(r.body, `"scoringUri":null,"swaggerUri":null`) || r.field(t, "properties", "provisioningState") != "Creating" {
		t.Error(r.body)
	}
	fraud.SetState("Succeeded")
	if r := do(t, c, http.MethodGet, address, token, ""); r.field(t, "properties", "scoringUri") != fraud.URL() {
		t.Error(r.body)
	}
}
