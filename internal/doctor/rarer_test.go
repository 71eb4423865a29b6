package doctor_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"amlproxy/internal/config"
	"amlproxy/internal/doctor"
	"amlproxy/upstream/azuremltest"
)

// behind puts a proxy between the doctor and some hosts. It answers CONNECT with
// 403, and passes on what it is asked for in clear.
func (w *world) behind(t *testing.T, hosts ...string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			rw.WriteHeader(http.StatusForbidden)
			return
		}
		if at := w.names[r.URL.Hostname()]; at != "" {
			r.URL.Host = at
		}
		r.RequestURI = ""
		resp, err := w.client(t).Do(r)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		rw.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(rw, resp.Body)
	}))
	t.Cleanup(s.Close)
	at, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	w.options.Tune = func(tr *http.Transport) {
		tr.Proxy = func(r *http.Request) (*url.URL, error) {
			for _, host := range hosts {
				if r.URL.Host == host {
					return at, nil
				}
			}
			return nil, nil //nolint:nilnil // what net/http calls no proxy
		}
	}
}

// rarer is what goes wrong less often, and what only looks as if it did.
func rarer() map[string]broken {
	return map[string]broken{
		"no name server": {sabotage: func(_ *testing.T, w *world) {
			w.settings["AMLPROXY_AZURE_ARM_URL"] = "https://" + unresolvable
		}, wants: []want{{"FAIL", "resource manager: dns", "could not be resolved: the name server is silent", "getent hosts"}}},
		"neither authority nor resource manager": {sabotage: func(t *testing.T, w *world) {
			w.settings["AZURE_AUTHORITY_HOST"] = "https://" + nowhere(t)
			w.settings["AMLPROXY_AZURE_ARM_URL"] = "https://" + nowhere(t)
		}, wants: []want{
			{"FAIL", "authority: connection", "", "AZURE_AUTHORITY_HOST"},
			{"FAIL", "resource manager: connection", "", "AMLPROXY_AZURE_ARM_URL"},
			{"skip", "clock", "nobody said what time it is", ""},
		}},
		"a proxy that lets nobody pass": {sabotage: func(t *testing.T, w *world) {
			w.settings["AMLPROXY_AZURE_ARM_URL"] = "https://arm.test"
			w.behind(t, "arm.test")
		}, wants: []want{
			{"skip", "resource manager: dns", "arm.test is resolved by the proxy http://127", ""},
			{"FAIL", "resource manager: connection", "through the proxy http://127.0.0.1:", "does it let arm.test pass"},
		}},
		"a proxy that works": {sabotage: func(t *testing.T, w *world) {
			at, _ := url.Parse(w.diabetes.URL())
			w.names["models.test"] = at.Host
			at.Host = "models.test"
			w.behind(t, at.Host)
			primary, _ := w.diabetes.Keys()
			w.only("byhand", "URL="+at.String(), "AUTH=key", "KEY="+primary)
		}, wants: []want{
			{"warn", "route byhand: address", "models.test answers, through the proxy http://127", "TLS"},
			{"ok", "route byhand: scoring", "accepts the credential (swagger.json: 200)", ""},
		}},
		"a token that Azure does not take": {sabotage: func(_ *testing.T, w *world) {
			w.Fail("workspace", azuremltest.Fault{Status: 401, Code: "InvalidAuthenticationTokenAudience"})
		}, wants: []want{{"FAIL", "workspace: exists", "401 InvalidAuthenticationTokenAudience", "AMLPROXY_AZURE_ARM_AUDIENCE"}}},
		"a policy that no role mends": {sabotage: func(_ *testing.T, w *world) {
			w.Fail("listkeys endpoint/fraud", azuremltest.Fault{Status: 403, Code: "RequestDisallowedByPolicy"})
		}, wants: []want{{"FAIL", "route fraud: credential", "403 RequestDisallowedByPolicy", "no role mends that"}}},
		"throttled": {sabotage: func(_ *testing.T, w *world) {
			w.Fail("listkeys endpoint/fraud", azuremltest.Fault{Status: 429})
		}, wants: []want{{"FAIL", "route fraud: credential", "429", "ask again later"}}},
		"an unknown refusal of Entra's": {sabotage: func(_ *testing.T, w *world) {
			w.Fail("authority token", azuremltest.Fault{Status: 400, Body: `{"error":"x","error_description":"AADSTS999999: new."}`})
		}, wants: []want{{"FAIL", "identity", "AADSTS999999", "https://login.microsoftonline.com/error?code=999999"}}},
		"conditional access": {sabotage: func(_ *testing.T, w *world) {
			w.Fail("authority token", azuremltest.Fault{Status: 400, Body: `{"error":"interaction_required","error_description":"AADSTS53003: blocked."}`})
		}, wants: []want{{"FAIL", "identity", "AADSTS53003", "conditional access"}}},
		"nothing of that kind": {sabotage: func(_ *testing.T, w *world) {
			w.Fail("list endpoints", azuremltest.Fault{Body: `{"value":[]}`})
			w.route("spam", "ENDPOINT=spam2")
		}, wants: []want{{"FAIL", "route spam: exists", "no endpoint spam2", "it has none at all"}}},
		"names that may not be listed": {sabotage: func(_ *testing.T, w *world) {
			w.Fail("list endpoints", azuremltest.Fault{Status: 403})
			w.route("spam", "ENDPOINT=spam2")
		}, wants: []want{{"FAIL", "route spam: exists", "no endpoint spam2", "name one that is there in AMLPROXY_ROUTES_2_ENDPOINT"}}},
		"an endpoint being deleted": {sabotage: func(_ *testing.T, w *world) {
			w.fraud.SetState("Deleting")
		}, wants: []want{{"FAIL", "route fraud: state", "Deleting", "name another one"}}},
		"a deployment without traffic, pinned": {sabotage: func(t *testing.T, w *world) {
			blue := []azuremltest.Deployment{{Name: "blue", Model: model}}
			if _, err := w.AddEndpoint(azuremltest.Endpoint{Name: "idle", Deployments: blue}); err != nil {
				t.Fatal(err)
			}
			w.route("idle", "ENDPOINT=idle", "DEPLOYMENT=blue")
		}, wants: []want{{"ok", "route idle: state", "Succeeded", ""}}},
		"a mode by hand that is right": {sabotage: func(_ *testing.T, w *world) {
			w.route("fraud", "ENDPOINT=fraud", "AUTH=key")
		}, wants: []want{{"ok", "route fraud: mode", "key, by hand and as the workspace says", ""}}},
		"a mode by hand that is not known": {sabotage: func(t *testing.T, w *world) {
			w.says(t, "get endpoint/fraud", v2("Riddle", w.fraud.URL()))
			w.route("fraud", "ENDPOINT=fraud", "AUTH=key")
		}, wants: []want{{"ok", "route fraud: mode", `key, by hand; the workspace says "Riddle"`, ""}}},
		"a key where the workspace says none": {sabotage: func(t *testing.T, w *world) {
			w.says(t, "get service/diabetes-aks", map[string]any{"computeType": "AKS", "state": "Healthy", "scoringUri": w.diabetes.URL(), "authEnabled": false})
		}, wants: []want{{"FAIL", "route diabetes: scoring", "and the workspace says that it does not", "AMLPROXY_ROUTES_3_AUTH"}}},
		"an Entra token that an address forbids": {sabotage: func(_ *testing.T, w *world) {
			w.Deny(ml + "onlineEndpoints/score/action")
			w.only("byhand", "URL="+w.churn.URL(), "AUTH=entra")
		}, wants: []want{{"FAIL", "route byhand: scoring", "does not let it score (403)", "onlineEndpoints/score/action"}}},
		"an Entra token that an address refuses": {sabotage: func(_ *testing.T, w *world) {
			w.only("byhand", "URL="+w.fraud.URL(), "AUTH=entra")
		}, wants: []want{{"FAIL", "route byhand: scoring", "refuses the credential (401)", "AMLPROXY_AZURE_ML_SCOPE"}}},
		"an endpoint that hangs up": {sabotage: func(_ *testing.T, w *world) {
			w.fraud.Behave(azuremltest.Behaviour{Refusal: azuremltest.CloseUnread})
		}, wants: []want{{"FAIL", "route fraud: address", "cannot be reached: EOF", "firewall"}}},
	}
}

// TestSettingsThatNothingCanBeBuiltFromAreRefused, before anybody is asked.
func TestSettingsThatNothingCanBeBuiltFromAreRefused(t *testing.T) {
	w := newWorld(t, azuremltest.Options{})
	var environ []string
	for name, value := range w.settings {
		environ = append(environ, name+"="+value)
	}
	settings, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	w.ResetCalls()
	for name, spoil := range map[string]func(*config.Settings){
		"roots that are gone": func(s *config.Settings) { s.CAFile = "/nowhere/ca.pem" },
		"a cloud of dreams":   func(s *config.Settings) { s.AzureCloud = "nine" },
	} {
		spoilt := *settings
		spoil(&spoilt)
		if _, _, err := doctor.Upstream(&spoilt, doctor.Options{}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if len(w.Calls()) != 0 {
		t.Errorf("asked: %v", w.Calls())
	}
}
