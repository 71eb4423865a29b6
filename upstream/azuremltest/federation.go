package azuremltest

import (
	"errors"
	"time"
)

// federatedAudience is whom a token is for that is exchanged for Entra's.
const federatedAudience = "api://AzureADTokenExchange"

// FederatedToken returns what Kubernetes projects into a pod for a workload
// identity: a token of its own about a service account, which the client may use
// for an hour as its assertion, instead of a secret. The cluster that would issue
// it is left out: the authority trusts it and knows its tokens.
func (a *Azure) FederatedToken() (string, error) {
	return a.mint.issue("https://cluster.test", "system:serviceaccount:models:amlproxy", federatedAudience, time.Hour, nil)
}

// checkFederated refuses every other token that was issued here: an access token
// proves nothing about who carries it.
func (a *Azure) checkFederated(t token) error {
	switch {
	case t.audience != federatedAudience:
		return errors.New("no matching federated identity record found for presented assertion audience '" + t.audience + "'")
	case !a.clock.Now().Before(t.expires):
		return errors.New("the assertion has expired")
	}
	return nil
}
