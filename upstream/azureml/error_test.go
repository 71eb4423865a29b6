package azureml_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
	"amlproxy/upstream/azuremltest"
)

// failure fetches and returns the typed error.
func failure(t *testing.T, s upstream.Source) *azureml.Error {
	t.Helper()
	lease, err := s.Fetch(t.Context(), nil)
	if err == nil {
		t.Fatalf("no error but %+v", lease)
	}
	var e *azureml.Error
	if !errors.As(err, &e) {
		t.Fatalf("%T: %v", err, err)
	}
	return e
}

func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
}

func TestAMissingPermissionIsNamedWithTheCommandThatGrantsIt(t *testing.T) {
	const provider = "Microsoft.MachineLearningServices/workspaces/"
	a := startAzure(t, azuremltest.Options{})
	must(a.AddService(azuremltest.Service{Name: "aks", Compute: azuremltest.AKS, Model: model}))(t)
	must(a.AddService(azuremltest.Service{Name: "aci", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: model}))(t)
	must(a.AddEndpoint(azuremltest.Endpoint{Name: "v2", Model: model}))(t)
	w := open(t, config(t, a))
	workspace := azureml.Location{SubscriptionID: a.SubscriptionID(), ResourceGroup: a.ResourceGroup(), Workspace: a.WorkspaceName()}.ID()
	for _, c := range []struct {
		action, scope, role string
		source              upstream.Source
	}{
		{"services/aks/listkeys/action", workspace, "'AzureML Data Scientist'", w.Service("aks", azureml.Auto)},
		{"services/aci/listkeys/action", workspace, "'AzureML Data Scientist'", w.Service("aci", azureml.Auto)},
		{"onlineEndpoints/listKeys/action", workspace + "/onlineEndpoints/v2", "'AzureML Data Scientist'", w.Endpoint("v2", "", azureml.Auto)},
		{"onlineEndpoints/read", workspace + "/onlineEndpoints/v2", "Reader", w.Endpoint("v2", "", azureml.Auto)},
		{"read", workspace, "Reader", w.Service("aks", azureml.Auto)},
	} {
		a.Deny(provider + c.action)
		e := failure(t, c.source)
		a.Grant(provider + c.action)
		if e.Status != http.StatusForbidden || e.Code != "AuthorizationFailed" || !strings.EqualFold(e.Action, provider+c.action) || e.Scope != c.scope {
			t.Errorf("%s: %+v", c.action, e)
		}
		wantText(t, e, "az role assignment create --assignee ", " --role "+c.role+" --scope "+c.scope)
	}
}

func TestAPermissionErrorThatSaysNothingIsExplainedByTheOperation(t *testing.T) {
	w := open(t, stubbed(stub.with(answers{
		"GET " + stubID + "/onlineEndpoints/m": reply(http.StatusForbidden, `{"error":{"code":"AuthorizationFailed","message":null}}`),
		"GET " + stubV1 + "/services/m":        reply(http.StatusForbidden, `{"code":"Forbidden","statusCode":403,"message":"no"}`),
		"GET " + stubV1 + "/services/fw":       reply(http.StatusForbidden, `{"error":{"code":"PublicNetworkAccessDisabled","message":"a firewall"}}`),
		"GET " + stubV1 + "/services/evil": reply(http.StatusForbidden, object(map[string]any{"code": "AuthorizationFailed", "message": "The client 'x' with object id 'y' " +
			"does not have authorization to perform action 'Microsoft.X/read' over scope '/subscriptions/$(reboot)'"})),
	})))
	wantText(t, failure(t, w.Endpoint("m", "", azureml.Auto)),
		"Microsoft.MachineLearningServices/workspaces/onlineEndpoints/read on "+stubID+"/onlineEndpoints/m",
		"--assignee client --role Reader")
	wantText(t, failure(t, w.Service("m", azureml.Auto)), "403 Forbidden: no", "Microsoft.MachineLearningServices/workspaces/read on "+stubID)
	if e := failure(t, w.Service("fw", azureml.Auto)); e.Grant != "" {
		t.Errorf("a role does not open a firewall: %v", e)
	}
	wantText(t, failure(t, w.Service("evil", azureml.Auto)), "--assignee y --role Reader --scope '/subscriptions/$(reboot)'")
}

