package authn

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
)

// leeway is how far clocks may differ.
const leeway = 60 * time.Second

// SigningAlgorithms returns the algorithms that there are for an
// [Issuer].Algorithms (RFC 7518 section 3.1, RFC 8037), all asymmetric: with an
// HMAC one, a provider's public key would do as the secret. "none" is absent as well.
func SigningAlgorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

func algorithms() []jose.SignatureAlgorithm {
	var all []jose.SignatureAlgorithm
	for _, name := range SigningAlgorithms() {
		all = append(all, jose.SignatureAlgorithm(name))
	}
	return all
}

// A jwt is a signed token taken apart. Nothing in it is true until
// provider.verify says so. A key it brings along (jwk, jku, x5c, x5u) is ignored.
type jwt struct {
	jws           *jose.JSONWebSignature
	kid, alg, typ string
	claims        claims
}

// parseJWT takes a token apart: the compact form with exactly two dots. A JWE
// has four, so none is ever decrypted.
func parseJWT(raw string, limit int) (*jwt, error) {
	if len(raw) > limit {
		return nil, invalid("the token is longer than %d bytes", limit)
	}
	if strings.Count(raw, ".") != 2 {
		return nil, invalid("the token is not a signed JWT in compact form")
	}
	jws, err := jose.ParseSignedCompact(raw, algorithms())
	if err != nil {
		return nil, caused(invalid("the token is not a JWT signed with an accepted algorithm"), brief(err))
	}
	head := jws.Signatures[0].Protected
	typ, _ := head.ExtraHeaders[jose.HeaderType].(string)
	t := &jwt{jws: jws, kid: head.KeyID, alg: head.Algorithm, typ: strings.TrimPrefix(strings.ToLower(typ), "application/")}
	if _, detached := head.ExtraHeaders["b64"]; detached {
		return nil, invalid("the token is not a JWT") // RFC 7797 section 7
	}
	if t.claims, err = decodeClaims(jws.UnsafePayloadWithoutVerification()); err != nil {
		return nil, caused(invalid("the token's claims are malformed"), err)
	}
	return t, nil
}

// inTime checks exp, which must be there, and nbf.
func (t *jwt) inTime(now time.Time) (expires time.Time, err error) {
	expires, err = t.claims.time("exp")
	if err != nil || expires.IsZero() {
		return expires, caused(invalid("the token has no expiry"), err)
	}
	if !now.Before(expires.Add(leeway)) {
		return expires, invalid("the token has expired")
	}
	from, err := t.claims.time("nbf")
	if err != nil || now.Add(leeway).Before(from) {
		return expires, caused(invalid("the token is not valid yet"), err)
	}
	return expires, nil
}

// checkSubject refuses a token without sub. A lone surrogate decodes to the
// replacement character, which would make two subjects one.
func (t *jwt) checkSubject() error {
	sub := t.claims.text("sub")
	if sub == "" || strings.ContainsRune(sub, utf8.RuneError) {
		return invalid("the token has no subject")
	}
	return nil
}

// hashes reports whether hash is that of value as at_hash has it (OpenID
// Connect Core 1.0 section 3.1.3.6): the left half of the digest that belongs
// to the algorithm of the signature.
func (t *jwt) hashes(value, hash string) bool {
	var sum []byte
	switch {
	case strings.HasSuffix(t.alg, "256"):
		s := sha256.Sum256([]byte(value))
		sum = s[:]
	case strings.HasSuffix(t.alg, "384"):
		s := sha512.Sum384([]byte(value))
		sum = s[:]
	default: // …512, and Ed25519, which uses SHA-512 itself
		s := sha512.Sum512([]byte(value))
		sum = s[:]
	}
	want := base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	return subtle.ConstantTimeCompare([]byte(want), []byte(hash)) == 1
}

func invalid(format string, args ...any) *Error {
	return &Error{Kind: ErrInvalid, Detail: fmt.Sprintf(format, args...)}
}

func forbidden(format string, args ...any) *Error {
	return &Error{Kind: ErrForbidden, Detail: fmt.Sprintf(format, args...)}
}

func unavailable(cause error) *Error {
	return &Error{Kind: ErrUnavailable, Detail: "the identity provider cannot be reached", Err: cause}
}

func caused(e *Error, cause error) *Error {
	e.Err = cause
	return e
}

// clip makes text from outside fit for a message: printable ASCII, at most n bytes.
func clip(s string, n int) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() == n {
			return b.String() + "..."
		}
		if r < ' ' || r > '~' {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}
