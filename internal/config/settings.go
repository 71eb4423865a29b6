package config

import (
	"net/netip"
	"net/url"
	"slices"
	"time"

	"amlproxy/internal/secret"
)

// Prefix begins the name of every setting in the environment, but for those
// whose names others gave (AML_…, AZURE_AUTHORITY_HOST).
const Prefix = "AMLPROXY_"

// Settings is everything that was set, validated. [Load] alone makes one; it is
// read-only from then on.
//
// The tags are the one table of settings: env and envDefault are what is read,
// doc is the sentence of the reference, group its chapter. A field of type
// [secret.Value] may be read from a file as well.
type Settings struct {
	Listen            string         `env:"LISTEN" envDefault:":8080" group:"Serving" doc:"Where callers are served, as host:port."`
	AdminListen       string         `env:"ADMIN_LISTEN" envDefault:"127.0.0.1:9090" doc:"Where the operator is served: metrics and health, as host:port."`
	PublicURL         URL            `env:"PUBLIC_URL" doc:"The URL callers use: scheme and host, nothing else. Required for login; its scheme decides the cookies' security."`
	TLSCertFile       string         `env:"TLS_CERT_FILE" live:"true" doc:"Certificate chain (PEM) to serve TLS with; needs the key."`
	TLSKeyFile        string         `env:"TLS_KEY_FILE" live:"true" doc:"Private key (PEM) of the certificate."`
	ClientCAFile      string         `env:"CLIENT_CA_FILE" live:"true" doc:"Roots (PEM): whoever opens a connection must show a client certificate of one of them. It admits to the listener, and says nothing about who calls; needs TLS_CERT_FILE."`
	CAFile            string         `env:"CA_FILE" live:"true" doc:"Roots (PEM) to trust besides the system's, for everything the proxy calls."`
	TrustedProxies    []netip.Prefix `env:"TRUSTED_PROXIES" doc:"Addresses or CIDRs of proxies in front whose X-Forwarded-* are believed."`
	DrainDelay        time.Duration  `env:"DRAIN_DELAY" envDefault:"5s" zero:"true" doc:"How long SIGTERM leaves the listener open while /readyz says 503, so that balancers look elsewhere first; 0s for none. Ctrl-C does not wait."`
	DrainTimeout      time.Duration  `env:"DRAIN_TIMEOUT" envDefault:"20s" doc:"How long requests may then take to finish."`
	ReadHeaderTimeout time.Duration  `env:"READ_HEADER_TIMEOUT" envDefault:"10s" doc:"How long a caller may take to send the header of a request."`
	IdleTimeout       time.Duration  `env:"IDLE_TIMEOUT" envDefault:"90s" doc:"How long an idle connection of a caller is kept."`
	MaxHeaderBytes    Size           `env:"MAX_HEADER_BYTES" envDefault:"64KiB" doc:"The largest header of a request."`
	LogLevel          string         `env:"LOG_LEVEL" envDefault:"info" oneof:"debug,info,warn,error" doc:"What is logged."`
	LogFormat         string         `env:"LOG_FORMAT" envDefault:"json" oneof:"json,console" doc:"How it is logged: json for programs, console for people."`
	AuditFile         string         `env:"AUDIT_FILE" doc:"Where every call of a model is put on record before it is made, who made it included; - for standard output. What cannot be recorded is refused."`

	OIDCIssuer            string         `env:"OIDC_ISSUER" group:"Who may call" doc:"The OpenID provider that people sign in at. A route that is not public needs this or BEARER_ISSUERS."`
	OIDCClientID          string         `env:"OIDC_CLIENT_ID" doc:"The proxy's client at that provider."`
	OIDCClientSecret      secret.Value   `env:"OIDC_CLIENT_SECRET" live:"true" doc:"Its secret; without one, and without the settings below, PKCE alone."`
	OIDCClientAuth        string         `env:"OIDC_CLIENT_AUTH" oneof:"client_secret_basic,client_secret_post" doc:"How the secret is sent; as the provider's discovery says when absent."`
	OIDCClientKeyFile     string         `env:"OIDC_CLIENT_KEY_FILE" doc:"Its private key (PEM) instead of a secret: the client signs what it proves itself with (private_key_jwt)."`
	OIDCClientCertFile    string         `env:"OIDC_CLIENT_CERT_FILE" doc:"The certificate (PEM) of that key, as it was uploaded to Entra: it is named by x5t."`
	OIDCClientKeyID       string         `env:"OIDC_CLIENT_KEY_ID" doc:"The kid of that key, where the provider gave it one."`
	OIDCAssertionAudience string         `env:"OIDC_CLIENT_ASSERTION_AUDIENCE" doc:"The audience of what that key signs; the issuer when absent, for Entra the token endpoint."`
	OIDCAssertionFile     string         `env:"OIDC_CLIENT_ASSERTION_FILE" doc:"A file with a token that somebody else signed for the client instead of a secret (workload identity federation); read each time."`
	OIDCScopes            []string       `env:"OIDC_SCOPES" envDefault:"openid,profile,email" doc:"Scopes to ask for at login; add offline_access for refresh."`
	OIDCAuthorizationURL  string         `env:"OIDC_AUTHORIZATION_URL" doc:"The provider's authorization endpoint, for one without discovery; needs OIDC_TOKEN_URL and OIDC_JWKS_URL too."`
	OIDCTokenURL          string         `env:"OIDC_TOKEN_URL" doc:"Its token endpoint; see OIDC_AUTHORIZATION_URL."`
	OIDCKeysURL           string         `env:"OIDC_JWKS_URL" doc:"Its key set; see OIDC_AUTHORIZATION_URL."`
	OIDCEndSessionURL     string         `env:"OIDC_END_SESSION_URL" doc:"Where it ends its session, if it can; only with OIDC_AUTHORIZATION_URL."`
	OIDCUserinfoURL       string         `env:"OIDC_USERINFO_URL" doc:"Its userinfo endpoint, if it has one; only with OIDC_AUTHORIZATION_URL."`
	OIDCResponseMode      string         `env:"OIDC_RESPONSE_MODE" envDefault:"query" oneof:"query,form_post" doc:"How the provider answers a login: through the address, or by a POST, which needs https."`
	OIDCParameters        []string       `env:"OIDC_PARAMETERS" doc:"What else to ask for at every login, as name=value: prompt, login_hint, domain_hint, acr_values, max_age. The ID token has to show what acr_values and max_age ask for."`
	OIDCStartParameters   []string       `env:"OIDC_START_PARAMETERS" envDefault:"login_hint,domain_hint" doc:"Which of these whoever starts a login may set, in the query of /oauth2/start; none for none."`
	OIDCAudiences         []string       `env:"OIDC_AUDIENCES" doc:"Audiences accepted in bearer tokens of that issuer; the client ID when absent."`
	OIDCTenants           []string       `env:"OIDC_TENANTS" doc:"Tenants that are let in, for a multi-tenant Entra issuer."`
	OIDCAlgorithms        []string       `env:"OIDC_ALGORITHMS" doc:"Algorithms that its tokens may be signed with, RS256 say; every asymmetric one when absent."`
	OIDCGroupsClaim       string         `env:"OIDC_GROUPS_CLAIM" envDefault:"groups" doc:"The claim that holds the caller's groups."`
	OIDCRolesClaim        string         `env:"OIDC_ROLES_CLAIM" envDefault:"roles" doc:"The claim that holds the caller's roles."`
	CookieSecrets         []secret.Value `env:"COOKIE_SECRET" live:"true" doc:"Base64, 32 random bytes each, newest first, comma-separated: what sessions are sealed with. Required for login."`
	SessionIdle           time.Duration  `env:"SESSION_IDLE" envDefault:"1h" doc:"A session unused for this long ends."`
	SessionMax            time.Duration  `env:"SESSION_MAX" envDefault:"12h" doc:"A session ends after this long, used or not."`
	SessionRefresh        time.Duration  `env:"SESSION_REFRESH" envDefault:"15m" doc:"Claims older than this are renewed through the refresh token."`
	SessionGroups         []string       `env:"SESSION_GROUPS" doc:"Groups that sessions keep besides those that routes name: what /oauth2/auth?allowed_groups= asks for."`
	ReturnOrigins         []string       `env:"RETURN_ORIGINS" doc:"Other origins that rd may return to after login."`

	RedisURL secret.Value `env:"REDIS_URL" doc:"Where replicas share rate limits, and sessions, which makes ending one an end everywhere: redis://[user:password@]host[:port][/database], or rediss:// for TLS."`

	WorkspaceConfig string `env:"WORKSPACE_CONFIG" group:"The workspace" doc:"The workspace's config.json; found as the SDK finds it when absent."`
	SubscriptionID  string `env:"SUBSCRIPTION_ID" doc:"With RESOURCE_GROUP and WORKSPACE_NAME: the workspace, instead of the file."`
	ResourceGroup   string `env:"RESOURCE_GROUP" doc:"See SUBSCRIPTION_ID."`
	WorkspaceName   string `env:"WORKSPACE_NAME" doc:"See SUBSCRIPTION_ID."`

	AzureCloud                    string `env:"AZURE_CLOUD" envDefault:"public" oneof:"public,usgovernment,china" doc:"The Azure cloud."`
	AzureARMURL                   string `env:"AZURE_ARM_URL" doc:"Azure Resource Manager, for a private cloud, which needs AZURE_ARM_AUDIENCE too; by AZURE_CLOUD when absent."`
	AzureARMAudience              string `env:"AZURE_ARM_AUDIENCE" doc:"The audience of its tokens; needs AZURE_ARM_URL."`
	AzureMLScope                  string `env:"AZURE_ML_SCOPE" doc:"The scope of Entra tokens for scoring; by AZURE_CLOUD when absent."`
	AzureDisableInstanceDiscovery bool   `env:"AZURE_DISABLE_INSTANCE_DISCOVERY" envDefault:"false" doc:"For an authority that Entra does not know."`
	AzureLogin                    string `env:"AZURE_LOGIN" oneof:"browser,device-code" doc:"The operator signs in, instead of a service principal."`
	SDKAuthFile                   string `env:"SDK_AUTH_FILE" doc:"The JSON that az ad sp create-for-rbac printed, with --sdk-auth or without, instead of AML_…; its cloud counts where no setting says otherwise."`

	ReplayLimit Size   `env:"REPLAY_LIMIT" live:"true" envDefault:"1MiB" group:"Routes" doc:"The largest body kept for the retry after a rotation."`
	RoutesFile  string `env:"ROUTES_FILE" live:"true" doc:"The routes, as YAML."`

	// Identity is who the proxy is towards Azure. It comes from AML_… or from
	// SDKAuthFile; the names are empty when neither is set, and azidentity's default
	// chain is to be used.
	Identity Identity `env:"-"`
	// BearerIssuers are further issuers of bearer tokens; OIDCIssuer is not among them.
	BearerIssuers []BearerIssuer `env:"-"`
	// Routes are at least one.
	Routes []Route `env:"-"`
	// Workspaces are those of the routes file by name, and under "" the one of the
	// environment: there if it was set, or if some backend is in none of the others.
	Workspaces map[string]Workspace `env:"-"`
	// Tracing is where spans go; its names are OpenTelemetry's.
	Tracing Tracing `env:"-"`
	// Warnings say what is accepted and still unwise; they are for the log.
	Warnings []string `env:"-"`
	// Notes say what follows from the settings, for whoever asks.
	Notes []string `env:"-"`
	// Files are those that the settings were read from.
	Files Files `env:"-"`
}

