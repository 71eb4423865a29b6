package authn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"amlproxy/internal/secret"
)

const maxForm = 64 << 10 // bytes of a form_post

// Callback answers /oauth2/callback, by GET (query) and POST (form_post): it
// redeems the code, checks the ID token, begins a session and sends the browser
// to where the login started from.
//
// An answer that this browser did not ask for is ErrForbidden, and so is one
// that fails for good; the state cookie is then used up. While the provider
// cannot be reached it is ErrUnavailable, and all cookies stay. An answer that
// comes twice is answered twice alike, and redeemed once.
func (l *Login) Callback(w http.ResponseWriter, r *http.Request) error {
	reply, err := authorizationResponse(w, r)
	if err != nil {
		return l.told(err)
	}
	fl, cookie, ok := l.flows.take(r, reply.Get("state"))
	if !ok {
		if l.again(w, r, reply.Get("state")) || l.resend(w, r, reply.Get("state")) {
			return nil
		}
		return l.told(forbidden("this sign-in was not started in this browser, or more than 10 minutes ago, or the browser keeps no cookies for %s; please start again", l.origin))
	}
	made, err := l.signIn(r.Context(), reply, fl)
	if err == nil {
		err = l.sessions.hand(w.Header(), r, made)
	}
	if !errors.Is(err, ErrUnavailable) {
		l.flows.drop(w.Header(), cookie)
	}
	if err != nil {
		return err
	}
	l.flows.remember(w.Header(), fl)
	back, _ := l.ReturnPath(fl.back)
	redirect(w, back)
	return nil
}

// authorizationResponse reads the parameters of the provider's answer, from the
// one place where its method puts them. A parameter that is there twice is
// refused: the provider may have meant the other one (RFC 6749 section 3.1).
func authorizationResponse(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	malformed := func(detail string, cause error) error {
		return &Error{Kind: ErrInvalid, Malformed: true, Detail: detail, Err: cause}
	}
	query := r.URL.RawQuery
	if r.Method == http.MethodPost {
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/x-www-form-urlencoded" {
			return nil, malformed("the answer of the identity provider is not a form", nil)
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
		if err != nil {
			return nil, malformed("the answer of the identity provider cannot be read", err)
		}
		query = string(body)
	}
	reply, err := url.ParseQuery(query)
	if err != nil {
		return nil, malformed("the answer of the identity provider is malformed", err)
	}
	for name, values := range reply {
		if len(values) > 1 {
			return nil, malformed(fmt.Sprintf("parameter %q is there twice", clip(name, 50)), nil)
		}
	}
	if reply.Get("state") == "" {
		return nil, malformed("the answer of the identity provider has no state", nil)
	}
	return reply, nil
}

// identity says who signed in, by the tokens that the provider gave for the code.
func (l *Login) identity(ctx context.Context, token *oauth2.Token, fl *flow) (*Identity, Tokens, error) {
	t, err := l.checkIDToken(ctx, token, expected{nonce: fl.nonce, asked: fl.asked})
	if err != nil {
		return nil, Tokens{}, err
	}
	id, err := l.identify(ctx, token, t.claims)
	if err != nil {
		return nil, Tokens{}, err
	}
	if id.Time.IsZero() { // the provider does not say when: at the latest now
		id.Time, _ = t.claims.time("iat")
	}
	given := Tokens{Refresh: secret.New(token.RefreshToken), ID: idTokenOf(token), Session: t.claims.text("sid")}
	return id, given, nil
}

// identify returns who the claims of an ID token are about, with what only
// userinfo says, as a session is to keep it.
func (l *Login) identify(ctx context.Context, token *oauth2.Token, known claims) (*Identity, error) {
	return l.completed(ctx, token, known, l.provider.identify(known, l.claims()))
}

// claimsOf returns who was has become, from what a refresh brought: the new ID
// token, or where the provider gives none (OpenID Connect Core 1.0 section 12.2)
// was with what userinfo says anew.
func (l *Login) claimsOf(ctx context.Context, token *oauth2.Token, was *Identity) (*Identity, error) {
	if idTokenOf(token).IsZero() {
		return l.completed(ctx, token, nil, was.clone())
	}
	t, err := l.checkIDToken(ctx, token, expected{was: was})
	if err != nil {
		return nil, err
	}
	return l.identify(ctx, token, t.claims)
}

func (l *Login) completed(ctx context.Context, token *oauth2.Token, known claims, id *Identity) (*Identity, error) {
	vocabulary := l.vocabulary() // before what it stands for is asked about
	if err := l.complete(ctx, token, known, id); err != nil {
		return nil, err
	}
	if l.keepGroups != nil {
		id.Groups = slices.DeleteFunc(id.Groups, func(g string) bool { return !l.keepGroups(g) })
	}
	id.Method, id.Client, id.Scopes, id.Vocabulary = BySession, l.client.id, nil, vocabulary
	return id, nil
}

