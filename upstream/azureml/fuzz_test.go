package azureml_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
)

// checkLease holds for whatever the workspace answers: an error, or a lease
// that sends a request somewhere with the credential that its kind needs.
func checkLease(t *testing.T, lease *upstream.Lease, err error) {
	t.Helper()
	if err != nil {
		if lease != nil {
			t.Error("a lease besides an error")
		}
		if len(err.Error()) > 8<<10 || strings.ContainsAny(err.Error(), "\r\x00\x1b") {
			t.Errorf("an unreadable error: %q", err)
		}
		return
	}
	switch {
	case lease.Scoring == nil || lease.Scoring.Host == "" || lease.Scoring.Scheme != "http" && lease.Scoring.Scheme != "https" || lease.Scoring.User != nil:
		t.Errorf("no address: %v", lease.Scoring)
	case lease.Kind != upstream.None && lease.Primary.IsZero():
		t.Errorf("a %s that is empty", lease.Kind)
	case lease.Kind == upstream.None && !lease.Primary.IsZero():
		t.Error("a credential that nobody wants")
	case strings.ContainsAny(lease.Primary.Reveal()+lease.Secondary.Reveal(), "\r\n\x00"):
		t.Error("a credential that breaks a header")
	case lease.Description != nil && (lease.Description.Host != lease.Scoring.Host || lease.Description.Scheme != lease.Scoring.Scheme):
		t.Errorf("the description is at %s", lease.Description)
	case !lease.Expires.IsZero() && lease.Refresh.After(lease.Expires):
		t.Error("a refresh after the expiry")
	}
}

// variable is an answer that each input of a fuzz target replaces.
type variable struct {
	status atomic.Int64
	body   atomic.Pointer[string]
}

func (v *variable) set(status int, body string) {
	v.status.Store(int64(status))
	v.body.Store(&body)
}

func (v *variable) answer(r *http.Request) *http.Response {
	return reply(int(v.status.Load()), *v.body.Load())(r)
}

// fuzzed opens a workspace for all inputs of a fuzz target.
func fuzzed(f *testing.F, a answers) *azureml.Workspace {
	f.Helper()
	w, err := azureml.New(stubbed(a))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = w.Close() })
	return w
}

func FuzzService(f *testing.F) {
	var service, keys, token variable
	path := stubV1 + "/services/m"
	w := fuzzed(f, answers{"GET " + path: service.answer, "POST " + path + "/listkeys": keys.answer, "POST " + path + "/token": token.answer})
	for _, body := range []string{
		`{"scoringUri":"http://m.test/score","authEnabled":true}`, `{"scoringUri":"http://m.test/score","aadAuthEnabled":true,"swaggerUri":"http://m.test/swagger.json"}`,
		`{"scoringUri":"http://m.test/score","authEnabled":false,"aadAuthEnabled":null}`, `{"state":"Failed"}`, `null`,
	} {
		f.Add(body, `{"primaryKey":"a","secondaryKey":"b"}`, `{"accessToken":"t","expiryOn":4102444800,"refreshAfter":4102444700}`)
	}
	f.Add(`{"scoringUri":"http://m.test/score","aadAuthEnabled":true}`, `{}`, `{"accessToken":"","expiryOn":1e18,"refreshAfter":-1}`)
	f.Fuzz(func(t *testing.T, s, k, tok string) {
		service.set(http.StatusOK, s)
		keys.set(http.StatusOK, k)
		token.set(http.StatusCreated, tok)
		for _, mode := range []azureml.Mode{azureml.Auto, azureml.Mode(upstream.Key), azureml.Mode(upstream.Token)} {
			lease, err := w.Service("m", mode).Fetch(t.Context(), nil)
			checkLease(t, lease, err)
		}
	})
}

func FuzzEndpoint(f *testing.F) {
	var endpoint, keys, token variable
	a := answers{}
	for _, collection := range []string{"/onlineEndpoints/m", "/serverlessEndpoints/m"} {
		a["GET "+stubID+collection] = endpoint.answer
		a["POST "+stubID+collection+"/listKeys"] = keys.answer
		a["POST "+stubID+collection+"/token"] = token.answer
	}
	w := fuzzed(f, a)
	for _, mode := range []string{"Key", "AMLToken", "AADToken", ""} {
		f.Add(object(map[string]any{"properties": map[string]any{
			"authMode": mode, "scoringUri": "https://m.test/score", "inferenceEndpoint": map[string]any{"uri": "https://m.test"},
		}}), `{"primaryKey":"a","secondaryKey":"b"}`, `{"accessToken":"t","expiryTimeUtc":4102444800,"refreshAfterTimeUtc":4102444700}`)
	}
	f.Fuzz(func(t *testing.T, e, k, tok string) {
		endpoint.set(http.StatusOK, e)
		keys.set(http.StatusOK, k)
		token.set(http.StatusOK, tok)
		for _, s := range []upstream.Source{w.Endpoint("m", "", azureml.Auto), w.Serverless("m")} {
			lease, err := s.Fetch(t.Context(), nil)
			checkLease(t, lease, err)
		}
	})
}

