package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"amlproxy/upstream/azureml"
)

func (w *workspace) check(what string) string { return w.name + ": " + what }

// ready is the check without which nothing in the workspace can be asked about.
func (w *workspace) ready(v1 bool) string {
	if v1 {
		return w.check("model management")
	}
	return w.check("exists")
}

// workspace adds the checks of one workspace, up to where its routes begin.
func (u *upstreams) workspace(w *workspace) {
	u.add(Check{Name: w.check("named"), Ask: func(context.Context) Finding { return w.isNamed() }})
	if w.inspector == nil { // what needs it is skipped without being asked
		u.add(Check{Name: w.check("exists"), Needs: []string{w.check("named")}, Ask: unasked})
	} else {
		needs := []string{w.check("named"), armConnection, identity}
		u.add(Check{Name: w.check("exists"), Needs: needs, Ask: func(ctx context.Context) Finding { return u.exists(ctx, w) }})
	}
	if !w.v1 {
		return
	}
	var host *url.URL
	u.add(Check{Name: w.check("hosts"), Needs: []string{w.check("exists")}, Ask: func(ctx context.Context) (f Finding) {
		host, f = u.hosts(ctx, w)
		return f
	}})
	u.add(Check{Name: w.check("model management"), Needs: []string{w.check("hosts")}, Ask: func(ctx context.Context) Finding {
		there := way{u.toAzure, u.options.Lookup, "the workspace's discoveryUrl"}
		if f := there.resolves(ctx, host); f.State == Fail {
			return f
		}
		_, f := there.connects(ctx, host)
		return f
	}})
}

func unasked(context.Context) Finding { return Finding{State: Skip} }

// isNamed says which workspace it is, and what says so.
func (w *workspace) isNamed() Finding {
	by := w.found.File
	if by == "" {
		by = w.named.Where
	}
	switch {
	case errors.Is(w.err, fs.ErrNotExist):
		return Finding{Fail, w.err.Error(), []string{
			"set AMLPROXY_SUBSCRIPTION_ID, AMLPROXY_RESOURCE_GROUP and AMLPROXY_WORKSPACE_NAME; or download config.json from the workspace's page in the Azure portal, and name it in AMLPROXY_WORKSPACE_CONFIG",
			"az ml workspace list --query \"[].{name:name, group:resource_group}\" --output table",
		}}
	case w.err != nil:
		return Finding{Fail, w.err.Error(), []string{
			"download it again from the workspace's page in the Azure portal: it holds subscription_id, resource_group and workspace_name, or Scope",
		}}
	}
	return Finding{Detail: fmt.Sprintf("%s in %s of %s, by %s", w.found.Workspace, w.found.ResourceGroup, w.found.SubscriptionID, by)}
}

func (u *upstreams) exists(ctx context.Context, w *workspace) Finding {
	report, err := w.inspector.Look(ctx)
	if err == nil {
		w.region = report.Location
		return Finding{Detail: "in " + report.Location}
	}
	f := u.problem(ctx, err)
	var e *azureml.Error
	if !errors.As(err, &e) {
		return f
	}
	switch {
	case e.Status == http.StatusForbidden && !w.v1:
		// Online endpoints are resources of their own: a role on each suffices.
		return Finding{State: Skip, Detail: "the identity may not read the workspace, and its routes do not need that"}
	case e.Status != http.StatusNotFound:
		return f
	case e.Code == "SubscriptionNotFound":
		f.Hints = []string{"the identity sees no such subscription: az account list --query \"[].{name:name, id:id}\" --output table"}
	case e.Code == "ResourceGroupNotFound":
		f.Hints = []string{"az group list --subscription " + w.found.SubscriptionID + " --query \"[].name\" --output tsv"}
	default:
		f.Hints = []string{"az ml workspace list --subscription " + w.found.SubscriptionID + " --query \"[].{name:name, group:resource_group}\" --output table"}
	}
	return f
}

func (u *upstreams) hosts(ctx context.Context, w *workspace) (*url.URL, Finding) {
	host, err := w.inspector.ModelManagement(ctx)
	if err != nil {
		f := u.problem(ctx, err)
		if len(f.Hints) == 0 {
			f.Hints = []string{"the workspace's discoveryUrl does not say where its services are: a proxy or a private link in the way?"}
		}
		return nil, f
	}
	return host, Finding{Detail: "model management is at " + host.Host}
}

// tooMuch is what nobody needs who calls models. Whoever takes over a proxy has
// what its identity may do.
func tooMuch() []struct{ what, action string } {
	const ml = "Microsoft.MachineLearningServices/workspaces/"
	return []struct{ what, action string }{
		{"change the workspace", ml + "write"},
		{"delete the workspace", ml + "delete"},
		{"list the keys of its storage", ml + "listKeys/action"},
		{"change endpoints", ml + "onlineEndpoints/write"},
		{"change endpoints", ml + "serverlessEndpoints/write"},
		{"change services", ml + "services/aks/write"}, // which regenerates keys
		{"change services", ml + "services/aci/write"},
		{"delete endpoints", ml + "onlineEndpoints/delete"},
		{"delete endpoints", ml + "serverlessEndpoints/delete"},
		{"delete services", ml + "services/aks/delete"},
		{"delete services", ml + "services/aci/delete"},
		{"regenerate keys", ml + "onlineEndpoints/regenerateKeys/action"},
		{"regenerate keys", ml + "serverlessEndpoints/regenerateKeys/action"},
		{"assign roles", "Microsoft.Authorization/roleAssignments/write"},
	}
}

// excess adds the check of what the identity may do besides. It comes last: only
// then is it known what the routes need.
func (u *upstreams) excess(w *workspace) {
	c := Check{Name: w.check("permissions"), Needs: []string{w.check("exists")}, After: w.askedBy, Ask: unasked}
	if w.inspector != nil {
		c.Ask = func(ctx context.Context) Finding { return u.heldBesides(ctx, w) }
	}
	u.add(c)
}

func (u *upstreams) heldBesides(ctx context.Context, w *workspace) Finding {
	held, err := w.inspector.Permissions(ctx)
	var e *azureml.Error
	switch {
	case errors.As(err, &e) && e.Status == http.StatusForbidden:
		return Finding{State: Skip, Detail: "the identity may not ask what it may do"}
	case err != nil:
		return Finding{State: Skip, Detail: err.Error()}
	}
	var may []string
	for _, power := range tooMuch() {
		if held.Allow(power.action) && !slices.Contains(may, power.what) {
			may = append(may, power.what)
		}
	}
	if len(may) == 0 {
		return Finding{Detail: "no more than calling models needs"}
	}
	w.mu.Lock()
	needs := slices.Clone(w.needs)
	w.mu.Unlock()
	f := Finding{Warn, "the identity may also " + strings.Join(may, ", ") + ": so may whoever takes the proxy over", nil}
	if len(needs) > 0 {
		needs = append(needs, "Microsoft.Authorization/permissions/read") // for this question
		slices.Sort(needs)
		needs = slices.Compact(needs)
		f.Hints = append([]string{"a role that suffices for these routes, instead of those it has:"}, w.inspector.LeastRole(needs, u.who())...)
	}
	return f
}

// need notes an action that some route needs.
func (w *workspace) need(actions ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.needs = append(w.needs, actions...)
}
