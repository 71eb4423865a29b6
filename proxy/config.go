package proxy

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"amlproxy/authn"
)

// A Config says what a [Proxy] serves and whom it asks who is calling.
type Config struct {
	// Routes are the models. Their order means nothing: the longest path wins.
	Routes []Route

	// Authenticator says who is calling. It may be nil only if every route is public.
	Authenticator authn.Authenticator
	// Login signs people in. Without one (nil), nobody is redirected: a caller
	// without a credential gets 401, and /oauth2/start and its kin do not exist.
	Login Login
	// Issuers are the authorization servers named in the metadata of RFC 9728.
	Issuers []string

	// PublicURL is the URL that callers use: scheme and host, no path. Required
	// with Login. It goes before anything a request says about itself.
	PublicURL *url.URL
	// TrustedProxies are the peers whose X-Forwarded-* fields are believed. None
	// are by default.
	TrustedProxies []netip.Prefix

	// ReadTimeout is how long a caller may take with the body of a request that is
	// not forwarded; 0: 10 s.
	ReadTimeout time.Duration
	// BodyTimeout is how long a caller may take for each 30 KiB of a body that is
	// forwarded; 0: 30 s, which is at least 1 KiB/s.
	BodyTimeout time.Duration

	// Limiter shares the rate limits with other replicas; nil: each keeps its own.
	Limiter Limiter

	// Admit, if not nil, is asked about every request that may be forwarded, before
	// it is: an error refuses it with 503. The Record holds what is known by then
	// (who, which route, when, from where) and is not to be kept or changed. The
	// request waits for it, so it must return soon whatever happened.
	Admit func(context.Context, *Record) error

	// Sessions says whether sessions are over, so that answers and WebSockets end
	// with them; nil: they end with the identity's own time alone.
	Sessions Sessions
	// SweepEvery is how often Sessions is asked while there is anybody to ask about;
	// 0: 2 s. It is also how long an answer of it is waited for.
	SweepEvery time.Duration

	// Record is given one Record a request, after its last byte, on the request's
	// own goroutine; it is not to be kept or changed. Required: a proxy that nobody
	// watches is not started.
	Record func(*Record)
	// Trace, if not nil, begins the span of each request.
	Trace Trace
	// Ready says whether /readyz should answer 200; nil means always.
	Ready func() Readiness
	// KeepsGroup reports whether sessions hold a group; nil: they hold all. It decides
	// nothing, and explains why allowed_groups was not met.
	KeepsGroup func(group string) bool
}

// Login signs people in and out; *authn.Login is one. Its methods write the
// whole answer when they succeed; when they fail they have written nothing, and
// return an error that wraps one of authn's four kinds. Each is safe for
// concurrent use.
type Login interface {
	// Start sends the browser to the provider; the query's rd says where to
	// return. The Login decides whether rd may be returned to.
	Start(w http.ResponseWriter, r *http.Request) error
	// Callback takes the provider's answer, by GET or by POST (form_post).
	Callback(w http.ResponseWriter, r *http.Request) error
	// SignOut ends the session here and at the provider.
	SignOut(w http.ResponseWriter, r *http.Request) error
	// BackchannelLogout takes the provider's word that a session of its is over.
	BackchannelLogout(w http.ResponseWriter, r *http.Request) error
	// SignedOut returns where a person goes on who comes back from SignOut at the
	// provider with that state, "/" if he does not. It may add cookies to answer.
	SignedOut(answer http.Header, r *http.Request, state string) string
	// Clear takes a session from the browser that is there and cannot be used.
	Clear(answer http.Header, r *http.Request)
}

// Sessions knows which sessions are over; *authn.Sessions is one. It is safe for
// concurrent use.
type Sessions interface {
	// Over reports of each of ids whether its session is over. An error says that
	// it cannot be told, and ends nobody's.
	Over(ctx context.Context, ids []*authn.Identity) ([]bool, error)
}

