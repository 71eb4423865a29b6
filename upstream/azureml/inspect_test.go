package azureml_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
)

func inspector(t *testing.T, cfg azureml.Config) *azureml.Inspector {
	t.Helper()
	i, err := azureml.NewInspector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return i
}

func TestAnInspectorKnowsWhomItWillAsk(t *testing.T) {
	cfg := stubbed(stub)
	cfg.Cloud, cfg.ARMURL, cfg.Identity.AuthorityHost = azureml.China, "", ""
	authority, arm := inspector(t, cfg).Addresses()
	if got := authority.String() + " " + arm.String(); got != "https://login.chinacloudapi.cn/ https://management.chinacloudapi.cn" {
		t.Error(got)
	}
	cfg.Client = nil
	if _, err := azureml.NewInspector(cfg); err == nil {
		t.Error("made without a client")
	}
}

func TestTheAuthorityIsAskedForTheTenant(t *testing.T) {
	const path = "GET /tenant/v2.0/.well-known/openid-configuration"
	for name, c := range map[string]struct {
		answer func(*http.Request) *http.Response
		says   string // empty: no error
	}{
		"known":     {stub[path], ""},
		"unknown":   {reply(http.StatusBadRequest, `{"error":"invalid_tenant","error_description":"AADSTS90002: Tenant 'tenant' not found."}`), "AADSTS90002"},
		"no tokens": {reply(http.StatusOK, `{"token_endpoint":"over there"}`), "token endpoint"},
		"a portal":  {reply(http.StatusOK, `<html>sign in to the guest network`), "not the JSON"},
	} {
		err := inspector(t, stubbed(answers{path: c.answer})).Tenant(t.Context())
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg := stubbed(transport(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL)
		return nil, errors.New("no")
	}))
	cfg.Identity.TenantID, cfg.Identity.ClientID, cfg.Identity.ClientSecret = "", "", rotated("")
	cfg.Identity = azureml.Identity{AuthorityHost: cfg.Identity.AuthorityHost}
	if err := inspector(t, cfg).Tenant(t.Context()); err != nil {
		t.Errorf("without a tenant: %v", err)
	}
}

