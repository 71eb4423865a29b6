package authntest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

var errUnsupported = errors.New("this provider does not do that")

// opStorage lets op see the store and the keys.
type opStorage struct {
	store *store
	keys  *keyring
}

var (
	_ op.Storage                        = (*opStorage)(nil)
	_ op.ClientCredentialsStorage       = (*opStorage)(nil)
	_ op.CanSetUserinfoFromRequest      = (*opStorage)(nil)
	_ op.CanGetPrivateClaimsFromRequest = (*opStorage)(nil)
	_ op.CanTerminateSessionFromRequest = (*opStorage)(nil)
)

func (s *opStorage) CreateAuthRequest(_ context.Context, r *oidc.AuthRequest, hint string) (op.AuthRequest, error) {
	kept, err := s.store.addRequest(*r, hint, time.Now())
	if err != nil {
		return nil, err
	}
	return kept, nil
}

func (s *opStorage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	r, err := s.store.request(id, time.Now())
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (s *opStorage) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	r, err := s.store.redeem(code, time.Now())
	if err != nil {
		return nil, err
	}
	return r, nil
}

// SaveAuthCode is not called: the login hands out codes itself.
func (s *opStorage) SaveAuthCode(context.Context, string, string) error { return errUnsupported }

func (s *opStorage) DeleteAuthRequest(_ context.Context, id string) error {
	s.store.deleteRequest(id)
	return nil
}

func (s *opStorage) CreateAccessToken(_ context.Context, r op.TokenRequest) (string, time.Time, error) {
	h, ok := r.(holder)
	if !ok {
		return "", time.Time{}, errUnsupported
	}
	id, expires := s.store.addToken(h.granted(), r.GetScopes(), time.Now())
	return id, expires, nil
}

func (s *opStorage) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, old string) (string, string, time.Time, error) {
	h, ok := r.(holder)
	if !ok {
		return "", "", time.Time{}, errUnsupported
	}
	refresh, err := s.store.rotate(h.granted(), old, time.Now())
	if err != nil {
		return "", "", time.Time{}, oidc.ErrInvalidGrant().WithDescription("invalid refresh token").WithParent(err)
	}
	id, expires, err := s.CreateAccessToken(ctx, r)
	return id, refresh, expires, err
}

func (s *opStorage) TokenRequestByRefreshToken(_ context.Context, token string) (op.RefreshTokenRequest, error) {
	g, err := s.store.refreshable(token, time.Now())
	if err != nil {
		return nil, err
	}
	if _, ok := s.store.user(g.subject); !ok {
		return nil, errNotFound
	}
	return &refreshRequest{grant: g, scopes: slices.Clone(g.scopes)}, nil
}

func (s *opStorage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := s.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, err
	}
	return s.GetClientByClientID(ctx, id)
}

// ClientCredentialsTokenRequest grants what was asked for, and everything
// registered if nothing was.
func (s *opStorage) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	c, err := s.store.client(id)
	if err != nil {
		return nil, err
	}
	for _, scope := range scopes {
		if !c.IsScopeAllowed(scope) {
			return nil, oidc.ErrInvalidScope().WithDescription("a scope that this client may not ask for")
		}
	}
	if len(scopes) == 0 {
		scopes = c.Scopes
	}
	return &serviceRequest{&grant{client: id, subject: id, scopes: scopes, audience: c.audiences, service: true}}, nil
}

// TerminateSession is not called: TerminateSessionFromRequest is.
func (s *opStorage) TerminateSession(context.Context, string, string) error { return errUnsupported }

// TerminateSessionFromRequest ends the session that the hint names; the one of
// the browser has been ended by then. Refresh tokens live on: offline_access is
// access while the user is away.
func (s *opStorage) TerminateSessionFromRequest(_ context.Context, r *op.EndSessionRequest) (string, error) {
	if hint := r.IDTokenHintClaims; hint != nil {
		s.store.dropSessionID(hint.SessionID)
	}
	return r.RedirectURI, nil
}

func (s *opStorage) RevokeToken(_ context.Context, token, _, clientID string) *oidc.Error {
	if !s.store.revokeToken(token, clientID) {
		return oidc.ErrInvalidClient().WithDescription("the token is another client's")
	}
	return nil
}

func (s *opStorage) GetRefreshTokenInfo(_ context.Context, _, token string) (subject, id string, err error) {
	g, err := s.store.refreshable(token, time.Now())
	if err != nil {
		return "", "", op.ErrInvalidRefreshToken
	}
	return g.subject, token, nil
}

func (s *opStorage) SigningKey(context.Context) (op.SigningKey, error) { return s.keys.current(), nil }

func (s *opStorage) KeySet(context.Context) ([]op.Key, error) { return s.keys.published(), nil }
func (s *opStorage) Health(context.Context) error             { return nil }

func (s *opStorage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{s.keys.alg}, nil
}

func (s *opStorage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	c, err := s.store.client(id)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (s *opStorage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	c, err := s.store.client(id)
	if err != nil || !same(c.Secret, secret) {
		return errors.New("unknown client or wrong secret")
	}
	return nil
}

// GetKeyByIDAndClientID returns a client's one key, whatever its assertion calls it.
func (s *opStorage) GetKeyByIDAndClientID(_ context.Context, id, clientID string) (*jose.JSONWebKey, error) {
	c, err := s.store.client(clientID)
	if err != nil || c.Key == nil {
		return nil, errNotFound
	}
	return &jose.JSONWebKey{Key: c.Key, KeyID: id}, nil
}

// ValidateJWTProfileScopes refuses the grant of RFC 7523.
func (s *opStorage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errUnsupported
}
