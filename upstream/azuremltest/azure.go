package azuremltest

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net"
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
	actions    []string        // what the principal may do, with stars
	denied     map[string]bool // and what of that it may not
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
		hosts: &hosts{
			listen: o.Listen, certificate: certificate,
			base: func(net.Listener) context.Context { return ctx }, cancel: cancel,
		},
		workspaceID: guid(), actions: []string{"*"},
		denied: make(map[string]bool), operations: make(map[string]int),
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
