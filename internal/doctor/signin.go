package doctor

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// scopes compares those that are asked for with those that the provider has. It
// need not list all (OpenID Connect Discovery 1.0 section 3), so it is a warning.
func (c *callers) scopes(i *issuer) Finding {
	asked, offered := c.settings.OIDCScopes, i.metadata().Scopes
	all := Finding{Detail: strings.Join(asked, " ")}
	if offered == nil {
		all.Detail += "; the provider does not list its own"
		return all
	}
	unlisted := slices.DeleteFunc(slices.Clone(asked), func(s string) bool { return slices.Contains(offered, s) || strings.Contains(s, "/") })
	if len(unlisted) > 0 {
		return Finding{Warn, fmt.Sprintf("the provider does not list %s among its scopes (%s)", strings.Join(unlisted, ", "), strings.Join(offered, " ")), []string{
			"is it misspelt in AMLPROXY_OIDC_SCOPES, or not assigned to the client?",
		}}
	}
	return all
}

// redirectURI asks for a login that must not show a page: a provider that knows the
// client and its address says to that address that nobody is signed in
// (login_required, OpenID Connect Core 1.0 section 3.1.2.6), and any other shows an
// error to the browser instead (RFC 6749 section 4.1.2.1).
func (c *callers) redirectURI(ctx context.Context, i *issuer) Finding {
	back := c.settings.PublicURL.String() + "/oauth2/callback"
	at, err := url.Parse(i.metadata().Authorization)
	if err != nil {
		return Finding{Fail, "the authorization endpoint is malformed", []string{"it comes from the discovery document"}}
	}
	challenge := sha256.Sum256([]byte(rand.Text()))
	q := at.Query()
	for name, value := range map[string]string{
		"client_id": c.settings.OIDCClientID, "redirect_uri": back, "response_type": "code", "scope": strings.Join(c.settings.OIDCScopes, " "), "prompt": "none",
		"state": rand.Text(), "nonce": rand.Text(), "code_challenge": base64.RawURLEncoding.EncodeToString(challenge[:]), "code_challenge_method": "S256",
	} {
		q.Set(name, value)
	}
	at.RawQuery = q.Encode()
	for hops := 0; ; hops++ {
		status, header, body, err := ask(ctx, c.transport, at)
		if err != nil {
			at.RawQuery = ""
			return way{c.transport, c.options.Lookup, "the discovery document (authorization_endpoint)"}.trouble(ctx, at, err)
		}
		to := ""
		if status >= 300 && status < 400 {
			to = header.Get("Location")
		}
		if strings.HasPrefix(to, back+"?") {
			return sentBack(to, back)
		}
		// Some look for a session at another of their own addresses first.
		next, err := at.Parse(to)
		if to == "" || err != nil || next.Scheme != at.Scheme || next.Host != at.Host || hops == 3 {
			return c.notSentBack(status, string(body), back)
		}
		at = next
	}
}

// sentBack judges an answer that came to the right address: it is registered.
func sentBack(to, back string) Finding {
	u, err := url.Parse(to)
	if err != nil {
		return Finding{Warn, "the provider sends the browser back to a malformed address", nil}
	}
	switch code := u.Query().Get("error"); code {
	case "invalid_scope":
		return Finding{Fail, "the provider knows " + back + ", and refuses the scopes: " + u.Query().Get("error_description"), []string{"see AMLPROXY_OIDC_SCOPES"}}
	case "unauthorized_client", "unsupported_response_type", "invalid_request":
		return Finding{Fail, "the provider knows " + back + ", and refuses the login: " + code + ": " + u.Query().Get("error_description"), []string{
			"let the client use the authorization code flow with PKCE",
		}}
	}
	return Finding{Detail: back + " is registered"}
}

// notSentBack reads what can be read from a page that is for people.
func (c *callers) notSentBack(status int, page, back string) Finding {
	register := []string{"register exactly this, as a web application's: " + back}
	lower := strings.ToLower(page)
	number := entraCode.FindStringSubmatch(page)
	switch {
	case number != nil && (number[1] == "700016" || number[1] == "90002" || number[1] == "900144"):
		return Finding{Fail, "the tenant does not know the client: AADSTS" + number[1], []string{"AMLPROXY_OIDC_CLIENT_ID is the application (client) ID, in the tenant of AMLPROXY_OIDC_ISSUER"}}
	case number != nil && number[1] == "50011":
		register = append(register, "az ad app update --id "+c.settings.OIDCClientID+" --web-redirect-uris "+back)
		return Finding{Fail, "the redirect URI is not registered: AADSTS50011", register}
	case status >= 400 && strings.Contains(lower, "redirect"):
		return Finding{Fail, fmt.Sprintf("the provider answers %d: the redirect URI is not registered", status), register}
	case status >= 400 && strings.Contains(lower, "client"):
		return Finding{Fail, fmt.Sprintf("the provider answers %d: it does not know the client", status), []string{"is AMLPROXY_OIDC_CLIENT_ID right, and the client enabled?"}}
	case status >= 400:
		return Finding{Fail, fmt.Sprintf("the authorization endpoint answers %d to a login", status), append(register, "and is AMLPROXY_OIDC_CLIENT_ID right?")}
	}
	return Finding{State: Warn, Detail: fmt.Sprintf("it cannot be told whether it is registered: the provider answers %d to a login without a page", status), Hints: register}
}

// client has the token endpoint judge how the client proves itself.
func (c *callers) client(ctx context.Context) Finding {
	code, description, err := c.login.TryClient(ctx)
	id := c.settings.OIDCClientID
	if err != nil {
		return Finding{Fail, "the token endpoint gave no answer to judge: " + err.Error(), []string{"it comes from the discovery document (token_endpoint)"}}
	}
	said := strings.TrimSuffix(code+": "+description, ": ")
	number := entraCode.FindStringSubmatch(description)
	switch {
	case code == "invalid_grant":
		return Finding{Detail: "the token endpoint refuses a code that was made up, and nothing about the client " + id}
	case number != nil && number[1] == "7000222":
		return Finding{Fail, "the client's secret has expired: " + said, []string{"az ad app credential reset --append --id " + id}}
	case number != nil && number[1] == "7000218":
		return Finding{Fail, "the client has to prove itself, and has no secret: " + said, []string{"set AMLPROXY_OIDC_CLIENT_SECRET, or register the redirect URI as that of a public client"}}
	case code == "invalid_client" || code == "unauthorized_client":
		return Finding{Fail, "the provider does not accept the client " + id + ": " + said, []string{
			"is AMLPROXY_OIDC_CLIENT_SECRET that of this client, and its value (not its ID)? a client without a secret must be public at the provider",
		}}
	}
	return Finding{Warn, "the token endpoint refuses a made-up code for another reason than that: " + said, nil}
}