// TestTheTokenSaysWhoTheIdentityIs, if it is one that says anything.
func TestTheTokenSaysWhoTheIdentityIs(t *testing.T) {
	token := func(claims string) string {
		return "eyJ0." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	for text, want := range map[string]azureml.Principal{
		token(`{"oid":"o","appid":"a","upn":"me@corp.test"}`): {ObjectID: "o", ClientID: "a", Name: "me@corp.test"},
		token(`{"azp":"p","unique_name":"live.com#me"}`):      {ClientID: "p", Name: "live.com#me"},
		token(`{"oid":7,"appid":null,"upn":"a\nb\u001b[2J"}`): {Name: "a b [2J"},
		token(`[]`): {},
		"opaque":    {},
		"a.b!.c":    {},
	} {
		i := inspector(t, stubbed(answers{
			"POST /tenant/oauth2/v2.0/token": reply(http.StatusOK, object(map[string]any{"token_type": "Bearer", "access_token": text, "expires_in": 3600})),
		}))
		for _, ask := range []func() (azureml.Principal, error){
			func() (azureml.Principal, error) { return i.SignIn(t.Context()) },
			func() (azureml.Principal, error) { return i.Entra(t.Context()) },
		} {
			got, err := ask()
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(got.Expires); left < 50*time.Minute || left > time.Hour {
				t.Errorf("it expires in %s", left)
			}
			got.Expires = time.Time{}
			if got != want {
				t.Errorf("%s: %+v, want %+v", text, got, want)
			}
		}
	}
	refused := inspector(t, stubbed(answers{
		"POST /tenant/oauth2/v2.0/token": reply(http.StatusUnauthorized, `{"error":"invalid_client","error_description":"AADSTS7000215: no"}`),
	}))
	for _, ask := range []func() (azureml.Principal, error){
		func() (azureml.Principal, error) { return refused.SignIn(t.Context()) },
		func() (azureml.Principal, error) { return refused.Entra(t.Context()) },
	} {
		if _, err := ask(); err == nil || !strings.Contains(err.Error(), "AADSTS7000215") {
			t.Errorf("%v", err)
		}
	}
}

func TestAnEndpointIsReportedAsItIs(t *testing.T) {
	service, online, serverless := azureml.Ref{Service: "m"}, azureml.Ref{Endpoint: "m"}, azureml.Ref{Serverless: "m"}
	for name, c := range map[string]struct {
		ref  azureml.Ref
		body string
		want azureml.EndpointReport
		at   string // the scoring address
		says string // the error
	}{
		"a service": {
			service, `{"computeType":"AKS","state":"Healthy","location":"westeurope","scoringUri":"http://m.test/score","authEnabled":true}`,
			azureml.EndpointReport{Kind: upstream.Key, State: "Healthy", Location: "westeurope", Compute: "AKS"},
			"http://m.test/score", "",
		},
		"a service in transition": {
			service, `{"computeType":"ACI","state":"Transitioning","authEnabled":false}`,
			azureml.EndpointReport{Kind: upstream.None, State: "Transitioning", Compute: "ACI"},
			"", "",
		},
		"a service that does not say whether": {service, `{"state":"Transitioning","authEnabled":"perhaps"}`, azureml.EndpointReport{}, "", "boolean"},
		"a service at no address":             {service, `{"scoringUri":"m.test"}`, azureml.EndpointReport{}, "", "its scoring address"},
		"an endpoint": {
			online, `{"location":"westeurope","properties":{"authMode":"AMLToken","provisioningState":"Succeeded","scoringUri":"https://m.test/score","traffic":{"a":0,"b":100}}}`,
			azureml.EndpointReport{Kind: upstream.Token, AuthMode: "AMLToken", State: "Succeeded", Location: "westeurope"},
			"https://m.test/score", "",
		},
		"an endpoint without traffic": {
			online, `{"properties":{"authMode":"Key","scoringUri":"https://m.test/score","traffic":{"a":0}}}`,
			azureml.EndpointReport{Kind: upstream.Key, AuthMode: "Key", Idle: true},
			"https://m.test/score", "",
		},
		"an endpoint without deployments": {
			online, `{"properties":{"authMode":"Key","scoringUri":"https://m.test/score","traffic":{}}}`,
			azureml.EndpointReport{Kind: upstream.Key, AuthMode: "Key", Idle: true},
			"https://m.test/score", "",
		},
		"an endpoint whose traffic makes no sense": {
			online, `{"properties":{"authMode":"Key","scoringUri":"https://m.test/score","traffic":[1]}}`,
			azureml.EndpointReport{Kind: upstream.Key, AuthMode: "Key"},
			"https://m.test/score", "",
		},
		"an endpoint of tomorrow": {
			online, `{"properties":{"authMode":"Riddle","scoringUri":"https://m.test/score"}}`,
			azureml.EndpointReport{AuthMode: "Riddle"},
			"https://m.test/score", "",
		},
		"an endpoint being created": {
			online, `{"properties":{"authMode":null,"provisioningState":"Creating","scoringUri":null,"traffic":null}}`,
			azureml.EndpointReport{State: "Creating"},
			"", "",
		},
		"a serverless endpoint": {
			serverless, `{"properties":{"provisioningState":"Succeeded","inferenceEndpoint":{"uri":"https://m.test"}}}`,
			azureml.EndpointReport{Kind: upstream.Key, State: "Succeeded"},
			"https://m.test", "",
		},
		"a serverless endpoint being created": {
			serverless, `{"properties":{"provisioningState":"Creating","inferenceEndpoint":null}}`,
			azureml.EndpointReport{Kind: upstream.Key, State: "Creating"},
			"", "",
		},
		"no JSON":   {online, `<html>`, azureml.EndpointReport{}, "", "not the JSON"},
		"no object": {online, `[]`, azureml.EndpointReport{}, "", "not the JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := reply(http.StatusOK, c.body)
			got, err := inspector(t, stubbed(answers{
				"GET " + stubV1 + "/services/m":            answer,
				"GET " + stubID + "/onlineEndpoints/m":     answer,
				"GET " + stubID + "/serverlessEndpoints/m": answer,
			})).Endpoint(t.Context(), c.ref)
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v", err)
			}
			at := ""
			if got.Scoring != nil {
				at, got.Scoring = got.Scoring.String(), nil
			}
			if diff := cmp.Diff(c.want, got); diff != "" || at != c.at {
				t.Errorf("at %q (-want +got):\n%s", at, diff)
			}
		})
	}
}

