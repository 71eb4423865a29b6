// Package upstream reaches a scoring endpoint with the right credential.
//
// Three pieces compose, as in golang.org/x/oauth2: a [Source] asks somebody
// what an endpoint wants (package azureml asks the workspace), [Cached] keeps
// the answer, renews it before anybody waits and settles what a 401 means, and
// [Transport] sends a request with it, and once more after a 401.
//
// The package knows nothing of Azure, of callers or of routes. It never
// follows a redirect, never sends a credential to a host that the Source did
// not name, and never sends a request a third time.
package upstream
