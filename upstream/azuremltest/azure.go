package azuremltest

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Options are what an Azure is called and how it deals with time. Everything
// has a default; names and the secret are made up anew each time.
type Options struct {
	Tenant, ClientID, ClientSecret           string // the one service principal
	SubscriptionID, ResourceGroup, Workspace string
	Location                                 string // the workspace's region; default westeurope

	// AssertionKey is the public key of a client certificate: the client may then
	// prove itself by an assertion signed with it. Default: by the secret alone.
	AssertionKey crypto.PublicKey

	// ARMAudience and MLAudience are the resources that tokens are asked for. They
	// are deliberately not those of a public cloud, so that an audience written
	// into the code under test is found out. Audiences are further ones that the
	// authority knows.
	ARMAudience, MLAudience string
	Audiences               []string

	// EntraLifetime is how long Entra's tokens are valid, by default 3599 s, as in
	// reality. EntraRefresh is when they should be renewed, if the answer says so
	// at all; by default it does not.
	EntraLifetime, EntraRefresh time.Duration

	Clock  Clock                        // default: the real time
	Listen func() (net.Listener, error) // default: a free port of 127.0.0.1
}

// An Azure is one workspace and everything around it. It is safe for concurrent
// use.
type Azure struct {
	options Options
	clock   Clock
	ca      *ca
	mint    *mint
	hosts   *hosts
	counts  counts
	faults  faults
	reads   *rate.Limiter // ARM's buckets, per subscription, region and principal
	writes  *rate.Limiter

	workspaceID       string
	entra, arm, model *host

	mu         sync.Mutex
	denied     map[string]bool // actions that the principal may not do
	operations map[string]int  // long-running ones: how many polls they still take
	services   map[string]*Scoring
	endpoints  map[string]*Scoring
	serverless map[string]*Scoring
}

