package authn

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"amlproxy/internal/secret"
)

// maxRevocations bounds those under way at once; beyond it refresh tokens are left
// to expire.
const maxRevocations = 16

// revoke tells the provider that refresh tokens are not needed any more (RFC 7009),
// if its discovery says that it wants to know. Nobody waits for it, and nothing
// depends on it: the sessions that they belonged to are over here.
func (l *Login) revoke(tokens ...secret.Value) {
	select {
	case l.revoking <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-l.revoking }()
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		_, _ = guarded(func() (struct{}, error) {
			done := map[string]bool{"": true}
			for _, token := range tokens {
				if !done[token.Reveal()] {
					_ = l.client.revoke(ctx, token)
				}
				done[token.Reveal()] = true
			}
			return struct{}{}, nil
		})
	}()
}

// revoke asks the provider to forget a refresh token (RFC 7009 section 2.1). One
// that it does not know is forgotten already, and no error.
func (c *client) revoke(ctx context.Context, token secret.Value) error {
	held, err := c.provider.metadata.get(ctx)
	if err != nil || held.value.Revocation == "" {
		return err
	}
	status, _, err := c.post(calling(ctx, CallRevocation), held.value, held.value.Revocation, http.Header{},
		url.Values{"token": {token.Reveal()}, "token_type_hint": {"refresh_token"}})
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("revoking a refresh token: status %d", status)
	}
	return err
}
