package azureml_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/upstream/azureml"
)

func TestHostsAreDiscoveredAnewWhenTheyDoNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host, discoveries, armDown := "one.test", 0, false
		asked := ""
		s := open(t, stubbed(answers{
			"GET " + stubID: func(r *http.Request) *http.Response {
				if armDown {
					return reply(http.StatusBadRequest, "")(r)
				}
				return stub["GET "+stubID](r)
			},
			"GET /discovery": func(r *http.Request) *http.Response {
				discoveries++
				return reply(http.StatusOK, `{"api":"`+host+`"}`)(r)
			},
			"GET " + stubV1 + "/services/m": func(r *http.Request) *http.Response {
				asked = r.URL.Host
				if asked != host {
					return nil
				}
				return reply(http.StatusOK, `{"scoringUri":"http://m.test/score"}`)(r)
			},
		})).Service("m", azureml.Auto)

		fetch(t, s, nil)
		fetch(t, s, nil)
		if discoveries != 1 {
			t.Errorf("%d discoveries", discoveries)
		}
		armDown, host = true, "two.test" // a private link was made while ARM is down
		_ = failure(t, s)
		_ = failure(t, s) // the old host is tried, there is no other
		if asked != "one.test" || discoveries != 1 {
			t.Errorf("asked %s, %d discoveries", asked, discoveries)
		}
		armDown = false
		fetch(t, s, nil)
		if asked != "two.test" || discoveries != 2 {
			t.Errorf("asked %s, %d discoveries", asked, discoveries)
		}
	})
}

func TestServicesGoOnWhileAzureResourceManagerIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := false
		s := open(t, stubbed(answers{
			"GET " + stubID: func(r *http.Request) *http.Response {
				if down {
					return nil
				}
				return stub["GET "+stubID](r)
			},
			"GET " + stubV1 + "/services/m": reply(http.StatusOK, `{"scoringUri":"http://m.test/score"}`),
		})).Service("m", azureml.Auto)
		lease := fetch(t, s, nil)
		down = true
		for range 48 {
			time.Sleep(time.Hour)
			lease = fetch(t, s, lease)
		}
	})
}