func TestThrottlingSaysWhenToAskAgain(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	must(a.AddEndpoint(azuremltest.Endpoint{Name: "m", Model: model}))(t)
	s := open(t, config(t, a)).Endpoint("m", "", azureml.Auto)
	a.Fail("listkeys", azuremltest.Fault{RetryAfter: 7 * time.Second})
	e := failure(t, s)
	var after *upstream.RetryAfterError
	if !errors.As(e, &after) || after.After != 7*time.Second || e.Status != http.StatusTooManyRequests {
		t.Errorf("%+v", e)
	}
	wantText(t, e, "listing the keys of endpoint m: 429 TooManyRequests", "7s")
	wantCalls(t, a, map[string]int{authorityToken: 1, "get endpoint/m": 1, "listkeys endpoint/m": 1}) // it was not asked again
}

func TestRetryAfterInItsOtherForms(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"0": 0, "": 0, "soon": 0, "-5": 0, "99999999999999999999": 0, "1000000": time.Hour,
		time.Now().Add(time.Minute).UTC().Format(http.TimeFormat):  time.Minute,
		time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat): 0,
	} {
		for _, status := range []int{http.StatusServiceUnavailable, http.StatusBadRequest} {
			s := open(t, stubbed(answers{"GET " + stubID + "/onlineEndpoints/m": reply(status, "", "Retry-After", value)})).Endpoint("m", "", azureml.Auto)
			got := time.Duration(0)
			var after *upstream.RetryAfterError
			if errors.As(failure(t, s), &after) {
				got = after.After
			}
			if status == http.StatusBadRequest && got != 0 || status != http.StatusBadRequest && (got > want || want-got > 2*time.Second) {
				t.Errorf("%d, Retry-After: %s: %s", status, value, got)
			}
		}
	}
}

func TestEntrasRefusalIsShortAndTellsWhenToAskAgain(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	cfg := config(t, a)
	right := cfg.Identity.ClientSecret
	cfg.Identity.ClientSecret = must(rotated(right.Reveal()), nil)(t)
	e := failure(t, open(t, cfg).Endpoint("m", "", azureml.Auto))
	wantText(t, e, "getting endpoint m: asking Entra ID for a token: 401 invalid_client: AADSTS7000215")

	a.Fail("authority token", azuremltest.Fault{Status: http.StatusTooManyRequests, RetryAfter: 5 * time.Second})
	var after *upstream.RetryAfterError
	if e := failure(t, open(t, config(t, a)).Endpoint("m", "", azureml.Auto)); !errors.As(e, &after) || after.After != 5*time.Second {
		t.Errorf("%+v", e)
	}
}

func TestNoSecretIsInAnError(t *testing.T) {
	echo := func(r *http.Request) *http.Response {
		body := ""
		if r.Body != nil {
			raw, _ := io.ReadAll(r.Body)
			body = string(raw)
		}
		return reply(http.StatusBadRequest, object(map[string]any{
			"error": "invalid_client s3cret+/=", "error_description": "you sent " + body + " and s3cret+/= and " + r.Header.Get("Authorization") + " eyJhbGciOi.eyJzdWIi.c2ln",
		}))(r)
	}
	echoARM := func(r *http.Request) *http.Response {
		return reply(http.StatusBadRequest, object(map[string]any{"error": map[string]any{"code": "Bad", "message": "you sent " + r.Header.Get("Authorization")}}))(r)
	}
	keys := "GET " + stubID + "/onlineEndpoints/k"
	for name, w := range map[string]*azureml.Workspace{
		"Entra echoes": open(t, stubbed(answers{"POST /tenant/oauth2/v2.0/token": echo})),
		"Entra echoes without JSON": open(t, stubbed(answers{"POST /tenant/oauth2/v2.0/token": func(r *http.Request) *http.Response {
			raw, _ := io.ReadAll(r.Body)
			return reply(http.StatusOK, string(raw))(r)
		}})),
		"ARM echoes": open(t, stubbed(answers{keys: echoARM})),
		"keys of a wrong type": open(t, stubbed(answers{
			keys: reply(http.StatusOK, `{"properties":{"authMode":"Key","scoringUri":"https://k.test/score"}}`),
			"POST " + stubID + "/onlineEndpoints/k/listKeys": reply(http.StatusOK, `{"primaryKey":4711471147114711,"secondaryKey":["s3cret+/="]}`),
		})),
		"keys that break a header": open(t, stubbed(answers{
			keys: reply(http.StatusOK, `{"properties":{"authMode":"Key","scoringUri":"https://k.test/score"}}`),
			"POST " + stubID + "/onlineEndpoints/k/listKeys": reply(http.StatusOK, `{"primaryKey":"s3cret+/=\r\nX: y"}`),
		})),
	} {
		err := failure(t, w.Endpoint("k", "", azureml.Auto))
		for cause := error(err); cause != nil; cause = errors.Unwrap(cause) {
			for _, secret := range []string{"s3cret", entraToken, "eyJ", "4711471147114711"} {
				if text := fmt.Sprintf("%v %+v", cause, cause); strings.Contains(text, secret) {
					t.Errorf("%s: %q is in: %s", name, secret, text)
				}
			}
		}
	}
}

