package authn

import (
	"cmp"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	// replayTime is how long a logout token is remembered, so that it works once:
	// as long as checkTimes lets it.
	replayTime = maxIDTokenAge + leeway
)

// BackchannelLogout answers POST /oauth2/backchannel_logout, by which the
// provider says that a session of its own is over, or all of a person (OpenID
// Connect Back-Channel Logout 1.0). The sessions that came of it end: with Redis
// at all replicas, without at this one, until it restarts.
//
// Every failure is one that is answered with 400 (section 2.8), which is Malformed.
func (l *Login) BackchannelLogout(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	raw, err := logoutToken(w, r)
	if err == nil {
		err = l.logOut(r.Context(), raw)
	}
	if err != nil {
		return notLoggedOut(err)
	}
	l.sessions.tell(SessionEnded, BackChannel)
	w.WriteHeader(http.StatusOK)
	return nil
}

// notLoggedOut makes one kind of all: what is wrong is told, because it is the
// provider that asks, and whoever runs it has to mend it.
func notLoggedOut(err error) *Error {
	detail := "the logout failed"
	var e *Error
	if errors.As(err, &e) && e.Detail != "" {
		detail = e.Detail
	}
	return &Error{Kind: ErrInvalid, Malformed: true, Detail: detail, Err: errors.New(err.Error())}
}

// logoutToken reads the request of section 2.5.
func logoutToken(w http.ResponseWriter, r *http.Request) (string, error) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/x-www-form-urlencoded" {
		return "", invalid("the logout request is not a form")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return "", caused(invalid("the logout request cannot be read"), err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form["logout_token"]) != 1 {
		return "", caused(invalid("the logout request has not exactly one logout_token"), err)
	}
	return form.Get("logout_token"), nil
}

// logOut ends what a logout token says.
func (l *Login) logOut(ctx context.Context, raw string) error {
	t, err := l.verifyLogoutToken(ctx, raw)
	if err != nil {
		return err
	}
	c := t.claims
	issued, _ := c.time("iat")
	name := c.text("iss") + " " + c.text("jti")
	keeper := l.sessions.keeper
	if used, err := keeper.used(ctx, name); err != nil || used {
		return cmp.Or(err, error(invalid("the logout token was used before")))
	}
	// Their refresh tokens are the provider's to revoke, or to leave (section 2.7).
	if _, err = keeper.endAll(ctx, logout{issuer: c.text("iss"), subject: c.text("sub"), session: c.text("sid")}); err != nil {
		return err
	}
	// Only now: the provider may send again what did not work, and to end twice what
	// is over does no harm.
	return keeper.use(ctx, name, issued.Add(replayTime))
}

// verifyLogoutToken is section 2.6. What keeps other tokens from being taken for
// a logout token are the event that it must have and the nonce that it must not;
// the type is compared where there is one, since section 2.4 only recommends it.
func (l *Login) verifyLogoutToken(ctx context.Context, raw string) (*jwt, error) {
	t, err := parseJWT(raw, maxIDToken)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"", "jwt", "logout+jwt"}, t.typ) {
		return nil, invalid("type %q is not a logout token", clip(t.typ, 50))
	}
	if _, err := l.provider.verify(ctx, t); err != nil {
		return nil, err
	}
	c := t.claims
	if iss := c.text("iss"); !l.provider.names(iss, c.text("tid")) {
		return nil, invalid("issuer is %q", clip(iss, 200))
	}
	if err := isFor(t, []string{l.client.id}); err != nil {
		return nil, err
	}
	if err := checkTimes(t, time.Now()); err != nil {
		return nil, err
	}
	if c.text("jti") == "" {
		return nil, invalid("the logout token has no jti")
	}
	if c.has("nonce") {
		return nil, invalid("a logout token has no nonce")
	}
	events, _ := c["events"].(map[string]any)
	if _, is := events[logoutEvent].(map[string]any); !is {
		return nil, invalid("the token is not about a logout")
	}
	return t, namesSomebody(c)
}

// namesSomebody refuses a token that names nobody, or with something that is no name.
func namesSomebody(c claims) error {
	for _, name := range []string{"sub", "sid"} {
		if c.has(name) && c.text(name) == "" {
			return invalid("%s of the logout token is not a name", name)
		}
	}
	if c.text("sub") == "" && c.text("sid") == "" {
		return invalid("the logout token names neither a subject nor a session")
	}
	return nil
}
