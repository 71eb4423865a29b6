package authn

import (
	"errors"
	"net/http"
	"time"
)

// An Identity is who a request comes from, as an OpenID provider vouched for it.
// A field that the provider said nothing about is empty. It belongs to all requests
// that bring the same credential: nobody changes one.
type Identity struct {
	Issuer   string // the issuer whose keys signed for this identity
	Subject  string // sub; unique within Issuer, never reassigned
	Tenant   string // Entra's tid
	ObjectID string // Entra's oid
	Client   string // azp, client_id or appid: the program that holds the token
	Name     string
	Username string // preferred_username: for people to read, not for rules

	Email         string
	EmailVerified bool // whether the provider vouches that Email is the caller's

	Groups []string
	Roles  []string
	// GroupsOmitted says that the provider left groups out because there are too
	// many for a token (Entra's overage): Groups is then not all of them.
	GroupsOmitted bool
	Scopes        []string // of a bearer token; a session has none
	// Incomplete says that this Identity is older than the rules in force: groups
	// and claims that only they name were left out of it. It ends with the next
	// login or renewal.
	Incomplete bool
	// Claims are further claims that some route's rule names, values as strings.
	Claims map[string][]string

	Method  Method
	Session string // an identifier of the session, safe to log; empty for a bearer
	// Time is when the provider authenticated the caller. Where it did not say, a
	// session has the time of its login, and a bearer none.
	Time    time.Time
	Expires time.Time // when this Identity stops being one
	// Idle is when a session ends if it is not used again; zero for a bearer.
	Idle time.Time
	// Vocabulary is the one of LoginConfig or BearerConfig when this was made.
	Vocabulary string

	session *session // that it came of, for Sessions.Over; nil for a bearer
}

// Method is how a caller was authenticated.
type Method string

// The methods of authentication.
const (
	ByBearer  Method = "bearer"
	BySession Method = "session"
)

// An Authenticator turns a request into an Identity. It is safe for concurrent use.
type Authenticator interface {
	// Authenticate returns who is calling, or an error that wraps exactly one of
	// ErrNone, ErrInvalid, ErrForbidden and ErrUnavailable. It never returns nil
	// for both. What the answer must carry whatever becomes of the request (the
	// cookie of a renewed session) is added to answer.
	Authenticate(answer http.Header, r *http.Request) (*Identity, error)
}

// The four kinds of failure. Ask with errors.Is.
var (
	// ErrNone: the request carries no credential of the kind looked for.
	ErrNone = errors.New("no credential")
	// ErrInvalid: it carries one that is expired, forged, malformed or not for us.
	// For a session (Error.Bearer unset) the answer is that of ErrNone: a login for
	// a navigation, a plain 401 for a program; a cookie is never an invalid_token.
	ErrInvalid = errors.New("invalid credential")
	// ErrForbidden: the credential is genuine, but its holder is not let in at all
	// (a tenant that is not on the list).
	ErrForbidden = errors.New("forbidden")
	// ErrUnavailable: whether it is valid cannot be found out now (the provider's
	// keys or the session store cannot be reached).
	ErrUnavailable = errors.New("authentication unavailable")
)

// An Error is a failure with two audiences: Detail is for the caller, Err for
// the operator's log alone.
type Error struct {
	Kind error // one of the four
	// Malformed says that the request itself was broken (two Authorization
	// fields, say): RFC 6750 section 3.1, invalid_request, status 400. Kind is ErrInvalid.
	Malformed bool
	// Bearer says that a bearer token was refused: the answer carries a challenge
	// and is never a redirect to the login.
	Bearer bool
	// Store says that it is the session store that cannot be reached. Kind is
	// ErrUnavailable.
	Store  bool
	Detail string
	Err    error
}

// Error returns the kind, the detail and the cause; it is for logs.
func (e *Error) Error() string {
	s := e.Kind.Error()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// FirstOf returns an Authenticator that asks each in turn until one answers
// anything but ErrNone. A credential that is there and bad ends the search, so
// a bad bearer token is never made good by a cookie beside it.
func FirstOf(authenticators ...Authenticator) Authenticator { return firstOf(authenticators) }

type firstOf []Authenticator

func (all firstOf) Authenticate(answer http.Header, r *http.Request) (*Identity, error) {
	for _, a := range all {
		id, err := a.Authenticate(answer, r)
		if !errors.Is(err, ErrNone) {
			return id, err
		}
	}
	return nil, ErrNone
}
