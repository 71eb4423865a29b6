package authntest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// authorize is the authorization endpoint. op checks the request and sends the
// browser to the login form, or to the client with an error; the latter then
// goes the way of every authorization response.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil { // here, because op parses a copy of r
		http.Error(w, "the request cannot be read", http.StatusBadRequest)
		return
	}
	for name, values := range r.Form {
		// RFC 6749 section 3.1. Of two redirect_uri op might check one and this the other.
		if len(values) > 1 {
			http.Error(w, "the parameter "+strconv.Quote(name)+" is there twice", http.StatusBadRequest)
			return
		}
	}
	a := hold(http.HandlerFunc(p.op.authorize), r)
	to := a.header.Get("Location")
	if to == "" || strings.HasPrefix(to, p.loginURL("")) {
		a.send(w)
		return
	}
	p.respond(w, r, response{
		to:     r.Form.Get("redirect_uri"),
		mode:   oidc.ResponseMode(r.Form.Get("response_mode")),
		state:  r.Form.Get("state"),
		params: errorIn(to),
	})
}

// errorIn returns the error that op put into the address of a redirect.
func errorIn(address string) url.Values {
	params := url.Values{}
	u, err := url.Parse(address)
	if err != nil {
		return params
	}
	in := u.Query()
	if fragment, err := url.ParseQuery(u.EscapedFragment()); err == nil && !in.Has("error") {
		in = fragment
	}
	for _, name := range []string{"error", "error_description"} {
		if value := in.Get(name); value != "" {
			params.Set(name, value)
		}
	}
	return params
}

// A response goes to a client through its user's browser (RFC 6749 section 4.1.2).
type response struct {
	to     string // a redirect URI that has been checked
	mode   oidc.ResponseMode
	state  string
	params url.Values // but for state and iss
}

func responseTo(r *authRequest, params url.Values) response {
	return response{to: r.RedirectURI, mode: r.ResponseMode, state: r.State, params: params}
}

// respond sends an authorization response in the mode that the client asked
// for, with the iss parameter of RFC 9207, in errors too.
func (p *Provider) respond(w http.ResponseWriter, r *http.Request, resp response) {
	if resp.state != "" {
		resp.params.Set("state", resp.state)
	}
	resp.params.Set("iss", p.issuer)
	for _, f := range p.at(atResponse) {
		f.response(resp.params)
	}
	if resp.mode == oidc.ResponseModeFormPost {
		p.pages.post(w, resp.to, resp.params)
		return
	}
	to, err := resp.address()
	if err != nil {
		http.Error(w, "the redirect URI cannot be read", http.StatusBadRequest)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	// 303, never 307: the browser must not send the password on (RFC 9700 section 4.12).
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// address returns where the browser goes: a query that the redirect URI has of
// its own is kept (RFC 6749 section 3.1.2).
func (resp response) address() (string, error) {
	u, err := url.Parse(resp.to)
	if err != nil {
		return "", err
	}
	switch {
	case resp.mode == oidc.ResponseModeFragment:
		u.Fragment, u.RawFragment = "", ""
		return u.String() + "#" + resp.params.Encode(), nil
	case u.RawQuery != "":
		u.RawQuery += "&" + resp.params.Encode()
	default:
		u.RawQuery = resp.params.Encode()
	}
	return u.String(), nil
}