// Start opens the hosts and returns when they answer.
func Start(o Options) (*Azure, error) {
	o = o.withDefaults()
	authority, err := newCA(o.Clock.Now())
	if err != nil {
		return nil, err
	}
	certificate, err := authority.server(o.Clock.Now())
	if err != nil {
		return nil, err
	}
	mint, err := newMint(o.Clock)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &Azure{
		options: o, clock: o.Clock, ca: authority, mint: mint,
		hosts:       &hosts{listen: o.Listen, certificate: certificate, ctx: ctx, cancel: cancel},
		workspaceID: guid(),
		denied:      make(map[string]bool), operations: make(map[string]int),
		services: make(map[string]*Scoring), endpoints: make(map[string]*Scoring), serverless: make(map[string]*Scoring),
	}
	a.reads, a.writes = buckets()
	if err := a.open(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// open starts the three hosts of the workspace. None of them is asked for
// anything before Start returns, so that they may name each other's addresses.
func (a *Azure) open() (err error) {
	if a.entra, err = a.hosts.serve(true, a.authority()); err != nil {
		return fmt.Errorf("starting the authority: %w", err)
	}
	if a.arm, err = a.hosts.serve(true, a.resourceManager()); err != nil {
		return fmt.Errorf("starting the resource manager: %w", err)
	}
	if a.model, err = a.hosts.serve(true, a.modelManagement()); err != nil {
		return fmt.Errorf("starting model management: %w", err)
	}
	return nil
}

// Close ends all hosts and returns when nothing of them runs any more. A model
// must return when its request's context ends, or Close waits for it.
func (a *Azure) Close() error { return a.hosts.close() }

func (o Options) withDefaults() Options {
	o.Tenant = or(o.Tenant, guid())
	o.ClientID = or(o.ClientID, guid())
	o.ClientSecret = or(o.ClientSecret, randomText(30))
	o.SubscriptionID = or(o.SubscriptionID, guid())
	o.ResourceGroup = or(o.ResourceGroup, "models")
	o.Workspace = or(o.Workspace, "workspace")
	o.Location = or(o.Location, "westeurope")
	o.ARMAudience = or(o.ARMAudience, "https://management.azure.test")
	o.MLAudience = or(o.MLAudience, "https://ml.azure.test")
	if o.EntraLifetime == 0 {
		o.EntraLifetime = 3599 * time.Second
	}
	if o.Clock == nil {
		o.Clock = wallClock{}
	}
	if o.Listen == nil {
		o.Listen = func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
	}
	return o
}

func or(value, standard string) string {
	if value == "" {
		return standard
	}
	return value
}

// CAPEM returns the certificate of the CA that all https hosts chain to.
func (a *Azure) CAPEM() []byte { return slices.Clone(a.ca.pem) }

// AuthorityURL returns the address of the Entra authority, with a slash at its
// end.
func (a *Azure) AuthorityURL() string { return a.entra.url + "/" }

// ARMURL returns the address of Azure Resource Manager.
func (a *Azure) ARMURL() string { return a.arm.url }

// ModelManagementURL returns the address of the v1 model management service,
// which amlproxy has to find out by host discovery.
func (a *Azure) ModelManagementURL() string { return a.model.url }

// ARMAudience returns the audience that ARM and model management demand.
func (a *Azure) ARMAudience() string { return a.options.ARMAudience }

// MLScope returns the scope of the tokens that endpoints with [Entra] demand.
func (a *Azure) MLScope() string { return a.options.MLAudience + "/.default" }

// Tenant returns the ID of the one tenant.
func (a *Azure) Tenant() string { return a.options.Tenant }

// ClientID returns the ID of the one service principal.
func (a *Azure) ClientID() string { return a.options.ClientID }

// ClientSecret returns its secret.
func (a *Azure) ClientSecret() string { return a.options.ClientSecret }

// SubscriptionID returns the ID of the one subscription.
func (a *Azure) SubscriptionID() string { return a.options.SubscriptionID }

// ResourceGroup returns the name of the one resource group.
func (a *Azure) ResourceGroup() string { return a.options.ResourceGroup }

// WorkspaceName returns the name of the one workspace.
func (a *Azure) WorkspaceName() string { return a.options.Workspace }

// Location returns the workspace's region.
func (a *Azure) Location() string { return a.options.Location }

// Environ returns the settings that point amlproxy at this Azure, as
// NAME=value. The file with the CA is the caller's: write CAPEM to one and set
// AMLPROXY_CA_FILE.
func (a *Azure) Environ() []string {
	return []string{
		"AML_TENANT_ID=" + a.Tenant(),
		"AML_PRINCIPAL_ID=" + a.ClientID(),
		"AML_PRINCIPAL_PASS=" + a.ClientSecret(),
		"AZURE_AUTHORITY_HOST=" + a.AuthorityURL(),
		"AMLPROXY_SUBSCRIPTION_ID=" + a.SubscriptionID(),
		"AMLPROXY_RESOURCE_GROUP=" + a.ResourceGroup(),
		"AMLPROXY_WORKSPACE_NAME=" + a.WorkspaceName(),
		"AMLPROXY_AZURE_ARM_URL=" + a.ARMURL(),
		"AMLPROXY_AZURE_ARM_AUDIENCE=" + a.ARMAudience(),
		"AMLPROXY_AZURE_ML_SCOPE=" + a.MLScope(),
		"AMLPROXY_AZURE_DISABLE_INSTANCE_DISCOVERY=true",
	}
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
	return !a.denied[strings.ToLower(action)]
}

// resources are the audiences that the authority issues tokens for.
func (a *Azure) resources() []string {
	return append([]string{a.options.ARMAudience, a.options.MLAudience}, a.options.Audiences...)
}

func (a *Azure) entraLifetime() (valid, refresh time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.options.EntraLifetime, a.options.EntraRefresh
}

// SetEntraLifetime changes how long the tokens that Entra issues from now on
// are valid, and when they should be renewed (zero: Entra does not say).
func (a *Azure) SetEntraLifetime(valid, refresh time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.options.EntraLifetime, a.options.EntraRefresh = valid, refresh
}

// begin notes a long-running operation that takes so many polls, and returns
// its ID.
func (a *Azure) begin(polls int) string {
	id := guid()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.operations[id] = polls
	return id
}

// poll reports whether an operation has ended, and whether there is one.
func (a *Azure) poll(id string) (done, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	left, known := a.operations[id]
	if left > 0 {
		a.operations[id]--
	}
	return left <= 0, known
}

// scopeOf is the ARM ID of the workspace, or of something in it.
func (a *Azure) scopeOf(parts ...string) string {
	id := "/subscriptions/" + url.PathEscape(a.options.SubscriptionID) +
		"/resourceGroups/" + url.PathEscape(a.options.ResourceGroup) +
		"/providers/Microsoft.MachineLearningServices/workspaces/" + url.PathEscape(a.options.Workspace)
	for _, part := range parts {
		id += "/" + url.PathEscape(part)
	}
	return id
}
