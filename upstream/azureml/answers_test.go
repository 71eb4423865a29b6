package azureml_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
)

// v1 is a workspace in which service m is described by body and its keys and
// tokens are those given.
func v1(t *testing.T, body, keys, token string) upstream.Source {
	t.Helper()
	path := stubV1 + "/services/m"
	return open(t, stubbed(answers{
		"GET " + path:                reply(http.StatusAccepted, body), // any 2xx
		"POST " + path + "/listkeys": reply(http.StatusCreated, keys),
		"POST " + path + "/token":    reply(http.StatusCreated, token),
	})).Service("m", azureml.Auto)
}

func TestServicesAreReadLeniently(t *testing.T) {
	const keys = `{"primaryKey":"a b","secondaryKey":null,"more":[]}`
	for name, c := range map[string]struct {
		body string
		want upstream.Kind
		says string
	}{
		"only what matters":      {`{"scoringUri":"http://m.test/score"}`, upstream.None, ""},
		"nulls":                  {`{"scoringUri":"http://m.test/score","authEnabled":null,"aadAuthEnabled":null,"swaggerUri":null,"state":null,"computeType":null}`, upstream.None, ""},
		"another type":           {`{"scoringUri":"https://m.test/score","swaggerUri":7,"computeType":{},"kvTags":3}`, upstream.None, ""},
		"a flag as text":         {`{"scoringUri":"https://m.test/score","authEnabled":"True"}`, upstream.Key, ""},
		"both modes":             {`{"scoringUri":"https://m.test/score","authEnabled":true,"aadAuthEnabled":true}`, upstream.Token, ""},
		"a flag that is none":    {`{"scoringUri":"https://m.test/score","authEnabled":"maybe"}`, "", "by a boolean"},
		"a flag that is 1":       {`{"scoringUri":"https://m.test/score","aadAuthEnabled":1}`, "", "by a boolean"},
		"no address yet":         {`{"state":"Transitioning","authEnabled":true}`, "", "it has no scoring address; its state is Transitioning"},
		"no address, no state":   {`{}`, "", "its state is unknown"},
		"nothing":                {`null`, "", "its state is unknown"},
		"empty":                  {``, "", "not the JSON"},
		"a list":                 {`[]`, "", "not the JSON"},
		"another scheme":         {`{"scoringUri":"file:///etc/passwd"}`, "", "not an absolute http or https address"},
		"a relative address":     {`{"scoringUri":"/score"}`, "", "not an absolute"},
		"without a host":         {`{"scoringUri":"http:///score"}`, "", "not an absolute"},
		"an opaque address":      {`{"scoringUri":"https:m.test"}`, "", "not an absolute"},
		"a user in the address":  {`{"scoringUri":"https://u:p4ss@m.test/score"}`, "", "user"},
		"a control character":    {`{"scoringUri":"https://m.test/\u0000score"}`, "", "not an address"},
		"a state with a newline": {`{"state":"a\n\u001b[2Jb"}`, "", "its state is a [2Jb"},
	} {
		lease, err := v1(t, c.body, keys, `{"accessToken":"t","expiryOn":9999999999}`).Fetch(t.Context(), nil)
		if (err == nil) != (c.says == "") || err == nil && lease.Kind != c.want {
			t.Errorf("%s: %+v, %v", name, lease, err)
		}
		if err != nil {
			wantText(t, err, "getting service m: 202", c.says)
			if strings.Contains(err.Error(), "p4ss") {
				t.Errorf("%s: a password in: %v", name, err)
			}
		}
	}
}

func TestADescriptionOnAnotherHostIsIgnored(t *testing.T) {
	for swagger, want := range map[string]string{
		"https://m.test/api/swagger.json":  "https://m.test/api/swagger.json",
		"https://evil.test/swagger.json":   "",
		"https://m.test:444/swagger.json":  "",
		"http://m.test/swagger.json":       "", // in clear, which scoring is not
		"https://u@m.test/swagger.json":    "",
		"/swagger.json":                    "",
		"https://m.test.evil/swagger.json": "",
	} {
		lease := fetch(t, v1(t, object(map[string]any{"scoringUri": "https://m.test/score", "swaggerUri": swagger}), "", ""), nil)
		got := ""
		if lease.Description != nil {
			got = lease.Description.String()
		}
		if got != want {
			t.Errorf("%s: %q", swagger, got)
		}
	}
}

func TestKeysAreWhateverTheDeployerChose(t *testing.T) {
	const service = `{"scoringUri":"http://m.test/score","authEnabled":true,"computeType":"ACI"}`
	for keys, want := range map[string][2]string{
		`{"primaryKey":"a b","secondaryKey":"ü/+="}`: {"a b", "ü/+="},
		`{"primaryKey":"one","secondaryKey":null}`:   {"one", ""},
		`{"primaryKey":"","secondaryKey":"two"}`:     {"two", ""},
		`{"secondaryKey":"two"}`:                     {"two", ""},
		`{"primaryKey":"one","secondaryKey":"one"}`:  {"one", "one"},
		`{"primaryKey":null}`:                        {},
		`{}`:                                         {},
		`null`:                                       {},
		`"one"`:                                      {},
		`{"primaryKey":1}`:                           {},
		`{"primaryKey":"one","secondaryKey":"a\r\nb:c"}`: {},
	} {
		lease, err := v1(t, service, keys, "").Fetch(t.Context(), nil)
		if want[0] == "" {
			if err == nil {
				t.Errorf("%s: %+v", keys, lease)
			}
			continue
		}
		if err != nil || lease.Primary.Reveal() != want[0] || lease.Secondary.Reveal() != want[1] {
			t.Errorf("%s: %v", keys, err)
		}
	}
}