// Login reports whether people can sign in: whether an issuer is set for it.
func (s *Settings) Login() bool { return s.OIDCIssuer != "" }

// Identity is a service principal. TenantID and ClientID are set, with exactly one
// of ClientSecret and CertFile, or neither is; TenantID alone says, with
// [Settings].AzureLogin, in which tenant the operator signs in.
type Identity struct {
	TenantID      string       `env:"AML_TENANT_ID" doc:"Tenant of the service principal that the proxy is; with AMLPROXY_AZURE_LOGIN, the one that the operator signs in to."`
	ClientID      string       `env:"AML_PRINCIPAL_ID" doc:"Its client ID."`
	ClientSecret  secret.Value `env:"AML_PRINCIPAL_PASS" live:"true" doc:"Its secret."`
	CertFile      string       `env:"AML_PRINCIPAL_CERT_FILE" doc:"Its certificate with the private key (RSA), as PEM or PFX, instead of the secret; read again when it changes."`
	CertPassword  secret.Value `env:"AML_PRINCIPAL_CERT_PASSWORD" doc:"The password of that file, if it is a PFX."`
	AuthorityHost string       `env:"AZURE_AUTHORITY_HOST" doc:"The Entra authority, https; by AMLPROXY_AZURE_CLOUD when absent."`
}

