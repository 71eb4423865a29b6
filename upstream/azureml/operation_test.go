package azureml_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
)

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
