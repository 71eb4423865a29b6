package authn

import (
	"crypto/rsa"
	"encoding/json"
	"errors"

	"github.com/go-jose/go-jose/v4"
)

const maxKeys = 100 // of one set; a token without kid is tried against each

// parseKeys reads a JSON Web Key Set. A key that is broken, of unknown type, not
// public or not for signatures is skipped, and the rest serves (RFC 7517 section
// 5): one ML-DSA key in a set has been seen to end all logins of a proxy.
// Symmetric keys are skipped too, so no public value can serve as an HMAC key.
func parseKeys(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, err
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(raw); err != nil || !usable(key) {
			continue
		}
		if keys = append(keys, key); len(keys) == maxKeys {
			break
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set holds no usable key")
	}
	return keys, nil
}

func usable(key jose.JSONWebKey) bool {
	if !key.Valid() || !key.IsPublic() || (key.Use != "" && key.Use != "sig") {
		return false
	}
	if k, ok := key.Key.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
		return false // RFC 7518 section 3.3
	}
	return true
}

// A match is what a key set says about a signature.
type match int

const (
	unknownKey match = iota // no key has this kid; a newer set may
	forged                  // the key of this kid did not make it
	genuine
)

// signedBy compares the signature of t with keys.
func (t *jwt) signedBy(keys []jose.JSONWebKey) match {
	found := unknownKey
	for _, key := range keys {
		if t.kid != "" && key.KeyID != "" && key.KeyID != t.kid {
			continue
		}
		if t.kid != "" && key.KeyID == t.kid {
			found = forged
		}
		if key.Algorithm != "" && key.Algorithm != t.alg {
			continue
		}
		if _, err := t.jws.Verify(key.Key); err == nil {
			return genuine
		}
	}
	return found
}
