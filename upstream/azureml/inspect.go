package azureml

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
)

// An Inspector asks what a Source asks, one question at a time, and a few more:
// it is for the doctor, who wants to know which of them has the wrong answer. Its
// errors are [Error]s where somebody was asked. It is safe for concurrent use.
type Inspector struct {
	w         *Workspace
	authority *url.URL
	tenant    string
}

// NewInspector makes a Workspace, too, and does not touch the network.
func NewInspector(cfg Config) (*Inspector, error) {
	w, err := New(cfg)
	if err != nil {
		return nil, err
	}
	i := &Inspector{w: w, tenant: cfg.Identity.TenantID}
	place, err := cfg.cloud()
	if err == nil {
		i.authority, err = baseURL(place.ActiveDirectoryAuthorityHost)
	}
	if err != nil {
		return nil, fmt.Errorf("azureml: the authority: %w", err)
	}
	return i, nil
}

// Workspace returns what makes the Sources.
func (i *Inspector) Workspace() *Workspace { return i.w }

// Close closes the Workspace.
func (i *Inspector) Close() error { return i.w.Close() }

// Addresses returns those of the authority and of Azure Resource Manager, which
// are known without asking anybody.
func (i *Inspector) Addresses() (authority, arm *url.URL) {
	arm, _ = url.Parse(i.w.arm) // New has parsed it
	return clone(i.authority), arm
}

// Tenant asks the authority whether it knows the tenant. Without a tenant there
// is nothing to ask, and no error.
func (i *Inspector) Tenant(ctx context.Context) error {
	if i.tenant == "" {
		return nil
	}
	at := i.authority.JoinPath(i.tenant, "v2.0", ".well-known", "openid-configuration")
	return i.w.askThrough(ctx, i.w.sendPlain, question{
		op: "asking the authority for the tenant", method: http.MethodGet, url: at.String(),
	}, func(body []byte) error {
		var document struct {
			Token text `json:"token_endpoint"`
		}
		if err := decode(body, &document); err != nil {
			return err
		}
		if _, err := webURL(string(document.Token)); err != nil {
			return fmt.Errorf("its token endpoint: %w", err)
		}
		return nil
	})
}

// A Principal is who the proxy is to Azure, as far as its token says. Nobody
// vouches for it: it is there to be shown.
type Principal struct {
	ObjectID, ClientID, Name string // each may be empty
	Expires                  time.Time
}

// SignIn gets the identity's token for Azure Resource Manager.
func (i *Inspector) SignIn(ctx context.Context) (Principal, error) {
	token, err := i.w.identity.get(ctx, i.w.armToken, secret.Value{})
	if err != nil {
		return Principal{}, err
	}
	p := parsePrincipal(token.value.Reveal())
	p.Expires = token.expires
	return p, nil
}

// parsePrincipal reads the claims of Entra's access tokens. To a client they are
// opaque, so that nothing may depend on there being any.
func parsePrincipal(token string) Principal {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Principal{}
	}
	var claims struct {
		Object text `json:"oid"`
		Client text `json:"appid"`
		Party  text `json:"azp"`
		Name   text `json:"upn"`
		Unique text `json:"unique_name"`
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(body, &claims) != nil {
		return Principal{}
	}
	first := func(a, b text) string {
		if a == "" {
			a = b
		}
		return tidy(string(a))
	}
	return Principal{ObjectID: tidy(string(claims.Object)), ClientID: first(claims.Client, claims.Party), Name: first(claims.Name, claims.Unique)}
}

// A WorkspaceReport is what Azure Resource Manager says about a workspace.
type WorkspaceReport struct {
	Location string // its region
}

// Look asks for the workspace.
func (i *Inspector) Look(ctx context.Context) (report WorkspaceReport, err error) {
	if i.w.id == "" {
		return report, errNoWorkspace
	}
	err = i.w.ask(ctx, question{
		op: "getting the workspace", method: http.MethodGet, url: i.w.armURL(""),
		action: workspaceRead, scope: i.w.id,
	}, func(body []byte) error {
		var w struct {
			Location text `json:"location"`
		}
		err := decode(body, &w)
		report.Location = tidy(string(w.Location))
		return err
	})
	return report, err
}

