package azuremltest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"amlproxy/upstream/azuremltest"
)

// TestARMTellsWhatThePrincipalMayDo: what it tells is what it holds to.
func TestARMTellsWhatThePrincipalMayDo(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Model: echo}))
	token := accessToken(t, c, a, a.ARMAudience()+"/.default")
	there := workspace(a, a.ARMURL())
	const permissions = "/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"

	ask := func() string { return do(t, c, http.MethodGet, there+permissions, token, "").body }
	if body := ask(); !strings.Contains(body, `"actions":["*"]`) || !strings.Contains(body, `"notActions":[]`) {
		t.Errorf("in the beginning: %s", body)
	}
	a.Deny("Microsoft.MachineLearningServices/workspaces/delete")
	if body := ask(); !strings.Contains(body, `"notActions":["microsoft.machinelearningservices/workspaces/delete"]`) {
		t.Errorf("denied: %s", body)
	}
	a.Hold("Microsoft.Authorization/*/read", "microsoft.machinelearningservices/workspaces/*/listKeys/*", "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/read")
	if body := ask(); !strings.Contains(body, `/listKeys/*"`) {
		t.Errorf("held: %s", body)
	}
	for path, want := range map[string]int{
		"/onlineEndpoints/fraud" + permissions: 200,
		"/onlineEndpoints/fraud" + apiVersion:  200,
		apiVersion:                             403,
		"/onlineEndpoints/fraud/providers/Microsoft.Authorization/permissions":  400,
		"/providers/Microsoft.Authorization/permissions?api-version=2014-01-01": 400,
	} {
		if r := do(t, c, http.MethodGet, there+path, token, ""); r.StatusCode != want {
			t.Errorf("%s: %s, want %d: %s", path, r.Status, want, r.body)
		}
	}
	for action, want := range map[string]int{"/listKeys": 200, "/token": 403} {
		if r := do(t, c, http.MethodPost, there+"/onlineEndpoints/fraud"+action+apiVersion, token, ""); r.StatusCode != want {
			t.Errorf("%s: %s, want %d", action, r.Status, want)
		}
	}
	a.Hold()
	if r := do(t, c, http.MethodGet, there+permissions, token, ""); r.StatusCode != http.StatusForbidden ||
		!strings.Contains(r.body, "Microsoft.Authorization/permissions/read") {
		t.Errorf("with no role at all: %s: %s", r.Status, r.body)
	}
}

func TestAnswersCarryTheTimeOfTheClock(t *testing.T) {
	clock := newHandClock()
	a := start(t, azuremltest.Options{Clock: clock})
	clock.advance(90 * time.Minute)
	for _, host := range []string{a.AuthorityURL(), a.ARMURL(), a.ModelManagementURL()} {
		r := do(t, client(t, a), http.MethodGet, host, "", "")
		at, err := http.ParseTime(r.Header.Get("Date"))
		if err != nil || !at.Equal(clock.Now().UTC().Truncate(time.Second)) {
			t.Errorf("%s: Date %q, not %s", host, r.Header.Get("Date"), clock.Now().UTC())
		}
	}
}
