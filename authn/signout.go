package authn

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"time"
)

// SignOut answers /oauth2/sign_out?rd=: it ends the session in this browser and goes
// on to the provider, which ends the one there (OpenID Connect RP-Initiated Logout
// 1.0) and sends the browser to /oauth2/sign_in, where SignedOut knows rd. If the
// provider has no such endpoint, or cannot say so now, it goes to rd.
//
// With everywhere=1 all sessions of whoever is signed in there end, which only a
// POST may ask for: ErrInvalid with Malformed set otherwise.
func (l *Login) SignOut(w http.ResponseWriter, r *http.Request) error {
	back, ok := l.ReturnPath(r.URL.Query().Get("rd"))
	if !ok {
		back = "/oauth2/sign_in"
	}
	everywhere := r.URL.Query().Get("everywhere") == "1"
	if everywhere && r.Method != http.MethodPost {
		return &Error{Kind: ErrInvalid, Malformed: true, Detail: "all sessions are ended by a POST"}
	}
	hints := l.hints(r)
	tokens, others, err := l.sessions.end(w.Header(), r, everywhere)
	switch {
	case errors.Is(err, ErrNone), errors.Is(err, ErrInvalid):
		return caused(forbidden("nobody is signed in here whose sessions could be ended"), errors.New(err.Error()))
	case err != nil:
		return err
	}
	l.revoke(append(others, tokens.Refresh)...)
	if !tokens.ID.IsZero() {
		hints.Set("id_token_hint", tokens.ID.Reveal())
	}
	l.flows.forget(w.Header(), r)
	if address, found := l.endSession(w.Header(), r, back, hints); found {
		back = address
	}
	if everywhere {
		onward(w, back)
	} else {
		redirect(w, back)
	}
	return nil
}

// onward sends the browser on by a page. What follows a form by a redirect has to
// be named in form-action of the page that the form is on (CSP Level 3 section
// 6.5.1, as Chromium does it), and no page can name every provider.
func onward(w http.ResponseWriter, address string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Refresh", "0; url="+address)
	_, _ = fmt.Fprintf(w, "<!doctype html><html lang=\"en\"><title>Signed out</title><p><a href=\"%s\">Go on</a>", html.EscapeString(address))
}

// hints are what tells the provider whose session is to end, so that it need not ask.
func (l *Login) hints(r *http.Request) url.Values {
	q := url.Values{"client_id": {l.client.id}}
	id, err := l.sessions.Authenticate(nil, r)
	if err != nil {
		return q
	}
	if hint := orElse(id.Username, id.Email); hint != "" {
		q.Set("logout_hint", hint)
	}
	return q
}

// endSession returns where the provider ends its session. Signing out here does
// not wait for a provider that hangs.
func (l *Login) endSession(answer http.Header, r *http.Request, back string, hints url.Values) (string, bool) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	m, err := l.provider.metadata.get(ctx)
	if err != nil || m.value.EndSession == "" {
		return "", false
	}
	u, err := url.Parse(m.value.EndSession)
	if err != nil {
		return "", false
	}
	q := u.Query()
	for name := range hints {
		q.Set(name, hints.Get(name))
	}
	q.Set("post_logout_redirect_uri", l.origin+"/oauth2/sign_in")
	q.Set("state", l.flows.leave(answer, back))
	u.RawQuery = q.Encode()
	return u.String(), true
}

func (f *flows) leavingName() string { return f.cookies.name() + "-leaving" }

// leave keeps where to go after a sign-out at the provider, and returns the state
// that the provider is to bring back. It says nothing to the provider, and an
// address that somebody else made brings nobody anywhere.
func (f *flows) leave(answer http.Header, back string) (state string) {
	state = rand.Text()
	p := make(packer, 0, 64+len(back))
	p.text(state)
	p.text(back)
	name, expires := f.leavingName(), time.Now().Add(flowLife)
	f.cookies.set(answer, name, f.sealer.seal(name, expires, p), expires, http.SameSiteLaxMode)
	return state
}

// SignedOut returns where a person goes who comes back from a sign-out at the
// provider: the rd of SignOut, if state is the one that went there from this
// browser, else "/". Its cookie is used up.
func (l *Login) SignedOut(answer http.Header, r *http.Request, state string) string {
	name := l.flows.leavingName()
	if len(r.CookiesNamed(name)) == 0 {
		return "/"
	}
	l.flows.cookies.set(answer, name, "", time.Time{}, http.SameSiteLaxMode)
	for i, c := range r.CookiesNamed(name) {
		if i == maxTossed {
			break
		}
		plain, _, err := l.flows.sealer.open(name, c.Value)
		if err != nil {
			continue
		}
		u := unpacker{rest: plain}
		sent, back := u.text(), u.text()
		if u.end() == nil && subtle.ConstantTimeCompare([]byte(sent), []byte(state)) == 1 {
			back, _ = l.ReturnPath(back)
			return back
		}
	}
	return "/"
}

// Clear removes from the browser that sent r a session cookie that is there and
// cannot be used, so that nothing of it is in the way of the next one. It is for
// pages that a person sees; elsewhere another replica may know the secret that
// this one does not know yet.
func (l *Login) Clear(answer http.Header, r *http.Request) {
	if _, err := l.sessions.Authenticate(nil, r); errors.Is(err, ErrInvalid) {
		_, _ = l.sessions.End(answer, r, false)
	}
}
