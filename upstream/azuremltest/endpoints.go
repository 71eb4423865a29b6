package azuremltest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Compute is what a scoring server runs on.
type Compute string

// Where models run. ACI and AKS are v1 services; the others are what
// [Azure.AddEndpoint] and [Azure.AddServerless] make.
const (
	ACI        Compute = "ACI"        // one container: plain http, /score; none or key
	AKS        Compute = "AKS"        // a cluster: plain http, /api/v1/service/NAME/score; none, key or token
	managed    Compute = "managed"    // https, /score; key, token or entra
	serverless Compute = "serverless" // https, any path; key
)

// A Service is a v1 web service.
type Service struct {
	Name     string
	Compute  Compute
	Auth     Auth              // default [None] on ACI, [Key] on AKS
	Model    http.Handler      // sees the calls that were admitted; required
	Swagger  []byte            // what swagger.json says; without it there is none
	Location string            // its region; default the workspace's
	Tags     map[string]string // kvTags
}

// An Endpoint is a v2 managed online endpoint.
type Endpoint struct {
	Name        string
	Auth        Auth         // default [Key]
	Model       http.Handler // of the one deployment, "default", if Deployments is empty
	Deployments []Deployment
	Swagger     []byte
	Location    string
	Tags        map[string]string
}

// A Deployment is one of the models behind an endpoint.
type Deployment struct {
	Name    string
	Traffic int // percent of the calls that pin no deployment
	Model   http.Handler
}

// A Serverless is a v2 serverless endpoint. Its address has no path, and the
// model sees every path.
type Serverless struct {
	Name     string
	Model    http.Handler
	Swagger  []byte
	Location string
}

// AddService opens the scoring server of a v1 service and registers it with
// model management.
func (a *Azure) AddService(o Service) (*Scoring, error) {
	s := &Scoring{azure: a, name: o.Name, compute: o.Compute, swagger: o.Swagger, location: o.Location, tags: o.Tags, fail: flat}
	s.folder = "/"
	standard := None
	if o.Compute == AKS {
		s.folder, standard = "/api/v1/service/"+o.Name+"/", Key
	}
	s.score = s.folder + "score"
	s.deployments = []Deployment{{Name: "default", Traffic: 100, Model: o.Model}}
	if o.Compute != ACI && o.Compute != AKS {
		return nil, fmt.Errorf("adding service %q: compute %q is neither ACI nor AKS", o.Name, o.Compute)
	}
	return a.add(a.services, s, Auth(or(string(o.Auth), string(standard))))
}

// AddEndpoint opens the scoring server of a v2 online endpoint and registers it
// with ARM.
func (a *Azure) AddEndpoint(o Endpoint) (*Scoring, error) {
	s := &Scoring{azure: a, name: o.Name, compute: managed, swagger: o.Swagger, location: o.Location, tags: o.Tags, fail: nested}
	s.folder, s.score = "/", "/score"
	s.deployments = slices.Clone(o.Deployments)
	if len(s.deployments) == 0 {
		s.deployments = []Deployment{{Name: "default", Traffic: 100, Model: o.Model}}
	}
	return a.add(a.endpoints, s, Auth(or(string(o.Auth), string(Key))))
}

// AddServerless opens the scoring server of a v2 serverless endpoint and
// registers it with ARM.
func (a *Azure) AddServerless(o Serverless) (*Scoring, error) {
	s := &Scoring{azure: a, name: o.Name, compute: serverless, swagger: o.Swagger, location: o.Location, fail: nested}
	s.folder, s.score = "/", "/"
	s.deployments = []Deployment{{Name: "default", Traffic: 100, Model: o.Model}}
	return a.add(a.serverless, s, Key)
}