// FuzzHosts proves that no map of hosts gets the identity's token sent in clear.
func FuzzHosts(f *testing.F) {
	f.Add(`{"properties":{"discoveryUrl":"https://mm.test/discovery"}}`, `{"api":"https://mm.test","modelmanagement":"https://other.test"}`)
	f.Add(`{"properties":{"discoveryUrl":"http://mm.test/discovery"}}`, `{"api":"http://mm.test"}`)
	f.Add(`null`, `[]`)
	f.Fuzz(func(t *testing.T, workspace, hosts string) {
		cfg := stubbed(transport(func(r *http.Request) (*http.Response, error) {
			if r.URL.Scheme != "https" {
				t.Errorf("asked %s", r.URL)
			}
			switch {
			case r.URL.Host == "arm.test":
				return reply(http.StatusOK, workspace)(r), nil
			case r.URL.Host == "login.test":
				return stub.RoundTrip(r)
			case r.Header.Get("Authorization") == "":
				return reply(http.StatusOK, hosts)(r), nil
			}
			return reply(http.StatusOK, `{"scoringUri":"https://m.test/score"}`)(r), nil
		}))
		w, err := azureml.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = w.Close() }()
		lease, err := w.Service("m", azureml.Auto).Fetch(t.Context(), nil)
		checkLease(t, lease, err)
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// FuzzErrors proves that whatever a refusal says, the error names operation and
// status, and nothing of it can act on a terminal or in a shell.
func FuzzErrors(f *testing.F) {
	var refusal variable
	w := fuzzed(f, answers{"GET " + stubID + "/onlineEndpoints/m": refusal.answer})
	f.Add(http.StatusForbidden, `{"error":{"code":"AuthorizationFailed","message":"The client 'x' with object id 'y' does not have authorization to perform action 'a/read' over scope '/s' or the scope is invalid."}}`)
	f.Add(http.StatusBadRequest, `{"code":"BadRequest","statusCode":400,"message":"no","details":[]}`)
	f.Add(http.StatusConflict, `{"error":"invalid","error_description":"x"}`)
	f.Add(http.StatusNotFound, `{"error":{"code":7,"message":null}}`)
	f.Add(http.StatusGone, `<html>`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		switch {
		case status < 300 || status > 599, // not a refusal, or not HTTP
			status == http.StatusUnauthorized, status == http.StatusRequestTimeout, status >= 500: // asked twice: slow
			return
		}
		refusal.set(status, body)
		lease, err := w.Endpoint("m", "", azureml.Auto).Fetch(context.Background(), nil)
		checkLease(t, lease, err)
		var e *azureml.Error
		if !errors.As(err, &e) || e.Status != status || !strings.HasPrefix(err.Error(), "getting endpoint m: ") {
			t.Fatalf("%v", err)
		}
		if strings.ContainsAny(err.Error(), "\n\r\x1b\x00") {
			t.Errorf("%q", err)
		}
		if _, scope, found := strings.Cut(e.Grant, "--scope "); found && strings.ContainsAny(scope, "$`;&|<>") && !strings.HasPrefix(scope, "'") {
			t.Errorf("a shell would act on: %s", e.Grant)
		}
	})
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"subscription_id":"s","resource_group":"g","workspace_name":"w"}`))
	f.Add([]byte(`{"Scope":"/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := azureml.ParseConfig("config.json", data)
		if err != nil {
			if l != (azureml.Location{}) || !strings.Contains(err.Error(), "config.json") {
				t.Errorf("%+v, %v", l, err)
			}
			return
		}
		if n := strings.Count(l.ID(), "/"); n != 8 {
			t.Errorf("an id with %d slashes: %s", n, l.ID())
		}
		cfg := stubbed(stub)
		cfg.SubscriptionID, cfg.ResourceGroup, cfg.Workspace = l.SubscriptionID, l.ResourceGroup, l.Workspace
		w, err := azureml.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
	})
}
