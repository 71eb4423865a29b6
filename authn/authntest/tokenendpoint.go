package authntest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// token is the token endpoint. What op issues is signed anew, because op gives
// every token the type JWT and one audience; and a Fault may want a say.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost { // RFC 6749 section 3.2: nothing secret in a URL
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "token requests are sent by POST", http.StatusMethodNotAllowed)
		return
	}
	a := hold(http.HandlerFunc(p.op.exchange), r)
	if body, ok := a.object(); ok && a.status == http.StatusOK {
		if err := p.reissue(body); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if err := a.setObject(body); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	if a.status == http.StatusUnauthorized { // RFC 6749 section 5.2
		a.header.Set("WWW-Authenticate", `Basic realm="token"`)
	}
	a.header.Set("Cache-Control", "no-store") // section 5.1
	a.send(w)
}

// reissue replaces the tokens in a token response.
func (p *Provider) reissue(body map[string]any) error {
	access, _ := body["access_token"].(string)
	access, err := p.reissueAccess(access)
	if err != nil {
		return err
	}
	body["access_token"] = access
	id, ok := body["id_token"].(string)
	if !ok {
		return nil
	}
	// op issues an ID token to those too who did not ask for OpenID Connect.
	scope, _ := body["scope"].(string)
	if !slices.Contains(strings.Fields(scope), oidc.ScopeOpenID) {
		delete(body, "id_token")
		return nil
	}
	body["id_token"], err = p.reissueID(id, access)
	return err
}

// reissueAccess gives an access token the type of RFC 9068 section 2.1.
func (p *Provider) reissueAccess(signed string) (string, error) {
	claims, err := Claims(signed)
	if err != nil {
		return "", err
	}
	t := p.newToken("at+jwt", claims)
	for _, f := range p.at(atAccessToken) {
		f.token(t)
	}
	return t.sign()
}

// reissueID makes an ID token out of op's: meant for the client alone, or it
// would pass for an access token, and bound to the access token as it is now.
func (p *Provider) reissueID(signed, access string) (string, error) {
	claims, err := Claims(signed)
	if err != nil {
		return "", err
	}
	claims["aud"] = claims["azp"]
	delete(claims, "client_id") // a claim of access tokens
	// OpenID Connect Core 1.0 section 3.1.3.6; both algorithms are over SHA-256.
	sum := sha256.Sum256([]byte(access))
	claims["at_hash"] = base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	t := p.newToken("JWT", claims)
	for _, f := range p.at(atIDToken) {
		f.token(t)
	}
	return t.sign()
}

// AccessToken returns an access token as the token endpoint would issue it to a client:
// for the user with that name, or for the service account itself if username is
// empty. A user's token has the scopes openid, profile and email if none are named.
func (p *Provider) AccessToken(clientID, username string, scopes ...string) (string, error) {
	ctx := p.context(context.Background())
	c, err := p.store.client(clientID)
	if err != nil {
		return "", err
	}
	request, err := p.tokenRequest(c, username, scopes)
	if err != nil {
		return "", err
	}
	signed, _, _, err := op.CreateAccessToken(ctx, request, op.AccessTokenTypeJWT, p.op, c, "")
	if err != nil {
		return "", err
	}
	return p.reissueAccess(signed)
}

func (p *Provider) tokenRequest(c *registration, username string, scopes []string) (op.TokenRequest, error) {
	if username == "" {
		return p.op.storage.ClientCredentialsTokenRequest(context.Background(), c.ID, scopes)
	}
	u, ok := p.store.userNamed(username)
	if !ok {
		return nil, errNotFound
	}
	if len(scopes) == 0 {
		scopes = []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail}
	}
	g := &grant{client: c.ID, subject: u.subject(), scopes: scopes, audience: c.audiences, authTime: time.Now()}
	return &serviceRequest{g}, nil
}
