package azuremltest

import (
	"net/http"
	"strings"
)

// Deny takes the permission to do these actions from the principal, for example
// "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/listKeys/action".
func (a *Azure) Deny(actions ...string) { a.permit(actions, false) }

// Grant gives them back. In the beginning everything is granted.
func (a *Azure) Grant(actions ...string) { a.permit(actions, true) }

func (a *Azure) permit(actions []string, allowed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, action := range actions {
		a.denied[strings.ToLower(action)] = !allowed
	}
}

func (a *Azure) may(action string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.denied[strings.ToLower(action)]
}

// forbidden names what is missing and where, as ARM does.
func (a *Azure) forbidden(action, scope string) answer {
	return nested(http.StatusForbidden, "AuthorizationFailed", "The client '"+a.options.ClientID+"' with object id '"+a.options.ClientID+
		"' does not have authorization to perform action '"+action+"' over scope '"+scope+"' or the scope is invalid.")
}
