package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"amlproxy/internal/app"
	"amlproxy/internal/config"
	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
)

// An endpoint is one backend of one route, and what its checks found out. They
// wait for each other, so that each field is written before it is read.
type endpoint struct {
	*upstreams
	name    string // "route diabetes"
	backend *config.Backend
	w       *workspace // nil for an address given by hand
	toModel *http.Transport

	report azureml.EndpointReport
	lease  *upstream.Lease // nil: there is none
}

func (e *endpoint) check(what string) string { return e.name + ": " + what }

// at names one of the backend's own settings.
func (e *endpoint) at(key string) string {
	if setting, ok := strings.CutSuffix(e.backend.Where, "_NAME"); ok && strings.HasPrefix(setting, config.Prefix) {
		return setting + "_" + strings.ToUpper(key)
	}
	return key + " at " + e.backend.Where
}

// route adds the checks of each backend of a route.
func (u *upstreams) route(r *config.Route) error {
	for i := range r.Backends {
		e := &endpoint{upstreams: u, name: "route " + r.Name, backend: &r.Backends[i], w: u.place(&r.Backends[i])}
		var err error
		if e.toModel, err = app.TransportTo(u.settings, e.backend, u.toModels); err != nil {
			return fmt.Errorf("%s: %w", e.backend.Where, err)
		}
		if e.toModel != u.toModels {
			u.ways = append(u.ways, e.toModel)
			if u.options.Tune != nil {
				u.options.Tune(e.toModel)
			}
		}
		if len(r.Backends) > 1 {
			e.name += fmt.Sprintf(" #%d", i+1)
		}
		e.add()
	}
	return nil
}

func (e *endpoint) add() {
	credential := Check{Name: e.check("credential"), Ask: e.credential}
	address := Check{Name: e.check("address"), Ask: e.address}
	if e.w == nil {
		e.report.Scoring, e.report.Kind = e.backend.URL, upstream.Kind(e.backend.Auth)
		if e.backend.Auth == config.AuthEntra {
			credential.Needs = []string{identity}
		}
	} else {
		found := e.check("exists")
		e.upstreams.add(Check{Name: found, Needs: []string{e.w.ready(e.backend.Service != "")}, Ask: e.exists})
		e.upstreams.add(Check{Name: e.check("state"), Needs: []string{found}, Ask: e.state})
		e.upstreams.add(Check{Name: e.check("region"), Needs: []string{found}, Ask: e.region})
		e.upstreams.add(Check{Name: e.check("mode"), Needs: []string{found}, Ask: e.mode})
		credential.Needs, address.Needs = []string{e.check("mode")}, []string{found}
		e.w.askedBy = append(e.w.askedBy, e.check("mode"))
	}
	e.upstreams.add(credential)
	e.upstreams.add(address)
	e.upstreams.add(Check{Name: e.check("scoring"), Needs: []string{credential.Name, address.Name}, Ask: e.scoring})
}

func (e *endpoint) ref() azureml.Ref {
	return azureml.Ref{Service: e.backend.Service, Endpoint: e.backend.Endpoint, Serverless: e.backend.Serverless}
}

// exists asks the workspace for the endpoint, and for similar names if there is
// no such endpoint.
func (e *endpoint) exists(ctx context.Context) (f Finding) {
	ref := e.ref()
	what, key, wanted := "service", "service", ref.Service
	switch {
	case ref.Endpoint != "":
		what, key, wanted = "endpoint", "endpoint", ref.Endpoint
	case ref.Serverless != "":
		what, key, wanted = "serverless endpoint", "serverless", ref.Serverless
	}
	var err error
	if e.report, err = e.w.inspector.Endpoint(ctx, ref); err == nil {
		return Finding{Detail: strings.TrimSpace(e.report.Compute + " " + what + " " + wanted)}
	}
	f = e.problem(ctx, err)
	var refused *azureml.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		return f
	}
	f.Detail = fmt.Sprintf("the workspace has no %s %s", what, wanted)
	names, err := e.w.inspector.Names(ctx, ref)
	switch {
	case err != nil:
		f.Hints = []string{"name one that is there in " + e.at(key)}
	case len(names) == 0:
		f.Hints = []string{"it has none at all: is it another workspace, or of another kind (service, endpoint, serverless)? see " + e.at(key)}
	default:
		f.Hints = []string{"it has " + strings.Join(nearest(wanted, names, 5), ", ") + ": name one of them in " + e.at(key)}
	}
	return f
}

