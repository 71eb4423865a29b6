package proxy

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"amlproxy/authn"
)

// An endpoint is one of the proxy's own.
type endpoint struct {
	methods []string
	serve   func(*exchange) *refusal
}

func (p *Proxy) newEndpoints() map[string]endpoint {
	read := []string{http.MethodGet, http.MethodHead}
	all := map[string]endpoint{
		"/livez":                                {read, p.serveLive},
		"/readyz":                               {read, p.serveReady},
		"/oauth2/auth":                          {read, p.serveAuth},
		"/oauth2/userinfo":                      {read, p.serveUserinfo},
		"/.well-known/oauth-protected-resource": {read, p.serveMetadata},
	}
	if p.login != nil {
		maps.Copy(all, map[string]endpoint{
			"/oauth2/start":    {[]string{http.MethodGet}, p.serveStart},
			"/oauth2/callback": {[]string{http.MethodGet, http.MethodPost}, p.serveCallback},
			"/oauth2/sign_in":  {read, p.serveSignIn},
			"/oauth2/sign_out": {[]string{http.MethodGet, http.MethodPost}, p.serveSignOut},
		})
	}
	return all
}

// serveOwn answers for everything at or below the reserved paths. They are matched
// whole, so that nothing below one inherits what it is open for.
func (p *Proxy) serveOwn(x *exchange) *refusal {
	own, ok := p.endpoints[x.target.path]
	if !ok {
		return notFound()
	}
	x.record.Endpoint = strings.TrimPrefix(x.target.path, "/")
	if x.target.path == "/oauth2/userinfo" {
		shared := union(p.table.Load().sorted)
		shared.addTo(x.w.always, x.r)
		if isPreflight(x.r) {
			shared.addPreflight(x.w.always, x.r)
			x.w.WriteHeader(http.StatusNoContent)
			return nil
		}
	}
	if !slices.Contains(own.methods, x.r.Method) {
		return methodNotAllowed(strings.Join(own.methods, ", "))
	}
	return own.serve(x)
}

func (p *Proxy) serveLive(x *exchange) *refusal {
	x.write(http.StatusOK, typeJSON, []byte(`{"live":true}`))
	return nil
}

func (p *Proxy) serveReady(x *exchange) *refusal {
	reading := Readiness{Ready: true}
	if p.ready != nil {
		reading = p.ready()
	}
	status := http.StatusOK
	if !reading.Ready {
		status = http.StatusServiceUnavailable
	}
	x.writeJSON(status, reading)
	return nil
}

// serveMetadata tells clients which authorization servers give out tokens for
// this resource (RFC 9728 section 3).
func (p *Proxy) serveMetadata(x *exchange) *refusal {
	if p.publicURL == nil || len(p.issuers) == 0 {
		return notFound()
	}
	x.w.always.Set("Access-Control-Allow-Origin", "*") // it is public, and scripts need it
	x.writeJSON(http.StatusOK, map[string]any{
		"resource":                 originOfURL(p.publicURL),
		"authorization_servers":    p.issuers,
		"bearer_methods_supported": []string{"header"},
	})
	return nil
}

func (p *Proxy) serveStart(x *exchange) *refusal {
	if err := p.login.Start(x.w, x.r); err != nil {
		return p.loginFailed(err)
	}
	return nil
}

// serveCallback is not asked where the request comes from: with form_post it is
// the provider's page that sends it. The Login's state protects it.
func (p *Proxy) serveCallback(x *exchange) *refusal {
	if err := p.login.Callback(x.w, x.r); err != nil {
		return p.loginFailed(err)
	}
	return nil
}

// serveSignOut lets no other site sign a person out behind his back; a link that
// he follows may.
func (p *Proxy) serveSignOut(x *exchange) *refusal {
	check, err := newCSRF(p.publicURL, nil)
	if err != nil || crossSite(check, x.r) {
		return crossSiteRefused()
	}
	if err := p.login.SignOut(x.w, x.r); err != nil {
		return p.loginFailed(err)
	}
	return nil
}

// serveSignIn shows where to sign in. It begins no login by itself: a person who
// has just signed out would be signed in again by a provider that remembers him.
// Who is signed in all the same is told so, by name (the next person at a shared
// browser should not act as the last one unknowingly).
func (p *Proxy) serveSignIn(x *exchange) *refusal {
	query := x.r.URL.Query()
	back := query.Get("rd")
	if back == "" {
		back = query.Get("state") // the rd of a sign-out, brought back by the provider
	}
	if back == "" || isReserved(back) {
		back = "/"
	}
	id, no := p.authenticate(x)
	if no != nil && !no.login {
		return no
	}
	x.write(http.StatusOK, typeHTML, p.pages.signIn(id, "/oauth2/start?rd="+url.QueryEscape(back)))
	return nil
}

// userinfo is what a page may know about who is signed in: never a token.
type userinfo struct {
	Issuer            string     `json:"iss,omitempty"`
	Subject           string     `json:"sub"`
	Name              string     `json:"name,omitempty"`
	PreferredUsername string     `json:"preferred_username,omitempty"`
	Email             string     `json:"email,omitempty"`
	EmailVerified     bool       `json:"email_verified"`
	Groups            []string   `json:"groups,omitempty"`
	Roles             []string   `json:"roles,omitempty"`
	Client            string     `json:"client_id,omitempty"`
	Method            string     `json:"method"`
	AuthTime          int64      `json:"auth_time,omitempty"`
	ExpiresAt         *time.Time `json:"expires_at,omitempty"`
	ExpiresIn         int64      `json:"expires_in,omitempty"` // seconds
}

