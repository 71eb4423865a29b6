package authn

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"

	"golang.org/x/oauth2"

	"amlproxy/internal/secret"
)

// What follows is for whoever examines a provider before anybody signs in.

// TryClient has the provider's token endpoint judge the client alone: it presents
// a code that nobody issued, proving itself as a login does. code is what RFC 6749
// section 5.2 calls the error: invalid_grant means that only the code was wrong,
// invalid_client that the client is unknown or did not prove itself. err says that
// no such answer was to be had.
//
// Some look at the code first, and say invalid_grant whoever presents it. So that
// is asked again with a refresh token that nobody issued, and counts unless the
// answer is invalid_client.
func (l *Login) TryClient(ctx context.Context) (code, description string, err error) {
	madeUp := "nobody-issued-this-" + rand.Text()
	_, err = l.client.exchange(ctx, madeUp, oauth2.GenerateVerifier())
	var said *tokenError
	if errors.As(err, &said) && errors.Is(err, errInvalidGrant) {
		var again *tokenError
		if _, e := l.client.refresh(ctx, secret.New(madeUp)); errors.As(e, &again) && again.code == "invalid_client" {
			said = again
		}
	}
	switch {
	case said != nil && said.code != "":
		return clip(said.code, 60), clip(said.description, 200), nil
	case err == nil:
		return "", "", errors.New("the provider gave a token for a code that it never issued")
	}
	return "", "", err
}

// UsableKeys returns how many keys a JSON Web Key Set holds, and how many of them
// tokens are checked with.
func UsableKeys(set []byte) (usable, all int, err error) {
	var held struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(set, &held); err != nil {
		return 0, 0, errors.New("it is no key set")
	}
	for _, raw := range held.Keys {
		if _, err := parseKey(raw); err == nil {
			usable++
		}
	}
	return usable, len(held.Keys), nil
}
