package azureml

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"amlproxy/upstream"
)

const workspaceRead = "Microsoft.MachineLearningServices/workspaces/read"

// Service returns the Source of a v1 web service on ACI or AKS.
func (w *Workspace) Service(name string, mode Mode) upstream.Source {
	return w.newSource("service "+name, service{w, name}, mode, "", checkName("service", name))
}

// Endpoint returns the Source of a v2 online endpoint. A deployment, which may
// be empty, is pinned past the endpoint's traffic split.
func (w *Workspace) Endpoint(name, deployment string, mode Mode) upstream.Source {
	err := checkName("endpoint", name)
	if deployment != "" {
		err = errors.Join(err, checkName("deployment", deployment))
	}
	what := "endpoint " + name
	return w.newSource(what, resource{
		w: w, what: what, name: name, collection: "onlineEndpoints", parse: parseEndpoint,
	}, mode, deployment, err)
}

// Serverless returns the Source of a serverless endpoint.
func (w *Workspace) Serverless(name string) upstream.Source {
	what := "serverless endpoint " + name
	return w.newSource(what, resource{
		w: w, what: what, name: name, collection: "serverlessEndpoints", parse: parseServerless,
	}, Auto, "", checkName("serverless endpoint", name))
}

// Entra returns the Source of an address that takes an Entra token for scope;
// an empty scope is that of online endpoints. It works without a workspace.
func (w *Workspace) Entra(scoring *url.URL, scope string) upstream.Source {
	s := &source{w: w, what: "address", mode: Mode(upstream.Entra), scope: scope}
	if scope == "" {
		s.scope = w.mlScope
	}
	if scoring == nil {
		s.err = errors.New("the scoring address is missing")
		return s
	}
	at, err := webURL(scoring.String())
	s.endpoint, s.err = address{at}, err
	return s
}

// service is a v1 web service. Everything about it is asked of the model
// management service; its permissions are held on the workspace.
type service struct {
	w    *Workspace
	name string
}

func (s service) look(ctx context.Context) (at place, err error) {
	err = s.ask(ctx, http.MethodGet, "getting service %s", "", workspaceRead, func(body []byte) (err error) {
		at, err = parseService(body)
		return err
	})
	return at, err
}

func (s service) keys(ctx context.Context, at place) (keys pair, err error) {
	err = s.ask(ctx, http.MethodPost, "listing the keys of service %s", "/listkeys", s.action(at, "listkeys/action"), func(body []byte) (err error) {
		keys, err = parseKeys(body)
		return err
	})
	return keys, err
}

func (s service) token(ctx context.Context) (c credential, err error) {
	err = s.ask(ctx, http.MethodPost, "getting a token of service %s", "/token", workspaceRead, func(body []byte) (err error) {
		c, err = parseToken(body, time.Now())
		return err
	})
	return c, err
}

// action is a permission on a service, whose name says where it runs.
func (service) action(at place, action string) string {
	compute := "aks"
	if strings.EqualFold(at.compute, "aci") {
		compute = "aci"
	}
	return "Microsoft.MachineLearningServices/workspaces/services/" + compute + "/" + action
}

func (s service) ask(ctx context.Context, method, op, below, action string, parse func([]byte) error) error {
	op = fmt.Sprintf(op, s.name)
	base, err := s.w.modelManagement(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	err = s.w.ask(ctx, question{
		op: op, method: method, url: base + "/services/" + url.PathEscape(s.name) + below,
		action: action, scope: s.w.id,
	}, parse)
	s.w.unreachable(err)
	return err
}

// resource is an endpoint that is a resource of its own in Azure Resource
// Manager; its permissions can be held on it alone.
type resource struct {
	w                *Workspace
	what             string // "endpoint fraud"
	name, collection string
	parse            func([]byte) (place, error)
}

func (r resource) look(ctx context.Context) (at place, err error) {
	err = r.ask(ctx, http.MethodGet, "getting", "", "/read", func(body []byte) (err error) {
		at, err = r.parse(body)
		return err
	})
	return at, err
}

func (r resource) keys(ctx context.Context, _ place) (keys pair, err error) {
	err = r.ask(ctx, http.MethodPost, "listing the keys of", "/listKeys", "/listKeys/action", func(body []byte) (err error) {
		keys, err = parseKeys(body)
		return err
	})
	return keys, err
}

func (r resource) token(ctx context.Context) (c credential, err error) {
	err = r.ask(ctx, http.MethodPost, "getting a token of", "/token", "/token/action", func(body []byte) (err error) {
		c, err = parseToken(body, time.Now())
		return err
	})
	return c, err
}

func (r resource) ask(ctx context.Context, method, doing, below, action string, parse func([]byte) error) error {
	q := r.question(doing, action)
	q.method, q.url = method, r.address(below)
	return r.w.ask(ctx, q, parse)
}

// question is what all questions about it have in common.
func (r resource) question(doing, action string) question {
	return question{
		op:     doing + " " + r.what,
		action: "Microsoft.MachineLearningServices/workspaces/" + r.collection + action,
		scope:  r.w.id + "/" + r.collection + "/" + r.name,
	}
}

func (r resource) address(below string) string {
	return r.w.armURL("/" + r.collection + "/" + url.PathEscape(r.name) + below)
}

// address is an endpoint given by hand. There is nobody to ask about it.
type address struct{ scoring *url.URL }

func (a address) look(context.Context) (place, error) { return place{scoring: a.scoring}, nil }

func (address) keys(context.Context, place) (pair, error) {
	return pair{}, errors.New("an address has no keys to list")
}

func (address) token(context.Context) (credential, error) {
	return credential{}, errors.New("an address issues no tokens")
}
