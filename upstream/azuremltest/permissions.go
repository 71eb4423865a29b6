package azuremltest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Hold makes these actions all that the principal may do. A star stands for any
// text, as in a role definition: "Microsoft.MachineLearningServices/workspaces/*/read".
// In the beginning it holds "*". What is denied stays denied.
func (a *Azure) Hold(actions ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.actions = slices.Clone(actions)
}

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
	return !a.denied[strings.ToLower(action)] && slices.ContainsFunc(a.actions, func(held string) bool { return covers(held, action) })
}

// covers reports whether a pattern of a role names an action: without case, and a
// star is any text, slashes included.
func covers(pattern, action string) bool {
	parts := strings.Split(strings.ToLower(pattern), "*")
	rest, ok := strings.CutPrefix(strings.ToLower(action), parts[0])
	if !ok || len(parts) == 1 {
		return ok && rest == ""
	}
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}

// permissions answers what the principal may do: the sum of its roles, as ARM
// tells it to whoever asks about himself. It is the same on every scope here.
func (a *Azure) permissions(*http.Request) answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	denied := []string{}
	for _, action := range slices.Sorted(maps.Keys(a.denied)) {
		if a.denied[action] {
			denied = append(denied, action)
		}
	}
	return jsonAnswer(http.StatusOK, fields{"value": []fields{{
		"actions": a.actions, "notActions": denied, "dataActions": []string{}, "notDataActions": []string{},
	}}})
}

// forbidden names what is missing and where, as ARM does.
func (a *Azure) forbidden(action, scope string) answer {
	return nested(http.StatusForbidden, "AuthorizationFailed", "The client '"+a.options.ClientID+"' with object id '"+a.options.ClientID+
		"' does not have authorization to perform action '"+action+"' over scope '"+scope+"' or the scope is invalid.")
}