// ModelManagement discovers the host of the model management service.
func (i *Inspector) ModelManagement(ctx context.Context) (*url.URL, error) {
	base, err := i.w.modelManagement(ctx)
	if err != nil {
		return nil, err
	}
	return webURL(base)
}

// A Ref names an endpoint in a workspace. Exactly one of its fields is set.
type Ref struct{ Service, Endpoint, Serverless string }

// An EndpointReport is what the workspace says about an endpoint.
type EndpointReport struct {
	Scoring  *url.URL      // nil: it has no address (yet)
	Kind     upstream.Kind // empty when AuthMode names none that is known
	AuthMode string        // how it authenticates, in the workspace's word; empty for a v1 service
	State    string        // Healthy, Transitioning, Succeeded, ...; may be empty
	Location string        // its region
	Idle     bool          // an online endpoint of which no deployment gets traffic
	Compute  string        // of a v1 service: ACI, AKS
}

// Endpoint asks what the workspace says about an endpoint. That it has no address
// is no error, and the report says so.
func (i *Inspector) Endpoint(ctx context.Context, ref Ref) (report EndpointReport, err error) {
	if i.w.id == "" {
		return report, errNoWorkspace
	}
	read := func(parse func([]byte) (place, error)) func([]byte) error {
		return func(body []byte) error {
			report, err = parseReport(body, parse)
			return err
		}
	}
	if ref.Service != "" {
		err = service{w: i.w, name: ref.Service}.ask(ctx, http.MethodGet, "getting service %s", "", workspaceRead, read(parseService))
		return report, err
	}
	r := i.resource(ref)
	err = r.ask(ctx, http.MethodGet, "getting", "", "/read", read(r.parse))
	return report, err
}

// resource is that of a v2 endpoint.
func (i *Inspector) resource(ref Ref) resource {
	if ref.Serverless != "" {
		return resource{w: i.w, what: "serverless endpoint " + ref.Serverless, name: ref.Serverless, collection: "serverlessEndpoints", parse: parseServerless}
	}
	return resource{w: i.w, what: "endpoint " + ref.Endpoint, name: ref.Endpoint, collection: "onlineEndpoints", parse: parseEndpoint}
}

// parseReport reads a v1 service or a v2 endpoint. That there is no address is
// no error here: the state says why.
func parseReport(body []byte, parse func([]byte) (place, error)) (EndpointReport, error) {
	var said struct {
		State      text `json:"state"`
		Scoring    text `json:"scoringUri"`
		Properties struct {
			State     text            `json:"provisioningState"`
			Scoring   text            `json:"scoringUri"`
			Traffic   json.RawMessage `json:"traffic"`
			Inference json.RawMessage `json:"inferenceEndpoint"`
		} `json:"properties"`
	}
	if err := decode(body, &said); err != nil {
		return EndpointReport{}, err
	}
	var inference struct {
		URI text `json:"uri"`
	}
	_ = json.Unmarshal(said.Properties.Inference, &inference) // what is no object has no address
	at, err := parse(body)
	if said.Scoring+said.Properties.Scoring+inference.URI == "" && !errors.Is(err, errNotBoolean) {
		err = nil
	}
	if err != nil {
		return EndpointReport{}, err
	}
	return EndpointReport{
		Scoring: at.scoring, Kind: at.kind, AuthMode: tidy(at.authMode), Compute: tidy(at.compute),
		State: tidy(string(said.State + said.Properties.State)), Location: tidy(at.region),
		Idle: idle(said.Properties.Traffic),
	}, nil
}

// idle reports whether traffic is a split in which nobody gets anything.
func idle(traffic json.RawMessage) bool {
	var split map[string]float64
	if json.Unmarshal(traffic, &split) != nil || split == nil {
		return false
	}
	for _, share := range split {
		if share > 0 {
			return false
		}
	}
	return true
}

// Entra gets the identity's token for scoring, to see whether it can be had.
func (i *Inspector) Entra(ctx context.Context) (Principal, error) {
	at := &url.URL{Scheme: "https", Host: "scoring.invalid"} // never called: a Source wants an address
	lease, err := i.w.Entra(at, "").Fetch(ctx, nil)
	if err != nil {
		return Principal{}, err
	}
	p := parsePrincipal(lease.Primary.Reveal())
	p.Expires = lease.Expires
	return p, nil
}