// state says whether the endpoint is deployed.
func (e *endpoint) state(context.Context) Finding {
	state := cmp.Or(e.report.State, "of an unknown state")
	f := Finding{Detail: state}
	again := "deploy it again; why it failed is in its logs, in the studio under Endpoints"
	switch s := strings.ToLower(state); {
	case s == "failed" || s == "unhealthy" || s == "canceled":
		f.State, f.Hints = Fail, []string{again}
	case s == "deleting":
		f.State, f.Hints = Fail, []string{"it is being deleted: name another one at " + e.backend.Where}
	case s == "transitioning" || s == "creating" || s == "updating":
		f.State, f.Hints = Warn, []string{"it is being deployed: wait, and ask again"}
	case e.report.Idle:
		f.State, f.Detail = Warn, f.Detail+", and no deployment gets traffic: calls will be answered 404"
		f.Hints = []string{"az ml online-endpoint update --name " + e.backend.Endpoint + " --traffic \"DEPLOYMENT=100\" --workspace-name " +
			e.w.found.Workspace + " --resource-group " + e.w.found.ResourceGroup}
		if e.backend.Deployment != "" { // it is pinned, past the traffic
			f = Finding{Detail: state}
		}
	}
	if e.report.Scoring == nil {
		f.State, f.Detail = Fail, f.Detail+", and without a scoring address"
		f.Hints = append(f.Hints, "the proxy takes it up by itself when it is there")
	}
	return f
}

// region warns of a workspace far away: tokens and keys come from there.
func (e *endpoint) region(context.Context) Finding {
	plain := func(name string) string { return strings.ToLower(strings.ReplaceAll(name, " ", "")) }
	there, here := e.w.region, e.report.Location
	switch {
	case there == "" || here == "":
		return Finding{State: Skip, Detail: "not known"}
	case plain(there) == plain(here):
		return Finding{Detail: here + ", as the workspace"}
	}
	return Finding{Warn, fmt.Sprintf("it is in %s, and the workspace in %s", here, there), []string{
		"its keys and tokens can be had only while " + there + " is up, and take longer; a workspace in " + here + " would avoid that",
	}}
}

// mode compares how the endpoint authenticates with what the settings say.
func (e *endpoint) mode(context.Context) Finding {
	said, found := upstream.Kind(e.backend.Auth), e.report.Kind
	auto := e.backend.Auth == config.AuthAuto
	if auto {
		said = found
	}
	e.needs(said)
	switch {
	case auto && found == "":
		return Finding{Fail, fmt.Sprintf("it authenticates in a way that is not known here: %q", e.report.AuthMode), []string{
			"say key, token or entra in " + e.at("auth"),
		}}
	case auto:
		return Finding{Detail: string(found) + ", as the workspace says"}
	case found == "":
		return Finding{Detail: fmt.Sprintf("%s, by hand; the workspace says %q", said, e.report.AuthMode)}
	case said != found:
		return Finding{Fail, fmt.Sprintf("the settings say %s by hand, and the workspace says %s", said, found), []string{
			fmt.Sprintf("say %s in %s, or auto, which follows when it changes", found, e.at("auth")),
		}}
	}
	return Finding{Detail: string(found) + ", by hand and as the workspace says"}
}

// needs notes what the identity has to be allowed for this route.
func (e *endpoint) needs(kind upstream.Kind) {
	const ml = "Microsoft.MachineLearningServices/workspaces/"
	collection := ml + "onlineEndpoints/"
	switch {
	case e.backend.Service != "":
		e.w.need(ml + "read")
		if kind == upstream.Key {
			e.w.need(ml + "services/" + strings.ToLower(cmp.Or(e.report.Compute, "aks")) + "/listkeys/action")
		}
		return
	case e.backend.Serverless != "":
		collection = ml + "serverlessEndpoints/"
	}
	action := map[upstream.Kind]string{upstream.Key: "listKeys/action", upstream.Token: "token/action", upstream.Entra: "score/action"}[kind]
	e.w.need(collection + "read")
	if action != "" {
		e.w.need(collection + action)
	}
}

// credential gets what a call would carry.
func (e *endpoint) credential(ctx context.Context) Finding {
	if e.report.Scoring == nil {
		return Finding{State: Skip, Detail: "it has no scoring address"}
	}
	ws := (*azureml.Workspace)(nil)
	switch {
	case e.w != nil:
		ws = e.w.inspector.Workspace()
	case e.backend.Auth == config.AuthEntra:
		ws = e.identity.Workspace()
	}
	lease, err := app.Source(e.backend, ws).Fetch(ctx, nil)
	if err != nil {
		return e.problem(ctx, err)
	}
	e.lease = lease
	switch lease.Kind {
	case upstream.None:
		return Finding{Detail: "none is wanted"}
	case upstream.Key:
		n := "one key"
		if !lease.Secondary.IsZero() {
			n = "a pair of keys"
		}
		if e.w == nil {
			n += ", from the settings"
		}
		return Finding{Detail: n}
	case upstream.Token:
		return Finding{Detail: "a token of the workspace, " + lifetime(lease)}
	}
	return Finding{Detail: "a token of Entra ID, " + lifetime(lease)}
}

func lifetime(l *upstream.Lease) string {
	if l.Expires.IsZero() {
		return "which does not say when it expires"
	}
	return "valid for " + until(l.Expires)
}

// nearest returns the n names that are most like one that is not there.
func nearest(wanted string, names []string, n int) []string {
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(distance(wanted, a), distance(wanted, b)), strings.Compare(a, b))
	})
	return names[:min(len(names), n)]
}

// distance is how many letters have to be added, removed or replaced
// (Levenshtein), without regard to case.
func distance(a, b string) int {
	x, y := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i, r := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j, s := range y {
			replaced := diagonal
			if r != s {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(y)]
}
