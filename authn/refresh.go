package authn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"amlproxy/internal/secret"
)

// renew is the source of the sessions of this login: it asks the provider for
// new tokens with the refresh token of held, and for what they say about who it is.
//
// Once the provider has answered, the old refresh token may be worth nothing:
// the new one is returned even if the rest cannot be found out now, beside an
// error. Somebody else's claims, or none that are let in, end the session.
func (l *Login) renew(ctx context.Context, held *session) (*session, error) {
	token, err := l.client.refresh(ctx, held.tokens.Refresh)
	if errors.Is(err, errInvalidGrant) {
		return nil, caused(invalid("the session has ended"), err)
	}
	if err != nil {
		return nil, unavailable(err)
	}
	renewed := held.as(time.Now())
	renewed.turn++
	renewed.tokens.Refresh = secret.New(token.RefreshToken)
	id, err := l.claimsOf(ctx, token, held.identity)
	switch {
	case errors.Is(err, ErrUnavailable):
		return renewed, err
	case err != nil:
		return nil, fmt.Errorf("renewing session %s: %w", held.label(), err)
	}
	if id.Issuer != held.identity.Issuer || id.Subject != held.identity.Subject {
		return nil, forbidden("the identity provider renewed the session of somebody else")
	}
	id.Method, id.Session, id.Expires = held.identity.Method, held.identity.Session, held.identity.Expires
	if id.Time.IsZero() {
		id.Time = held.identity.Time
	}
	renewed.identity, renewed.claimed = id, renewed.used
	if raw := idTokenOf(token); !raw.IsZero() {
		renewed.tokens.ID = raw
	}
	return renewed, nil
}