// A Route is one model: where it is served, who may call it, within which
// limits, and through which Transport. It is read once, by [New].
type Route struct {
	Name string // for people, logs and /oauth2/auth?route=; unique
	Path string // "/models/" + Name when empty; unique on its host
	// Host is the only one that it is served on, in lower case, with or without a
	// port; "" means every host that no other route at the path names. It chooses
	// between routes and protects none: callers name what host they like.
	Host string

	// Public lets anyone call, and then Access must be nil. No credential is
	// looked at on a public route, good or bad, so it does not need the provider.
	Public bool
	// Access is who may call; nil means anyone signed in.
	Access *Access

	Methods []string // nil: GET and POST. "*" is not a method.
	Paths   []string // what may be called below Path; nil: score and swagger.json; {"*"}: anything

	CORS      *CORS
	RateLimit *RateLimit

	MaxConcurrent int           // requests at the same time; 0: no limit
	MaxBody       int64         // bytes of a request's body; 0: 64 MiB
	Timeout       time.Duration // from the end of the request until the answer begins; 0: 180 s
	IdleTimeout   time.Duration // then between two bytes of it, or of a WebSocket; 0: 5 min

	// IdentityHeaders are what the model is told about the caller: user, email,
	// groups become X-Forwarded-User, -Email, -Groups.
	IdentityHeaders []string

	// Transport sends the request, with the credential of its own choice. The
	// request's URL path is only what lies below Path (see [upstream.Transport]).
	// Required.
	Transport http.RoundTripper
}

// Access says who of those signed in may call: whoever meets any one rule of Any
// (or anyone, when Any has none), every rule of All, and no rule of None. An
// Access without a single rule, and a list that is empty but not nil, are refused
// by [New]: they would read as "nobody" to some and as "everybody" to others.
type Access struct {
	Any  Rules
	All  Rules
	None Rules
}

// Rules are values to look for in an identity. A rule is one kind with its
// values, and any one of the values meets it; each name in Claims is a rule. A
// nil list is no rule.
type Rules struct {
	Groups []string
	Roles  []string
	Scopes []string // of bearer tokens; a session has none
	// Emails are compared exactly, save that the domain's case does not matter,
	// and only with an address that the provider vouches for. Under None any address
	// counts, whatever its case, and one that nobody names is met by every rule.
	Emails   []string
	Domains  []string // of such an address: what follows its only @, whole
	Subjects []string
	Clients  []string
	Claims   map[string][]string
}

// CORS says which pages of other origins may read a route's answers.
type CORS struct {
	// Origins are compared exactly, as browsers write them: scheme://host[:port]
	// in lower case. "*" alone means every origin, and excludes Credentials.
	Origins []string
	// Credentials lets those pages send the session cookie. Cookies are
	// SameSite=Lax, so this is for origins of the same site.
	Credentials bool
}

// A RateLimit is a token bucket for each caller.
type RateLimit struct {
	Requests int           // that may come
	Per      time.Duration // in this time, on average
	Burst    int           // at once; 0: Requests
	By       LimitBy       // ByUser when empty
}

// LimitBy is who shares a bucket of a RateLimit.
type LimitBy string

// Who shares a bucket. On a public route, where nobody is known, ByUser and
// ByClient mean ByAddress.
const (
	ByUser    LimitBy = "user"
	ByClient  LimitBy = "client"
	ByRoute   LimitBy = "route"
	ByAddress LimitBy = "address" // IPv6: the /64
)

// Readiness is the body of /readyz. Anybody may read it: it says what a caller
// can know, and leaves causes to the log.
type Readiness struct {
	Ready  bool   `json:"ready"` // false: 503
	Reason string `json:"reason,omitempty"`
	// Store says how the store of sessions stands, if there is one. Without it
	// bearer tokens and public routes go on, so it makes no replica unready.
	Store  *StoreReading  `json:"session_store,omitempty"`
	Routes []RouteReading `json:"routes,omitempty"`
}

// A StoreReading says how the store of sessions stands: "ready" or "missing".
type StoreReading struct {
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// A RouteReading says how one route stands: "ready", "degraded" or "missing".
type RouteReading struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}