// IsZero reports whether no service principal was set.
func (i Identity) IsZero() bool { return i.ClientID == "" }

// A BearerIssuer is one of BEARER_ISSUERS_n.
type BearerIssuer struct {
	URL         string   `env:"URL" doc:"An issuer of bearer tokens."`
	Audiences   []string `env:"AUDIENCES" doc:"Audiences accepted from it; required."`
	Tenants     []string `env:"TENANTS" doc:"Tenants that are let in, for a multi-tenant Entra issuer."`
	Algorithms  []string `env:"ALGORITHMS" doc:"Algorithms that its tokens may be signed with; every asymmetric one when absent."`
	GroupsClaim string   `env:"GROUPS_CLAIM" envDefault:"groups" doc:"The claim that holds the caller's groups."`
	RolesClaim  string   `env:"ROLES_CLAIM" envDefault:"roles" doc:"The claim that holds the caller's roles."`
}

// A URL is an absolute http or https URL without user information. The embedded
// pointer is nil when the setting is absent.
type URL struct{ *url.URL }

// A Size is a number of bytes. It is written as a number alone or with B, KB,
// MB, GB (powers of 1000), KiB, MiB or GiB (powers of 1024).
type Size int64

// How a route authenticates at its endpoint.
const (
	AuthAuto  = "auto"  // asks the workspace
	AuthNone  = "none"  // not at all
	AuthKey   = "key"   // a key: the workspace's, or the one given
	AuthToken = "token" // a token that the workspace issues
	AuthEntra = "entra" // an Entra token
)