func TestAnInspectorWithoutAWorkspaceSaysSo(t *testing.T) {
	cfg := stubbed(stub)
	cfg.SubscriptionID, cfg.ResourceGroup, cfg.Workspace = "", "", ""
	i := inspector(t, cfg)
	_, look := i.Look(t.Context())
	_, hosts := i.ModelManagement(t.Context())
	_, endpoint := i.Endpoint(t.Context(), azureml.Ref{Endpoint: "m"})
	_, service := i.Endpoint(t.Context(), azureml.Ref{Service: "m"})
	_, names := i.Names(t.Context(), azureml.Ref{Endpoint: "m"})
	_, held := i.Permissions(t.Context())
	for _, err := range []error{look, hosts, endpoint, service, names, held} {
		if err == nil || !strings.Contains(err.Error(), "no workspace is configured") {
			t.Errorf("%v", err)
		}
	}
}

func TestListsAreReadToTheirEnd(t *testing.T) {
	const here = stubARM + stubID + "/onlineEndpoints"
	page := func(next string, names ...string) func(*http.Request) *http.Response {
		var value []any
		for _, name := range names {
			value = append(value, map[string]any{"name": name})
		}
		return reply(http.StatusOK, object(map[string]any{"value": value, "nextLink": next}))
	}
	var asked atomic.Int64
	for name, c := range map[string]struct {
		next string
		want int // names
		says string
	}{
		"two pages":            {here + "?page=2", 3, ""},
		"another host":         {"https://evil.test" + stubID + "/onlineEndpoints?page=2", 0, "on another host"},
		"in clear":             {strings.Replace(here, "https", "http", 1) + "?page=2", 0, "on another host"},
		"no address":           {"page 2", 0, "on another host"},
		"a page that is never": {here + "?page=1", 0, "more than 50 pages"},
	} {
		asked.Store(0)
		i := inspector(t, stubbed(transport(func(r *http.Request) (*http.Response, error) {
			switch {
			case r.URL.Host == "login.test":
				return stub.RoundTrip(r)
			case r.URL.Host != "arm.test" || r.URL.Scheme != "https":
				t.Errorf("%s: asked %s", name, r.URL)
			}
			if asked.Add(1); r.URL.Query().Get("page") == "2" {
				return page("", "c")(r), nil
			}
			return page(c.next, "a", "b")(r), nil
		})))
		names, err := i.Names(t.Context(), azureml.Ref{Endpoint: "m"})
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if c.want > 0 && len(names) != c.want || asked.Load() > 50 {
			t.Errorf("%s: %q after %d questions", name, names, asked.Load())
		}
	}
}

func TestWhatAnIdentityMayDo(t *testing.T) {
	const ml = "Microsoft.MachineLearningServices/workspaces/"
	i := inspector(t, stubbed(answers{
		"GET " + stubID + "/providers/Microsoft.Authorization/permissions": reply(http.StatusOK, object(map[string]any{"value": []any{
			map[string]any{"actions": []any{"Microsoft.Authorization/*/read", ml + "*/action", 7}, "notActions": []any{"microsoft.machinelearningservices/WORKSPACES/listKeys/action"}},
			map[string]any{"actions": []any{ml + "online*/wr*e"}, "notActions": nil},
			map[string]any{},
		}})),
	}))
	held, err := i.Permissions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for action, want := range map[string]bool{
		"Microsoft.Authorization/roleAssignments/read":  true,
		"Microsoft.Authorization/roleAssignments/write": false,
		ml + "onlineEndpoints/listKeys/action":          true,
		ml + "listKeys/action":                          false,
		ml + "onlineEndpoints/write":                    true,
		ml + "onlineEndpoints/deployments/write":        true,
		ml + "write":                                    false,
		"":                                              false,
	} {
		if held.Allow(action) != want {
			t.Errorf("%s: %v", action, !want)
		}
	}
	if !(azureml.Permissions{{Actions: []string{"*"}}}).Allow(ml+"delete") || (azureml.Permissions{{Actions: []string{"a*a"}}}).Allow("a") {
		t.Error("a star is any text, and takes none of what is beside it")
	}
}

