package azureml

import (
	"fmt"
	"regexp"
	"strings"
)

// In ARM's words: The client 'appid' with object id 'oid' does not have
// authorization to perform action 'a' over scope 's' or the scope is invalid.
var (
	missingAction = regexp.MustCompile(`perform action '([A-Za-z0-9./_-]+)' over scope '(/[^'\s]+)'`)
	objectID      = regexp.MustCompile(`object id '([0-9A-Za-z-]+)'`)
)

// explain adds to a 403 which action on which scope is missing, and the command
// that grants it. What the message says is preferred over what the question
// needed: ARM may want something else than the documentation knew.
func (w *Workspace) explain(e *Error, q question) {
	switch strings.ToLower(e.Code) {
	case "authorizationfailed", "forbidden", "unauthorized", "userunauthorized", "":
	default:
		return // a firewall or a policy, which no role mends
	}
	e.Action, e.Scope = q.action, q.scope
	if m := missingAction.FindStringSubmatch(e.Message); m != nil {
		e.Action = m[1]
		if !strings.HasPrefix(strings.ToLower(m[2]), strings.ToLower(q.scope)+"/") {
			e.Scope = m[2] // one below what was asked about is the path of the call, and no role can be given there
		}
	}
	principal := w.principal
	if m := objectID.FindStringSubmatch(e.Message); m != nil {
		principal = m[1]
	}
	if principal == "" {
		principal = "OBJECT_ID"
	}
	e.Grant = fmt.Sprintf("az role assignment create --assignee %s --role %s --scope %s",
		shellWord(principal), shellWord(leastRole(e.Action)), shellWord(e.Scope))
}

// leastRole is the smallest built-in role with an action. Reading suffices for v1
// tokens; no built-in role has key listing and little else.
func leastRole(action string) string {
	if strings.HasSuffix(strings.ToLower(action), "/read") {
		return "Reader"
	}
	return "AzureML Data Scientist"
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// shellWord quotes s for a shell: the line is made to be pasted, and a part of it
// may come from an answer.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
