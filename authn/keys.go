package authn

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

const maxKeys = 100 // of one set; a token without kid is tried against each

// A key is one that a provider signs with.
type key struct {
	jose.JSONWebKey
	// issuer is whom the key signs for, in the sets of Entra: a tenant's address or
	// a template with {tenantid}. RFC 7517 knows no such member; others leave it out.
	issuer string
	raw    string // as it stood in the set
}

// sameKeys reports whether a set was fetched that was there already.
func sameKeys(a, b []key) bool {
	return slices.EqualFunc(a, b, func(a, b key) bool { return a.raw == b.raw })
}

// parseKeys reads a JSON Web Key Set. A key that is broken, of unknown type, not
// public or not for signatures is skipped, and the rest serves (RFC 7517 section
// 5): one ML-DSA key in a set has been seen to end all logins of a proxy.
// Symmetric keys are skipped too, so no public value can serve as an HMAC key.
func parseKeys(body []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, err
	}
	var keys []key
	for _, raw := range set.Keys {
		k, err := parseKey(raw)
		if err != nil {
			continue
		}
		if keys = append(keys, k); len(keys) == maxKeys {
			break
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set holds no usable key")
	}
	return keys, nil
}

func parseKey(raw []byte) (key, error) {
	var k key
	if err := k.UnmarshalJSON(raw); err != nil {
		return key{}, err
	}
	members, err := decodeClaims(raw)
	if err != nil {
		return key{}, err
	}
	k.issuer, k.raw = members.text("issuer"), string(raw)
	switch modulus, rsaKey := k.Key.(*rsa.PublicKey); {
	case !k.Valid() || !k.IsPublic() || (k.Use != "" && k.Use != "sig"):
		return key{}, errors.New("not a public key for signatures")
	case rsaKey && modulus.N.BitLen() < 2048: // RFC 7518 section 3.3
		return key{}, errors.New("an RSA key of less than 2048 bits")
	case members.has("issuer") && k.issuer == "":
		return key{}, errors.New("an issuer that is no text")
	}
	return k, nil
}

// A match is what a key set says about a signature.
type match int

const (
	unknownKey match = iota // no key has this kid; a newer set may
	forged                  // the key of this kid did not make it
	genuine
)

// signedBy compares the signature of t with those keys that may sign for it.
func (t *jwt) signedBy(keys []key, may func(key) bool) match {
	found := unknownKey
	for _, key := range keys {
		if t.kid != "" && key.KeyID != "" && key.KeyID != t.kid {
			continue
		}
		if t.kid != "" && key.KeyID == t.kid {
			found = forged
		}
		if (key.Algorithm != "" && key.Algorithm != t.alg) || !may(key) {
			continue
		}
		if _, err := t.jws.Verify(key.Key); err == nil {
			return genuine
		}
	}
	return found
}