// TestCommandsAreMadeToBePasted: nothing in them is for the shell to act on.
func TestCommandsAreMadeToBePasted(t *testing.T) {
	cfg := stubbed(stub)
	cfg.Workspace = "it's $(mine)"
	i := inspector(t, cfg)
	action, scope, grant := i.ScoreGrant("fraud", azureml.Principal{ObjectID: "object"})
	if want := "az role assignment create --assignee client --role 'AzureML Data Scientist' --scope '" + strings.ReplaceAll(scope, "'", `'\''`) + "'"; grant != want {
		t.Errorf("%s\nwant %s", grant, want)
	}
	if !strings.HasSuffix(action, "/onlineEndpoints/score/action") || !strings.HasSuffix(scope, "/workspaces/it's $(mine)/onlineEndpoints/fraud") {
		t.Errorf("%s on %s", action, scope)
	}
	commands := i.LeastRole([]string{"a/read"}, azureml.Principal{})
	if len(commands) != 2 || !strings.Contains(commands[0], `"Actions":["a/read"],"AssignableScopes":["/subscriptions/sub/resourceGroups/group"]`) ||
		!strings.Contains(commands[1], `--role 'amlproxy it'\''s $(mine)' --scope '/subscriptions/`) {
		t.Errorf("%q", commands)
	}
	cfg.Identity = azureml.Identity{AuthorityHost: "https://login.test"}
	i = inspector(t, cfg)
	for who, want := range map[azureml.Principal]string{{ObjectID: "o", ClientID: "c"}: "--assignee o ", {ClientID: "c"}: "--assignee c ", {}: "--assignee OBJECT_ID "} {
		if _, _, grant := i.ScoreGrant("fraud", who); !strings.Contains(grant, want) {
			t.Errorf("%+v: %s", who, grant)
		}
	}
}

// FuzzInspect: whatever the workspace answers is a report with something printable
// in it, or an error that names the operation.
func FuzzInspect(f *testing.F) {
	var answer variable
	a := answers{}
	for _, path := range []string{stubID + "/onlineEndpoints/m", stubID + "/serverlessEndpoints/m", stubV1 + "/services/m", stubID + "/onlineEndpoints", stubID + "/providers/Microsoft.Authorization/permissions"} {
		a["GET "+path] = answer.answer
	}
	i, err := azureml.NewInspector(stubbed(a))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = i.Close() })
	f.Add(`{"state":"Healthy","location":"x","scoringUri":"http://m.test/score","authEnabled":true,"computeType":"AKS"}`)
	f.Add(`{"location":"x","properties":{"authMode":"Key","traffic":{"a":100},"scoringUri":"https://m.test","inferenceEndpoint":{"uri":"https://m.test"}}}`)
	f.Add(`{"value":[{"name":"a","actions":["*"],"notActions":["a/*"]}],"nextLink":null}`)
	f.Add(`{"value":[null,7]}`)
	f.Fuzz(func(t *testing.T, body string) {
		answer.set(http.StatusOK, body)
		for _, ref := range []azureml.Ref{{Service: "m"}, {Endpoint: "m"}, {Serverless: "m"}} {
			report, err := i.Endpoint(t.Context(), ref)
			if err != nil && report != (azureml.EndpointReport{}) {
				t.Errorf("%+v besides %v", report, err)
			}
			printable(t, err, report.State, report.AuthMode, report.Location, report.Compute)
		}
		names, err := i.Names(t.Context(), azureml.Ref{Endpoint: "m"})
		printable(t, err, names...)
		held, err := i.Permissions(t.Context())
		printable(t, err)
		held.Allow("Microsoft.MachineLearningServices/workspaces/write")
	})
}

func printable(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err != nil {
		var e *azureml.Error
		if !errors.As(err, &e) || e.Op == "" {
			t.Errorf("%v", err)
		}
		texts = append(texts, err.Error())
	}
	if all := fmt.Sprint(texts); strings.ContainsAny(all, "\n\r\x1b\x00") {
		t.Errorf("%q", all)
	}
}
