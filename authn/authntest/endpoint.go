package authntest

import "net/http"

// An Endpoint is one of the provider's addresses. Faults are aimed at one, and
// calls are counted by it.
type Endpoint string

// The endpoints. Any stands for all of them.
const (
	Discovery     Endpoint = "discovery"
	Keys          Endpoint = "keys"
	Authorization Endpoint = "authorization"
	LoginPage     Endpoint = "login"
	TokenEndpoint Endpoint = "token"
	UserInfo      Endpoint = "userinfo"
	Introspection Endpoint = "introspection"
	Revocation    Endpoint = "revocation"
	EndSession    Endpoint = "end_session"
	SignedOut     Endpoint = "signed out"
	Any           Endpoint = "any"
)

// Points at which a Fault changes something before it is sent.
const (
	atIDToken     Endpoint = "id token"
	atAccessToken Endpoint = "access token"
	atResponse    Endpoint = "authorization response"
)

// endpointAt returns which endpoint has that path below the issuer.
func endpointAt(path string) (Endpoint, bool) {
	switch path {
	case "/.well-known/openid-configuration":
		return Discovery, true
	case "/keys":
		return Keys, true
	case "/authorize":
		return Authorization, true
	case "/login":
		return LoginPage, true
	case "/oauth/token":
		return TokenEndpoint, true
	case "/userinfo":
		return UserInfo, true
	case "/oauth/introspect":
		return Introspection, true
	case "/revoke":
		return Revocation, true
	case "/end_session":
		return EndSession, true
	case "/signed-out":
		return SignedOut, true
	}
	return "", false
}

// handler returns what serves an endpoint while nothing is wrong.
func (p *Provider) handler(e Endpoint) http.Handler {
	switch e {
	case Discovery:
		return shared(http.HandlerFunc(p.discovery))
	case Keys:
		return shared(http.HandlerFunc(p.op.publish))
	case Authorization:
		return http.HandlerFunc(p.authorize)
	case LoginPage:
		return p.sameOrigin.Handler(http.HandlerFunc(p.login))
	case TokenEndpoint:
		return shared(http.HandlerFunc(p.token))
	case UserInfo:
		return shared(http.HandlerFunc(p.userinfo))
	case Introspection:
		return http.HandlerFunc(p.op.introspect)
	case Revocation:
		return http.HandlerFunc(p.op.revoke)
	case EndSession:
		return http.HandlerFunc(p.signOut)
	case SignedOut:
		return http.HandlerFunc(p.signedOut)
	default:
		return http.NotFoundHandler()
	}
}

// shared lets pages of any origin read what next answers, as a browser
// application with a public client needs to. No cookie is involved in any of it.
func shared(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if r.Method == http.MethodOptions {
			w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
			w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