func (p *Proxy) serveUserinfo(x *exchange) *refusal {
	id, no := p.authenticate(x)
	if no != nil {
		return no.forPrograms()
	}
	told := userinfo{
		Issuer: id.Issuer, Subject: id.Subject, Name: id.Name, PreferredUsername: id.Username,
		Email: id.Email, EmailVerified: id.EmailVerified, Groups: id.Groups, Roles: id.Roles,
		Client: id.Client, Method: string(id.Method),
	}
	if !id.Time.IsZero() {
		told.AuthTime = id.Time.Unix()
	}
	if !id.Expires.IsZero() {
		at := id.Expires.UTC().Truncate(time.Second)
		told.ExpiresAt, told.ExpiresIn = &at, max(0, int64(time.Until(id.Expires).Seconds()))
	}
	x.writeJSON(http.StatusOK, told)
	return nil
}

// serveAuth answers the subrequest of another proxy (nginx auth_request, Traefik
// ForwardAuth, Caddy forward_auth): 202, 401 or 403, and who is calling. It never
// redirects; that is for the proxy that asked. It decides nothing else than it was
// asked for, so a parameter that it does not know is refused and not ignored: a
// restriction that is misspelt must not let everybody in (CVE-2021-21411).
func (p *Proxy) serveAuth(x *exchange) *refusal {
	rules, err := p.authRules(x.r.URL.RawQuery)
	if err != nil {
		return &refusal{status: http.StatusBadRequest, problem: "bad-query", title: "This question cannot be answered", detail: sentence(err.Error()), err: err}
	}
	id, no := p.authenticate(x)
	if no != nil {
		return no.forPrograms()
	}
	for _, rule := range rules {
		if !rule.allows(id) {
			return p.notAllowed(id, "", nil)
		}
	}
	identityFields{user: true, email: true, groups: true}.set(x.w.Header(), "X-Auth-Request-", id)
	if plain(id.Username) {
		x.w.Header().Set("X-Auth-Request-Preferred-Username", id.Username)
	}
	x.write(http.StatusAccepted, typeJSON, nil)
	return nil
}

// nobody is a rule that lets nobody in.
var nobody = &access{}

// authRules returns the rules that all must let the caller in. A route that is not
// there lets nobody in, and a public one anyone signed in.
func (p *Proxy) authRules(query string) ([]*access, error) {
	asked, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the query is malformed")
	}
	rules := []*access{nil} // anyone signed in
	for name, values := range asked {
		for _, value := range values {
			switch name {
			case "route":
				rt := p.table.Load().byName[value]
				if rt == nil {
					rules = append(rules, nobody)
				} else {
					rules = append(rules, rt.access)
				}
			case "allowed_groups":
				rule, err := newAccess(&Access{Any: Rules{Groups: strings.Split(value, ",")}})
				if err != nil {
					rule = nobody // allowed_groups= : a list without a group
				}
				rules = append(rules, rule)
			default:
				return nil, errors.New("only route and allowed_groups can be asked for")
			}
		}
	}
	return rules, nil
}

// A listed model is one that the caller may call.
type listed struct {
	Name    string `json:"name"`
	Path    string `json:"path"`
	Score   string `json:"score_url"`
	Swagger string `json:"swagger_url"`
}

// serveList answers "/" unless a route takes it: the models that the caller may
// call. Without a login there is no way to become somebody here, so that a caller
// without a credential sees what is open to everyone.
func (p *Proxy) serveList(x *exchange) *refusal {
	if x.target.path != "/" {
		return notFound()
	}
	x.record.Endpoint = "models"
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		return methodNotAllowed("GET, HEAD")
	}
	id, no := p.authenticate(x)
	if no != nil && (!no.login || p.login != nil) {
		return no
	}
	models := []listed{}
	for _, rt := range p.table.Load().sorted {
		if rt.public || rt.access.allows(id) {
			models = append(models, p.listed(rt))
		}
	}
	if prefersHTML(x.r.Header) {
		x.write(http.StatusOK, typeHTML, p.pages.models(id, p.login != nil, models))
		return nil
	}
	x.writeJSON(http.StatusOK, map[string]any{"models": models})
	return nil
}

func (p *Proxy) listed(rt *route) listed {
	base := ""
	if p.publicURL != nil {
		base = originOfURL(p.publicURL)
	}
	below := strings.TrimSuffix(rt.path, "/")
	return listed{Name: rt.name, Path: rt.path, Score: base + below + "/score", Swagger: base + below + "/swagger.json"}
}

// forPrograms makes a refusal one that never redirects.
func (no *refusal) forPrograms() *refusal {
	no.program = true
	return no
}

func (x *exchange) writeJSON(status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		x.refuse(&refusal{status: http.StatusInternalServerError, problem: "internal", title: "Something went wrong here", err: err})
		return
	}
	x.write(status, typeJSON, body)
}

// signedInAs returns how to call a person.
func signedInAs(id *authn.Identity) string {
	if id == nil {
		return ""
	}
	for _, name := range []string{id.Name, id.Username, id.Email, id.Subject} {
		if name != "" {
			return name
		}
	}
	return ""
}