func TestAnswersThatMakeNoSenseAreErrorsWithOperationAndStatus(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	must(a.AddService(azuremltest.Service{Name: "m", Compute: azuremltest.AKS, Model: model}))(t)
	for op, does := range map[string]string{
		"workspace":          "getting service m: getting the workspace",
		"discovery":          "getting service m: discovering the workspace's hosts",
		"get service/m":      "getting service m",
		"listkeys service/m": "listing the keys of service m",
		"authority token":    "asking Entra ID for a token",
	} {
		for name, c := range map[string]struct {
			fault azuremltest.Fault
			text  string
		}{
			"cut short": {azuremltest.Fault{Malformed: true}, ""},
			"huge":      {azuremltest.Fault{Size: 1<<20 + 1}, "200 answer larger than 1048576 bytes"},
			"refused":   {azuremltest.Fault{Status: http.StatusNotFound, Code: "Gone"}, "404"},
			"moved":     {azuremltest.Fault{Status: http.StatusFound, Body: "moved"}, "302"},
			"hung up":   {azuremltest.Fault{Drop: true}, ""},
		} {
			t.Run(op+" "+name, func(t *testing.T) {
				a.Fail(op, c.fault)
				defer a.Mend(op)
				s := open(t, config(t, a)).Service("m", azureml.Auto)
				_, err := s.Fetch(t.Context(), nil)
				if err == nil {
					t.Fatal("no error")
				}
				wantText(t, err, does, c.text)
			})
		}
	}
}

func TestOneFailureIsSmoothedOver(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	must(a.AddService(azuremltest.Service{Name: "m", Compute: azuremltest.AKS, Model: model}))(t)
	s := open(t, config(t, a)).Service("m", azureml.Auto)
	for _, fault := range []azuremltest.Fault{{Times: 1, Drop: true}, {Times: 1, Status: http.StatusBadGateway}} {
		for _, op := range []string{"authority token", "workspace", "discovery", "get service/m", "listkeys service/m"} {
			a.Fail(op, fault)
		}
		fetch(t, s, nil)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, path := range []string{"GET " + stubID, "GET /discovery", "GET " + stubV1 + "/services/m"} {
		s := open(t, stubbed(answers{
			path: reply(http.StatusTemporaryRedirect, "", "Location", "https://elsewhere.test/"),
			"GET /": func(*http.Request) *http.Response {
				t.Error("followed from " + path)
				return nil
			},
		})).Service("m", azureml.Auto)
		wantText(t, failure(t, s), "307", "redirects are not followed")
	}
}

// trickle sends a byte a second, for ever.
type trickle struct{ ctx context.Context }

func (b trickle) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

func (trickle) Close() error { return nil }

func TestATrickledAnswerEndsAfterFifteenSeconds(t *testing.T) {
	for _, path := range []string{"POST /tenant/oauth2/v2.0/token", "GET " + stubID, "GET /discovery", "GET " + stubV1 + "/services/m"} {
		synctest.Test(t, func(t *testing.T) {
			w := open(t, stubbed(answers{path: func(r *http.Request) *http.Response {
				return &http.Response{StatusCode: http.StatusOK, Body: trickle{r.Context()}}
			}}))
			start := time.Now()
			e := failure(t, w.Service("m", azureml.Auto))
			if took := time.Since(start); took < 14*time.Second || took > 16*time.Second {
				t.Errorf("%s: %s: %v", path, took, e)
			}
			if !errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("%s: %v", path, e)
			}
		})
	}
}

func TestACallerWhoGivesUpIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, stubbed(answers{"POST /tenant/oauth2/v2.0/token": func(r *http.Request) *http.Response {
			return &http.Response{StatusCode: http.StatusOK, Body: trickle{r.Context()}}
		}})).Endpoint("m", "", azureml.Auto)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := s.Fetch(ctx, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
			t.Errorf("%s: %v", time.Since(start), err)
		}
	})
}