// code returns the code of an answer that is one, and the provider's.
func (l *Login) code(ctx context.Context, reply url.Values) (string, error) {
	m, err := l.metadata(ctx)
	if err != nil {
		return "", err
	}
	if err := l.checkIss(reply, m); err != nil {
		return "", err
	}
	if reply.Has("error") {
		return "", providerSaid(reply.Get("error"), reply.Get("error_description"))
	}
	code := reply.Get("code")
	if code == "" {
		return "", forbidden("the answer of the identity provider has no code")
	}
	// A code works once: without keys to check the ID token with, it is kept for
	// when the browser tries again.
	if _, err := l.provider.keys.get(ctx); err != nil {
		return "", unavailable(err)
	}
	return code, nil
}

// checkIss compares the iss of the answer, so that a code of one provider is not
// redeemed at another (mix-up, RFC 9207 section 2.4).
func (l *Login) checkIss(reply url.Values, m *metadata) error {
	if !reply.Has("iss") && !m.IssInReply {
		return nil
	}
	iss := reply.Get("iss")
	if iss == l.provider.URL || (l.provider.multiTenant() && l.provider.namesAny(iss)) {
		return nil
	}
	return caused(forbidden("the answer does not come from this proxy's identity provider"),
		fmt.Errorf("iss is %q", clip(iss, 200)))
}

// providerSaid turns an error of the provider into one of ours. Its text is
// labelled and clipped: whoever makes up an answer chooses it (CVE-2017-6059).
func providerSaid(code, description string) error {
	detail := "the identity provider answered: " + clip(code, 60)
	if description != "" {
		detail += ": " + clip(description, 200)
	}
	if code == "server_error" || code == "temporarily_unavailable" { // RFC 6749 section 4.1.2.1
		return &Error{Kind: ErrUnavailable, Detail: detail}
	}
	return &Error{Kind: ErrForbidden, Detail: detail}
}

// redeem exchanges the code of an answer for tokens.
func (l *Login) redeem(ctx context.Context, reply url.Values, verifier string) (*oauth2.Token, error) {
	code, err := l.code(ctx, reply)
	if err != nil {
		return nil, err
	}
	token, err := l.client.exchange(ctx, code, verifier)
	switch {
	case err == nil:
		return token, nil
	case errors.Is(err, errInvalidGrant):
		return nil, caused(forbidden("this sign-in has been used or has expired; please start again"), err)
	}
	return nil, unavailable(err) // it is in trouble, or does not know us: nothing the caller could do better
}

// complete asks the userinfo endpoint for email and groups that the ID token
// lacks. Its answer only fills gaps and has to be about the same subject: a token
// for somebody else's userinfo may have been slipped in (OpenID Connect Core 1.0
// section 5.3.2).
func (l *Login) complete(ctx context.Context, token *oauth2.Token, known claims, id *Identity) error {
	m, err := l.metadata(ctx)
	if err != nil {
		return err
	}
	missing := !known.has("email") || !known.has(l.provider.groupsClaim())
	if !missing || m.UserInfo == "" || !strings.EqualFold(token.Type(), "Bearer") {
		return nil
	}
	body, err := get(calling(ctx, CallUserinfo), l.client.http, m.UserInfo, token.AccessToken)
	var status *statusError
	if errors.As(err, &status) && status.code >= 400 && status.code < 500 && status.code != http.StatusTooManyRequests {
		return nil // not for this client or scope; the ID token is all there is
	}
	if err != nil {
		return unavailable(fmt.Errorf("fetching userinfo: %w", err))
	}
	found, err := decodeClaims(body)
	if err != nil {
		return caused(forbidden("the identity provider's userinfo is malformed"), err)
	}
	if found.text("sub") != id.Subject {
		return forbidden("the identity provider's userinfo is about somebody else")
	}
	id.take(l.provider.identify(found, l.claims()), func(name string) bool { return found.has(name) && !known.has(name) }, l.provider.Issuer)
	return nil
}

// take takes from more what is asked for by the name of its claim.
func (id *Identity) take(more *Identity, wanted func(claim string) bool, of Issuer) {
	if wanted("email") { // both or neither: one source must not vouch for the other's address
		id.Email, id.EmailVerified = more.Email, more.EmailVerified
	}
	id.Name, id.Username = orElse(id.Name, more.Name), orElse(id.Username, more.Username)
	if wanted(of.groupsClaim()) {
		id.Groups, id.GroupsOmitted = more.Groups, more.GroupsOmitted
	}
	if wanted(of.rolesClaim()) {
		id.Roles = more.Roles
	}
	for name, values := range more.Claims {
		if wanted(name) {
			delete(id.Claims, name)
			id.addClaims(map[string][]string{name: values})
		}
	}
}
