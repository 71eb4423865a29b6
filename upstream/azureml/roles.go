package azureml

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	authorizationVersion = "2022-04-01"
	pageLimit            = 50 // pages of a list
)

// Permissions are what an identity may do on a resource: the sum of its roles.
type Permissions []Permission

// A Permission is what one role gives: Actions without NotActions, with stars as
// in a role definition.
type Permission struct{ Actions, NotActions []string }

// Allow reports whether any role gives the action.
func (all Permissions) Allow(action string) bool {
	return slices.ContainsFunc(all, func(p Permission) bool {
		names := func(pattern string) bool { return covers(pattern, action) }
		return slices.ContainsFunc(p.Actions, names) && !slices.ContainsFunc(p.NotActions, names)
	})
}

// covers reports whether a pattern names an action: without case, and a star is
// any text, slashes included.
func covers(pattern, action string) bool {
	parts := strings.Split(strings.ToLower(pattern), "*")
	rest, ok := strings.CutPrefix(strings.ToLower(action), parts[0])
	if !ok || len(parts) == 1 {
		return ok && rest == ""
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[last])
}

// Permissions asks what the identity may do on the workspace.
func (i *Inspector) Permissions(ctx context.Context) (all Permissions, err error) {
	if i.w.id == "" {
		return nil, errNoWorkspace
	}
	err = i.pages(ctx, question{
		op: "asking what the identity may do", method: http.MethodGet,
		url:    i.w.arm + i.w.path + "/providers/Microsoft.Authorization/permissions?api-version=" + authorizationVersion,
		action: "Microsoft.Authorization/permissions/read", scope: i.w.id,
	}, func(item json.RawMessage) error {
		var p struct {
			Actions    []text `json:"actions"`
			NotActions []text `json:"notActions"`
		}
		if err := decode(item, &p); err != nil {
			return err
		}
		all = append(all, Permission{words(p.Actions), words(p.NotActions)})
		return nil
	})
	return all, err
}

func words(all []text) []string {
	var tidied []string
	for _, t := range all {
		if word := tidy(string(t)); word != "" {
			tidied = append(tidied, word)
		}
	}
	return tidied
}

// Names returns the names of all endpoints of the same kind as ref.
func (i *Inspector) Names(ctx context.Context, ref Ref) (names []string, err error) {
	q := question{op: "listing the services", method: http.MethodGet, action: workspaceRead, scope: i.w.id}
	if ref.Service != "" {
		base, err := i.w.modelManagement(ctx)
		if err != nil {
			return nil, err
		}
		q.url = base + "/services"
	} else {
		if i.w.id == "" {
			return nil, errNoWorkspace
		}
		r := i.resource(ref)
		q.op = "listing the " + r.collection
		q.url = i.w.armURL("/" + r.collection)
		q.action = "Microsoft.MachineLearningServices/workspaces/" + r.collection + "/read"
	}
	err = i.pages(ctx, q, func(item json.RawMessage) error {
		var named struct {
			Name text `json:"name"`
		}
		if err := decode(item, &named); err != nil {
			return err
		}
		if name := tidy(string(named.Name)); name != "" {
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// pages asks for a list, page by page. The next page is asked for only where the
// first one was: the identity's token goes along.
func (i *Inspector) pages(ctx context.Context, q question, each func(json.RawMessage) error) error {
	first, err := url.Parse(q.url)
	if err != nil {
		return &Error{Op: q.op, Err: err}
	}
	for range pageLimit {
		var page struct {
			Value []json.RawMessage `json:"value"`
			Next  text              `json:"nextLink"`
		}
		err := i.w.ask(ctx, q, func(body []byte) error {
			if err := decode(body, &page); err != nil {
				return err
			}
			for _, item := range page.Value {
				if err := each(item); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || page.Next == "" {
			return err
		}
		next, err := webURL(string(page.Next))
		if err != nil || next.Scheme != first.Scheme || next.Host != first.Host {
			return &Error{Op: q.op, Err: errors.New("the next page is said to be on another host")}
		}
		q.url = next.String()
	}
	return &Error{Op: q.op, Err: fmt.Errorf("more than %d pages", pageLimit)}
}

// ScoreGrant returns what calling an online endpoint with an Entra token needs,
// and the command that grants it. who is the identity, if it is known.
func (i *Inspector) ScoreGrant(endpoint string, who Principal) (action, scope, grant string) {
	action = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"
	scope = i.w.id + "/onlineEndpoints/" + endpoint
	return action, scope, fmt.Sprintf("az role assignment create --assignee %s --role %s --scope %s",
		shellWord(i.assignee(who)), shellWord(leastRole(action)), shellWord(scope))
}

// LeastRole returns the commands that make a role with these actions and no
// others, and give it to the identity on the workspace. No built-in role is as
// small.
func (i *Inspector) LeastRole(actions []string, who Principal) []string {
	group, _, _ := strings.Cut(i.w.id, "/providers/") // a role cannot be defined for less
	name := "amlproxy " + i.w.id[strings.LastIndexByte(i.w.id, '/')+1:]
	definition, err := json.Marshal(struct {
		Name, Description         string
		Actions, AssignableScopes []string
	}{name, "What amlproxy does in this workspace", actions, []string{group}})
	if err != nil {
		return nil // strings always marshal
	}
	return []string{
		"az role definition create --role-definition " + shellWord(string(definition)),
		fmt.Sprintf("az role assignment create --assignee %s --role %s --scope %s", shellWord(i.assignee(who)), shellWord(name), shellWord(i.w.id)),
	}
}

// assignee is whom to grant a role: the client that the settings name, else
// whoever the token says.
func (i *Inspector) assignee(who Principal) string {
	for _, id := range []string{i.w.principal, who.ObjectID, who.ClientID} {
		if id != "" {
			return id
		}
	}
	return "OBJECT_ID"
}
