package azuremltest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"amlproxy/upstream/azuremltest"
)

func TestAFederatedTokenProvesTheClientAndNoOtherTokenDoes(t *testing.T) {
	clock := newHandClock()
	a := start(t, azuremltest.Options{Clock: clock})
	c := client(t, a)
	federated := must[string](t)(a.FederatedToken())
	exchange := func(assertion string) reply {
		return askToken(t, c, a, url.Values{
			"client_secret": nil, "client_assertion": {assertion},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		})
	}
	r := exchange(federated)
	if r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", r.Status, r.body)
	}
	if r := exchange(r.field(t, "access_token")); r.StatusCode != http.StatusUnauthorized || !strings.Contains(r.body, "AADSTS700027") {
		t.Errorf("an access token: %s: %s", r.Status, r.body)
	}
	clock.advance(time.Hour)
	if r := exchange(federated); r.StatusCode != http.StatusUnauthorized || !strings.Contains(r.body, "expired") {
		t.Errorf("an hour later: %s: %s", r.Status, r.body)
	}
}