// A Workspace is named by SubscriptionID, ResourceGroup and WorkspaceName, or by
// Config. Only the one of the environment may have none of them: then its file is
// to be found as the Azure ML SDK finds it.
type Workspace struct {
	Name  string // [a-z0-9-], "" for the environment's
	Where string // as of a [Route]

	SubscriptionID, ResourceGroup, WorkspaceName string

	Config string // path of a config.json
}

// A Route is one served model.
type Route struct {
	Name string // [a-z0-9-], unique
	Path string // canonical; no other route's on its host
	Host string // in lower case, with or without a port; "" for every host
	// Where the route was written, for messages: a file, line and column or the
	// name of its first setting.
	Where string

	Backends []Backend // what is called, the first one first; never empty

	Public bool    // anyone at all; Access is nil
	Access *Access // nil: anyone signed in

	Methods         []string // never empty
	Paths           []string // segments below Path; ["*"] for all; never empty
	CORS            *CORS    // nil: none
	RateLimit       *RateLimit
	MaxConcurrent   int           // 0: no limit
	MaxBody         int64         // bytes, above 0
	Timeout         time.Duration // above 0
	IdentityHeaders []string      // of "user", "email", "groups"
}

// A Backend is what a route calls. Exactly one of Service, Endpoint, Serverless
// and URL is set.
type Backend struct {
	Where string // as of a [Route]

	Workspace  string // a key of [Settings].Workspaces; "" with URL
	Service    string
	Endpoint   string
	Deployment string // of Endpoint, "" for its traffic split
	Serverless string
	URL        *url.URL

	Auth         string       // one of the Auth constants
	Key          secret.Value // with URL and AuthKey alone
	SecondaryKey secret.Value // optional

	TLS *TLS // nil: as everything else is called
}

// TLS is what one backend is called with. It holds what was in the files, so that a
// file that changed is another TLS.
type TLS struct {
	CA         string       // roots (PEM) to trust instead of the system's and CA_FILE's; "" for those
	Cert       string       // certificate chain (PEM) to show; "" for none
	Key        secret.Value // its private key (PEM)
	ServerName string       // what its certificate must be for; "" for the host of the address
}

// Equal reports whether both are the same; nil is like nil alone.
func (t *TLS) Equal(other *TLS) bool {
	if t == nil || other == nil {
		return t == other
	}
	return t.CA == other.CA && t.Cert == other.Cert && t.ServerName == other.ServerName && t.Key.Equal(other.Key)
}

// NeedsWorkspace reports whether the backend is something in a workspace, so that
// the workspace must be known.
func (b *Backend) NeedsWorkspace() bool { return b.URL == nil }

// NeedsWorkspace reports whether any backend of the route does.
func (r *Route) NeedsWorkspace() bool {
	return slices.ContainsFunc(r.Backends, func(b Backend) bool { return b.NeedsWorkspace() })
}

// Access says who of those signed in may call: whoever meets any one rule of
// Any (or anyone, when Any has none), every rule of All, and no rule of None. At
// least one of the three has a rule.
type Access struct {
	Any, All, None Rules
}

// Rules are values to look for in an identity. A rule is one kind with its
// values, and any one of the values meets it; each name in Claims is a rule.
type Rules struct {
	Groups, Roles, Scopes, Emails, Domains, Subjects, Clients []string
	Claims                                                    map[string][]string
}

// CORS says which pages may call from a browser.
type CORS struct {
	Origins     []string // scheme://host[:port], as browsers write it
	Credentials bool     // with cookies; all origins are of the proxy's own site
}

// RateLimit is a token bucket per caller.
type RateLimit struct {
	Requests int
	Per      time.Duration
	Burst    int    // at least 1
	By       string // "user", "client", "address" or "route"
}
