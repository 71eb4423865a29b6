package azureml

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"amlproxy/internal/secret"
)

// Config says which workspace to ask, and as whom.
type Config struct {
	// The workspace. All three may be empty for [Workspace.Entra] alone.
	SubscriptionID, ResourceGroup, Workspace string

	Cloud Cloud // empty: Public

	// For a private cloud, each instead of what Cloud says: the address of Azure
	// Resource Manager, the audience of tokens for it, and the scope of Entra
	// tokens for scoring ("https://ml.azure.com/.default").
	ARMURL, ARMAudience, MLScope string

	Identity Identity

	// Client carries everything that goes out; its Transport knows roots and
	// proxies. Its timeout, cookies and redirect policy are not used. Required.
	Client *http.Client

	// Prompt is given what the operator has to read in order to sign in. Required
	// for a device-code login. It must be safe for concurrent use.
	Prompt func(message string)

	// Notice, if not nil, is told what works and will surprise the operator some
	// day, once for each endpoint: that it is in another region than its workspace.
	// It must be safe for concurrent use, and must not block.
	Notice func(message string)
}

// Identity is who the proxy is to Azure. Without a client secret, a certificate
// and a login, it is what azidentity's DefaultAzureCredential finds: AZURE_*
// variables, a workload identity, a managed identity, the az command's login.
type Identity struct {
	TenantID, ClientID string
	ClientSecret       secret.Value

	// CertFile is, instead of the secret, a certificate with its private key: PEM,
	// or PKCS #12 under CertPassword. It is read again when a token is asked for, so
	// that a renewed one is taken up.
	CertFile     string
	CertPassword secret.Value

	AuthorityHost            string // empty: what the cloud says; https always
	DisableInstanceDiscovery bool   // for an authority that Entra does not know

	// Login has the operator sign in: LoginBrowser or LoginDeviceCode.
	Login string
}

// The values of [Identity].Login.
const (
	LoginBrowser    = "browser"
	LoginDeviceCode = "device-code"
)

// A Cloud is one of Azure's separate clouds.
type Cloud string

// The clouds.
const (
	Public       Cloud = "public"
	USGovernment Cloud = "usgovernment"
	China        Cloud = "china"
)

// A Mode says how an endpoint authenticates: what the workspace says (Auto), or
// one of the [upstream.Kind]s, which is then believed.
type Mode string

// Auto asks the workspace how an endpoint authenticates. So does the empty Mode.
const Auto Mode = "auto"

// A Workspace makes Sources for the endpoints of one workspace. It is safe for
// concurrent use.
type Workspace struct {
	arm     string // the address of Azure Resource Manager, without a final slash
	id      string // the workspace's ARM id; empty when no workspace was given
	path    string // the same, escaped for a URL
	mlScope string

	identity *tokens
	armToken policy.TokenRequestOptions // what the pipeline asks identity for
	hosts    hosts
	flights  *flights

	send      sender // with the identity's token
	sendPlain sender // without any
	principal string // for whom a missing role is to be granted; may be empty
	notice    func(string)
}

// New checks cfg and makes a Workspace. It does not touch the network.
func New(cfg Config) (*Workspace, error) {
	if cfg.Client == nil {
		return nil, errors.New("azureml: an HTTP client is required")
	}
	place, err := cfg.cloud()
	if err != nil {
		return nil, fmt.Errorf("azureml: %w", err)
	}
	id, err := cfg.workspaceID()
	if err != nil {
		return nil, fmt.Errorf("azureml: %w", err)
	}
	options := clientOptions(cfg.Client, place)
	flights := newFlights()
	identity, err := newTokens(cfg, options, flights)
	if err != nil {
		return nil, fmt.Errorf("azureml: %w", err)
	}
	service := place.Services[cloud.ResourceManager]
	w := &Workspace{
		arm:       strings.TrimRight(service.Endpoint, "/"),
		id:        id,
		path:      escapePath(id),
		mlScope:   cfg.mlScope(),
		identity:  identity,
		armToken:  policy.TokenRequestOptions{Scopes: []string{service.Audience + "/.default"}, EnableCAE: true},
		flights:   flights,
		sendPlain: plainSender(options),
		principal: cfg.Identity.ClientID,
		notice:    cfg.Notice,
	}
	if w.send, err = armSender(identity, options); err != nil {
		return nil, fmt.Errorf("azureml: %w", err)
	}
	return w, nil
}

// SetIdentity has w prove who it is as cfg, of which nothing else is looked at,
// says from now on: a secret was exchanged for another, say. It does not touch the
// network. Tokens that are held stay in use until they are due. An error leaves
// everything as it was.
func (w *Workspace) SetIdentity(cfg Config) error {
	place, err := cfg.cloud()
	if err == nil {
		err = w.identity.become(cfg, clientOptions(cfg.Client, place))
	}
	if err != nil {
		return fmt.Errorf("azureml: %w", err)
	}
	return nil
}

// Close ends what runs in the background, a sign-in that nobody has finished for
// instance, and waits for it. Sources of w return errors afterwards.
func (w *Workspace) Close() error {
	w.flights.close()
	return nil
}

// workspaceID returns the ARM id, or nothing when no workspace is given.
func (cfg Config) workspaceID() (string, error) {
	if cfg.SubscriptionID == "" && cfg.ResourceGroup == "" && cfg.Workspace == "" {
		return "", nil
	}
	l := Location{SubscriptionID: cfg.SubscriptionID, ResourceGroup: cfg.ResourceGroup, Workspace: cfg.Workspace}
	if err := l.check(); err != nil {
		return "", err
	}
	return l.ID(), nil
}

// checkName refuses names that would reach another resource than the one meant:
// url.PathEscape leaves dots alone, and a server may resolve "..".
func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the %s is missing", what)
	case name == "." || name == ".." || strings.ContainsAny(name, "/\\") || strings.ContainsFunc(name, isControl):
		return fmt.Errorf("the %s %q cannot be a name in Azure", what, name)
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// escapePath escapes each segment of an ARM id.
func escapePath(id string) string {
	segments := strings.Split(id, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return strings.Join(segments, "/")
}