func TestTimesOfATokenThatMakeNoSense(t *testing.T) {
	const service = `{"scoringUri":"http://m.test/score","aadAuthEnabled":true}`
	now := time.Now()
	hour, day := now.Add(time.Hour), now.Add(24*time.Hour)
	for name, c := range map[string]struct {
		expiry, refresh any
		wantExpiry      time.Time
		wantRefresh     time.Time
		fails           bool
	}{
		"as documented":            {day.Unix(), now.Add(30 * time.Minute).Unix(), day, now.Add(30 * time.Minute), false},
		"as text":                  {object(nil), "x", time.Time{}, hour, false},
		"numbers in strings":       {day.Format("20060102"), "0", time.Unix(20260102, 0), time.Time{}, true},
		"fractions":                {float64(day.Unix()) + 0.5, float64(now.Unix()) + 1800.25, day, now.Add(30 * time.Minute), false},
		"without a refresh time":   {now.Add(20 * time.Minute).Unix(), nil, now.Add(20 * time.Minute), now.Add(10 * time.Minute), false},
		"refresh after expiry":     {now.Add(20 * time.Minute).Unix(), day.Unix(), now.Add(20 * time.Minute), now.Add(10 * time.Minute), false},
		"refresh in the past":      {now.Add(20 * time.Minute).Unix(), 1, now.Add(20 * time.Minute), now.Add(10 * time.Minute), false},
		"without an expiry":        {nil, now.Add(30 * time.Minute).Unix(), time.Time{}, now.Add(30 * time.Minute), false},
		"an expiry beyond time":    {1e300, nil, time.Time{}, hour, false},
		"a negative expiry":        {-5, nil, time.Time{}, hour, false},
		"expired when it was sent": {now.Add(-time.Minute).Unix(), nil, time.Time{}, time.Time{}, true},
	} {
		token := object(map[string]any{"accessToken": "t", "expiryOn": c.expiry, "refreshAfter": c.refresh})
		lease, err := v1(t, service, "", token).Fetch(t.Context(), nil)
		if c.fails {
			if err == nil {
				t.Errorf("%s: %+v", name, lease)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if near := func(a, b time.Time) bool { return a.Sub(b).Abs() < 5*time.Second }; !near(lease.Expires, c.wantExpiry) || !near(lease.Refresh, c.wantRefresh) {
			t.Errorf("%s: expires %s, refresh %s", name, lease.Expires, lease.Refresh)
		}
	}
}

func TestEndpointsAreReadLeniently(t *testing.T) {
	get := "GET " + stubID + "/onlineEndpoints/m"
	for body, want := range map[string]upstream.Kind{
		`{"properties":{"authMode":"KEY","scoringUri":"https://m.test/score"}}`:      upstream.Key,
		`{"properties":{"authMode":"amltoken","scoringUri":"https://m.test/score"}}`: upstream.Token,
		`{"properties":{"authMode":"aadToken","scoringUri":"https://m.test/score"}}`: upstream.Entra,
		`{"properties":{"authMode":"OAuth3","scoringUri":"https://m.test/score"}}`:   "",
		`{"properties":{"authMode":null,"scoringUri":"https://m.test/score"}}`:       "",
		`{"properties":{"authMode":"Key","provisioningState":"Creating"}}`:           "",
		`{"properties":null}`: "",
		`{}`:                  "",
	} {
		s := open(t, stubbed(answers{
			get: reply(http.StatusOK, body),
			"POST " + stubID + "/onlineEndpoints/m/listKeys": reply(http.StatusOK, `{"primaryKey":"k"}`),
			"POST " + stubID + "/onlineEndpoints/m/token":    reply(http.StatusOK, `{"accessToken":"t","expiryTimeUtc":9999999999,"refreshAfterTimeUtc":9999999998}`),
		})).Endpoint("m", "blue", azureml.Auto)
		lease, err := s.Fetch(t.Context(), nil)
		if (err == nil) != (want != "") || err == nil && (lease.Kind != want || lease.Deployment != "blue") {
			t.Errorf("%s: %+v, %v", body, lease, err)
		}
		if err != nil {
			wantText(t, err, "endpoint m")
		}
	}
}

func TestServerlessEndpointsWithoutKeysAreNotGuessedAt(t *testing.T) {
	for body, ok := range map[string]bool{
		`{"properties":{"inferenceEndpoint":{"uri":"https://m.test"}}}`:                       true,
		`{"properties":{"authMode":"Key","inferenceEndpoint":{"uri":"https://m.test/v1"}}}`:   true,
		`{"properties":{"authMode":"Other","inferenceEndpoint":{"uri":"https://m.test/v1"}}}`: false,
		`{"properties":{"authMode":"Key","inferenceEndpoint":null}}`:                          false,
	} {
		s := open(t, stubbed(answers{
			"GET " + stubID + "/serverlessEndpoints/m":           reply(http.StatusOK, body),
			"POST " + stubID + "/serverlessEndpoints/m/listKeys": reply(http.StatusOK, `{"primaryKey":"k"}`),
		})).Serverless("m")
		if lease, err := s.Fetch(t.Context(), nil); (err == nil) != ok {
			t.Errorf("%s: %+v, %v", body, lease, err)
		}
	}
}

func TestHostsComeFromTheWorkspaceAlone(t *testing.T) {
	answer := reply(http.StatusOK, `{"scoringUri":"http://m.test/score"}`)
	for hosts, want := range map[string]string{
		`{"api":"https://one.test","modelmanagement":"https://two.test"}`: "one.test",
		`{"api":"one.test/","history":3}`:                                 "one.test",
		`{"api":null,"modelmanagement":"https://two.test/"}`:              "two.test",
		`{"api":"http://one.test"}`:                                       "", // a token would go over it in clear
		`{"api":"https://one.test?x=y"}`:                                  "",
		`{"api":"https://"}`:                                              "",
		`{}`:                                                              "",
		`[]`:                                                              "",
	} {
		asked := ""
		_, err := open(t, stubbed(answers{
			"GET /discovery": func(r *http.Request) *http.Response {
				if r.Header.Get("Authorization") != "" {
					t.Error("discovery was sent a token")
				}
				return reply(http.StatusOK, hosts)(r)
			},
			"GET " + stubV1 + "/services/m": func(r *http.Request) *http.Response {
				asked = r.URL.Host
				if r.Header.Get("Authorization") != "Bearer "+entraToken {
					t.Error("model management was sent no token")
				}
				return answer(r)
			},
		})).Service("m", azureml.Auto).Fetch(t.Context(), nil)
		if asked != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", hosts, asked, err)
		}
	}
	for _, workspace := range []string{`{}`, `{"properties":null}`, `{"properties":{"discoveryUrl":"http://mm.test/discovery"}}`, `{"properties":{"discoveryUrl":"mm.test"}}`} {
		_, err := open(t, stubbed(answers{"GET " + stubID: reply(http.StatusOK, workspace)})).Service("m", azureml.Auto).Fetch(t.Context(), nil)
		if err == nil {
			t.Fatalf("%s was taken", workspace)
		}
		wantText(t, err, "getting service m: getting the workspace: 200")
	}
}

func TestHTTPIsAllowedOnlyWhereTheSettingSaysSo(t *testing.T) {
	cfg := stubbed(answers{
		"GET " + stubID:                 reply(http.StatusOK, `{"properties":{"discoveryUrl":"http://mm.test/discovery"}}`),
		"GET /discovery":                reply(http.StatusOK, `{"api":"http://mm.test"}`),
		"GET " + stubV1 + "/services/m": reply(http.StatusOK, `{"scoringUri":"http://m.test/score"}`),
	})
	cfg.ARMURL = "http://127.0.0.1:1"
	fetch(t, open(t, cfg).Service("m", azureml.Auto), nil)
}

func TestNamesCannotReachAnotherResource(t *testing.T) {
	var path string
	w := open(t, stubbed(answers{"GET " + stubV1 + "/services/a%20b%3Fc%23d%25e": func(r *http.Request) *http.Response {
		path = r.URL.EscapedPath()
		return reply(http.StatusOK, `{"scoringUri":"http://m.test/score"}`)(r)
	}}))
	fetch(t, w.Service("a b?c#d%e", azureml.Auto), nil)
	if path == "" {
		t.Error("the name was not escaped")
	}
	for _, name := range []string{"", ".", "..", "../../x", `a\b`, "a\nb"} {
		for _, s := range []upstream.Source{w.Service(name, azureml.Auto), w.Endpoint(name, "", azureml.Auto), w.Serverless(name)} {
			if _, err := s.Fetch(t.Context(), nil); err == nil {
				t.Errorf("the name %q was taken", name)
			}
		}
	}
	if _, err := w.Endpoint("m", "blue\r\nX: y", azureml.Auto).Fetch(t.Context(), nil); err == nil {
		t.Error("a deployment that breaks a header was taken")
	}
}

func TestALeaseCannotBeChangedFromOutside(t *testing.T) {
	s := v1(t, `{"scoringUri":"https://m.test/score","authEnabled":true}`, `{"primaryKey":"k"}`, "")
	first := fetch(t, s, nil)
	first.Scoring.Host = "evil.test"
	if second := fetch(t, s, &upstream.Lease{Kind: upstream.Key, Primary: secret.New("k")}); second.Scoring.Host != "m.test" {
		t.Error(second.Scoring)
	}
}