// add checks and opens s, and then tells the workspace of it.
func (a *Azure) add(to map[string]*Scoring, s *Scoring, auth Auth) (*Scoring, error) {
	if err := s.check(auth); err != nil {
		return nil, fmt.Errorf("adding %q: %w", s.name, err)
	}
	s.location = or(s.location, a.options.Location)
	s.state = "Healthy"
	s.credentials.auth = auth
	s.credentials.primary, s.credentials.secondary = newKey(0), newKey(0)
	s.Behave(Behaviour{})
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("adding %q: %w", s.name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if to[s.name] != nil {
		return nil, errors.Join(fmt.Errorf("adding %q: there is one already", s.name), s.host.server.Close())
	}
	to[s.name] = s
	return s, nil
}

func (s *Scoring) check(auth Auth) error {
	if s.name == "" || strings.ContainsAny(s.name, "/?#%\\ ") {
		return errors.New("the name must be one plain path segment")
	}
	traffic := 0
	for _, d := range s.deployments {
		if d.Name == "" || d.Model == nil {
			return errors.New("a deployment needs a name and a model")
		}
		traffic += d.Traffic
	}
	if traffic != 0 && traffic != 100 {
		return fmt.Errorf("the traffic is %d %%, not 0 or 100", traffic)
	}
	return s.compute.check(auth)
}

// check refuses what Azure refuses to deploy.
func (c Compute) check(auth Auth) error {
	allowed := map[Compute][]Auth{ACI: {None, Key}, AKS: {None, Key, Token}, managed: {Key, Token, Entra}, serverless: {Key}}
	if !slices.Contains(allowed[c], auth) {
		return fmt.Errorf("%s cannot authenticate by %q", c, auth)
	}
	return nil
}

// action is the part of a permission's name that says where a service runs.
func (c Compute) action() string { return strings.ToLower(string(c)) }

// collection is where the workspace keeps it.
func (c Compute) collection() string {
	switch c {
	case managed:
		return "onlineEndpoints"
	case serverless:
		return "serverlessEndpoints"
	}
	return "services"
}

// service is what model management says about a v1 service.
func (s *Scoring) service() fields {
	s.mu.Lock()
	state, base := s.state, s.host.url
	s.mu.Unlock()
	auth := s.Auth()
	body := fields{
		"id": s.name, "name": s.name, "computeType": string(s.compute), "deploymentType": "Http",
		"state": state, "location": s.location, "kvTags": s.tags, "properties": fields{}, "error": nil,
		"authEnabled": auth == Key,
	}
	if s.compute == AKS {
		body["aadAuthEnabled"] = auth == Token
	}
	if hasAddress(state) {
		body["scoringUri"] = base + escaped(s.score)
		if s.swagger != nil {
			body["swaggerUri"] = base + escaped(s.folder) + "swagger.json"
		}
	}
	return body
}

// resource is what ARM says about a v2 endpoint.
func (s *Scoring) resource() fields {
	s.mu.Lock()
	state, base := s.state, s.host.url
	s.mu.Unlock()
	if state == "Healthy" {
		state = "Succeeded"
	}
	properties := fields{"authMode": s.Auth().endpointMode(), "provisioningState": state}
	address := any(nil) // ARM writes null for what there is not yet
	if hasAddress(state) {
		address = base + s.score
	}
	if s.compute == serverless {
		properties["endpointState"] = "Online"
		properties["inferenceEndpoint"] = nil
		if address != nil {
			properties["inferenceEndpoint"] = fields{"uri": base, "headers": fields{}}
		}
	} else {
		properties["scoringUri"], properties["swaggerUri"] = address, nil
		if address != nil && s.swagger != nil {
			properties["swaggerUri"] = base + "/swagger.json"
		}
		properties["traffic"], properties["mirrorTraffic"], properties["compute"] = s.traffic(), fields{}, nil
	}
	id := s.azure.id(s.compute.collection(), s.name)
	return fields{
		"id": id, "name": s.name, "type": provider + "/workspaces/" + s.compute.collection(),
		"location": s.location, "tags": s.tags, "properties": properties,
	}
}

func (s *Scoring) traffic() map[string]int {
	split := make(map[string]int)
	for _, d := range s.deployments {
		split[d.Name] = d.Traffic
	}
	return split
}

// hasAddress reports whether an endpoint in this state has one yet.
func hasAddress(state string) bool { return state != "Transitioning" && state != "Creating" }

func escaped(path string) string { return (&url.URL{Path: path}).EscapedPath() }
