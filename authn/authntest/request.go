package authntest

import (
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// An authRequest is an authorization request on its way through the login. It
// is never changed once stored: a signed-in copy belongs to each code.
type authRequest struct {
	oidc.AuthRequest
	id       string
	hint     string // the sub of an id_token_hint
	audience []string
	expires  time.Time
	grant    *grant // set on the copy that a code stands for
}

func (r *authRequest) GetID() string            { return r.id }
func (r *authRequest) GetACR() string           { return "" }
func (r *authRequest) GetAMR() []string         { return []string{"pwd"} }
func (r *authRequest) GetAudience() []string    { return r.audience }
func (r *authRequest) GetAuthTime() time.Time   { return r.grant.authTime }
func (r *authRequest) GetClientID() string      { return r.ClientID }
func (r *authRequest) GetNonce() string         { return r.Nonce }
func (r *authRequest) GetScopes() []string      { return r.Scopes }
func (r *authRequest) GetSubject() string       { return r.grant.subject }
func (r *authRequest) Done() bool               { return r.grant != nil }
func (r *authRequest) granted() *grant          { return r.grant }
func (r *authRequest) prompts(what string) bool { return slices.Contains(r.Prompt, what) }

func (r *authRequest) GetCodeChallenge() *oidc.CodeChallenge {
	if r.CodeChallenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: r.CodeChallenge, Method: r.CodeChallengeMethod}
}

// fits says whether a browser's session satisfies the request without asking
// its user again: OpenID Connect Core 1.0 section 3.1.2.1, prompt, max_age and
// id_token_hint.
func (r *authRequest) fits(s *session, now time.Time) bool {
	if s == nil || r.hint != "" && r.hint != s.subject {
		return false
	}
	if r.prompts(oidc.PromptLogin) || r.prompts(oidc.PromptSelectAccount) {
		return false
	}
	return r.MaxAge == nil || now.Sub(s.authTime) <= time.Duration(*r.MaxAge)*time.Second
}

// A grant is what a user (or, without one, a service account) allowed a client.
// Every token that comes of it points here, so that revoking it ends them all.
type grant struct {
	client   string
	subject  string
	scopes   []string
	audience []string
	session  string // sid
	authTime time.Time
	service  bool // the client's own: subject is its ID
	revoked  bool // guarded by the store
}

// holder is what every request for a token can say, whichever grant type it is of.
type holder interface{ granted() *grant }

// serviceRequest asks for a token of a service account.
type serviceRequest struct{ grant *grant }

func (r *serviceRequest) GetSubject() string    { return r.grant.subject }
func (r *serviceRequest) GetAudience() []string { return r.grant.audience }
func (r *serviceRequest) GetScopes() []string   { return r.grant.scopes }
func (r *serviceRequest) granted() *grant       { return r.grant }

// refreshRequest asks for tokens with a refresh token.
type refreshRequest struct {
	grant  *grant
	scopes []string
}

func (r *refreshRequest) GetAMR() []string            { return []string{"pwd"} }
func (r *refreshRequest) GetAudience() []string       { return r.grant.audience }
func (r *refreshRequest) GetAuthTime() time.Time      { return r.grant.authTime }
func (r *refreshRequest) GetClientID() string         { return r.grant.client }
func (r *refreshRequest) GetScopes() []string         { return r.scopes }
func (r *refreshRequest) GetSubject() string          { return r.grant.subject }
func (r *refreshRequest) SetCurrentScopes(s []string) { r.scopes = s }
func (r *refreshRequest) granted() *grant             { return r.grant }
