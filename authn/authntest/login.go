package authntest

import (
	"net/http"
	"net/url"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// login is the login form, and where it is sent. A browser with a session that
// satisfies the request passes through without seeing it.
func (p *Provider) login(w http.ResponseWriter, r *http.Request) {
	req, err := p.store.request(r.FormValue("request"), time.Now())
	if err != nil {
		p.pages.show(w, http.StatusBadRequest, page{
			Title: "This sign-in has expired",
			Text:  "Go back to the application that you came from and start again.",
		})
		return
	}
	if r.Method == http.MethodPost {
		p.submitted(w, r, req)
		return
	}
	s, _ := p.session(r)
	switch {
	case req.fits(s, time.Now()):
		p.finish(w, r, req, s)
	case req.prompts(oidc.PromptNone): // OpenID Connect Core 1.0 section 3.1.2.6
		p.respond(w, r, responseTo(req, url.Values{"error": {"login_required"}}))
	default:
		p.form(w, http.StatusOK, req.LoginHint, "")
	}
}

// submitted is called with a name and a password. An unknown name and a wrong
// password look the same.
func (p *Provider) submitted(w http.ResponseWriter, r *http.Request, req *authRequest) {
	name := r.PostFormValue("username")
	u, ok := p.store.login(name, r.PostFormValue("password"))
	if !ok {
		p.form(w, http.StatusForbidden, name, "That name and password do not match.")
		return
	}
	p.finish(w, r, req, p.startSession(w, r, u))
}

// finish sends the browser back to the client, with a code.
func (p *Provider) finish(w http.ResponseWriter, r *http.Request, req *authRequest, s *session) {
	code := p.store.addCode(req, s, time.Now())
	p.respond(w, r, responseTo(req, url.Values{"code": {code}}))
}

func (p *Provider) form(w http.ResponseWriter, status int, username, mistake string) {
	p.pages.show(w, status, page{
		Title: p.options.Title, Form: true, Username: username, Mistake: mistake, Notes: p.options.Notes,
	})
}
