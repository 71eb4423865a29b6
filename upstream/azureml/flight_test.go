package azureml_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/upstream/azureml"
)

// TestPanicWhileAskingTheWorkspace: F47. What is asked for several who wait is on
// no request's goroutine, so a panic there would end the process. It fails those
// who wait, and the next fetch works.
func TestPanicWhileAskingTheWorkspace(t *testing.T) {
	for name, at := range map[string]string{"token": "POST /tenant/oauth2/v2.0/token", "hosts": "GET /discovery"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mistaken := true
				s := open(t, stubbed(stub.with(answers{
					at: func(r *http.Request) *http.Response {
						if mistaken {
							panic("a mistake")
						}
						return stub[at](r)
					},
					"GET " + stubV1 + "/services/m": reply(http.StatusOK, `{"scoringUri":"http://m.test/score"}`),
				}))).Service("m", azureml.Auto)
				_, err := s.Fetch(t.Context(), nil)
				if err == nil {
					t.Fatal("no error")
				}
				wantText(t, err, "a panic: a mistake, in ")
				mistaken = false
				time.Sleep(time.Minute) // the call that it happened in is given up
				fetch(t, s, nil)
			})
		})
	}
}
