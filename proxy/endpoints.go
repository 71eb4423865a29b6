package proxy

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
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

			"/oauth2/backchannel_logout": {[]string{http.MethodPost}, p.serveBackchannelLogout},
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
		x.w.cors = p.table.Load().shared
		if isPreflight(x.r) {
			x.w.WriteHeader(http.StatusNoContent)
			return nil
		}
	}
	if !slices.Contains(own.methods, x.r.Method) {
		return methodNotAllowed(strings.Join(own.methods, ", "))
	}
	if x.in != nil { // in a copy: net/http looks at its own body
		x.r = x.r.WithContext(x.r.Context())
		x.r.Body = x.in
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

// viaPublic marks a start that was sent to the public URL once already.
const viaPublic = "via"

// serveStart begins a login under the public URL. Begun under another name of the
// same proxy (localhost for 127.0.0.1, say) it could not end: the callback comes to
// the public URL, where the state cookie of the other name is not sent. Once is
// enough: a proxy in front may not tell us the name that the browser used.
func (p *Proxy) serveStart(x *exchange) *refusal {
	if query := x.r.URL.Query(); !strings.EqualFold(x.r.Host, p.publicURL.Host) && !query.Has(viaPublic) {
		query.Set(viaPublic, "public")
		h := x.w.Header()
		h.Set("Location", originOfURL(p.publicURL)+"/oauth2/start?"+query.Encode())
		h.Set("Cache-Control", "no-store")
		x.w.WriteHeader(http.StatusFound)
		return nil
	}
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
// he follows may. Signing out everywhere is more than any link may do: a page of the
// proxy has a form for it.
func (p *Proxy) serveSignOut(x *exchange) *refusal {
	if x.r.URL.Query().Get("everywhere") == "1" && x.r.Method != http.MethodPost {
		return methodNotAllowed(http.MethodPost)
	}
	if crossSite(p.csrf, x.r) {
		return crossSiteRefused()
	}
	if err := p.login.SignOut(x.w, x.r); err != nil {
		return p.loginFailed(err)
	}
	return nil
}

// serveBackchannelLogout is the provider's to call, with no cookie: what it sends
// proves itself.
func (p *Proxy) serveBackchannelLogout(x *exchange) *refusal {
	if err := p.login.BackchannelLogout(x.w, x.r); err != nil {
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
	if back == "" && query.Has("state") {
		back = p.login.SignedOut(x.w.Header(), x.r, query.Get("state")) // the rd of a sign-out
	}
	if back == "" || isReserved(back) {
		back = "/"
	}
	id, no := p.authenticate(x)
	if no != nil && !no.login {
		return no
	}
	p.login.Clear(x.w.Header(), x.r)
	x.write(http.StatusOK, typeHTML, p.pages.signIn(id, "/oauth2/start?rd="+url.QueryEscape(back), query.Has("state")))
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
	// When a session ends if it is not used again. To ask is to use it.
	IdleExpiresAt *time.Time `json:"idle_expires_at,omitempty"`
	IdleExpiresIn int64      `json:"idle_expires_in,omitempty"` // seconds
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
	told.ExpiresAt, told.ExpiresIn = until(id.Expires)
	told.IdleExpiresAt, told.IdleExpiresIn = until(id.Idle)
	x.writeJSON(http.StatusOK, told)
	return nil
}

// until returns t and how many seconds are left, nothing if there is no end.
func until(t time.Time) (at *time.Time, seconds int64) {
	if t.IsZero() {
		return nil, 0
	}
	t = t.UTC().Truncate(time.Second)
	return &t, max(0, int64(time.Until(t).Seconds()))
}
