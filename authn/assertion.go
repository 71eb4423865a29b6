package authn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // x5t is defined by it (RFC 7515 section 4.1.7); it only names a certificate
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"amlproxy/internal/secret"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523 section 2.2
	assertionLife = 2 * time.Minute
	maxAssertion  = 16 << 10
)

// A ClientKey signs what the client authenticates with: private_key_jwt of
// OpenID Connect Core 1.0 section 9, RFC 7523.
type ClientKey struct {
	// Key is an RSA key of at least 2048 bits, an EC key on P-256, P-384 or
	// P-521, or an Ed25519 key.
	Key crypto.Signer
	// Certificate, if there is one, is named in each assertion by its digests
	// (x5t, x5t#S256): Entra looks for it by them. It has to be that of Key.
	Certificate *x509.Certificate
	// ID is the kid of each assertion; none if it is empty.
	ID string
	// Audience is the aud of each assertion. If it is empty that is the issuer, so
	// that no other server can make use of one; for Entra it is the token endpoint,
	// since Entra takes nothing else.
	Audience string
}

func (k *ClientKey) check() error {
	if k.Key == nil {
		return errors.New("the client's key is missing")
	}
	if _, err := k.algorithm(nil); err != nil {
		return err
	}
	if k.Certificate == nil {
		return nil
	}
	public, ok := k.Key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(k.Certificate.PublicKey) {
		return errors.New("the client's certificate belongs to another key")
	}
	return nil
}

// algorithm returns the first that the key can and the provider says it takes;
// what it says is optional, and RS256 is what everybody takes.
func (k *ClientKey) algorithm(taken []string) (jose.SignatureAlgorithm, error) {
	var can []jose.SignatureAlgorithm
	switch public := k.Key.Public().(type) {
	case *rsa.PublicKey:
		if public.N.BitLen() < 2048 {
			return "", errors.New("the client's RSA key has less than 2048 bits") // RFC 7518 section 3.3
		}
		can = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.RS384, jose.PS384, jose.RS512, jose.PS512}
	case *ecdsa.PublicKey:
		byCurve := map[string]jose.SignatureAlgorithm{"P-256": jose.ES256, "P-384": jose.ES384, "P-521": jose.ES512}
		if alg, ok := byCurve[public.Curve.Params().Name]; ok {
			can = []jose.SignatureAlgorithm{alg}
		}
	case ed25519.PublicKey:
		can = []jose.SignatureAlgorithm{jose.EdDSA}
	}
	if len(can) == 0 {
		return "", fmt.Errorf("a client's key of type %T is not supported", k.Key)
	}
	for _, alg := range can {
		if slices.Contains(taken, string(alg)) {
			return alg, nil
		}
	}
	return can[0], nil
}

// byKey signs an assertion for each request. Each has an identifier of its own,
// since a provider takes none twice (CVE-2020-5300), and is soon worth nothing.
func byKey(id string, k *ClientKey, issuer Issuer) proof {
	return func(_ http.Header, form url.Values, m *metadata) error {
		audience := k.Audience
		if _, _, _, entra := issuer.entra(); audience == "" && entra {
			audience = m.endpoint.TokenURL
		}
		now := time.Now()
		claims, err := json.Marshal(map[string]any{
			"iss": id, "sub": id, "aud": orElse(audience, issuer.URL), "jti": rand.Text(),
			"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(assertionLife).Unix(),
		})
		if err != nil {
			return err
		}
		assertion, err := k.sign(claims, m.AssertionAlgs)
		if err != nil {
			return err
		}
		present(form, id, assertion)
		return nil
	}
}

func (k *ClientKey) sign(claims []byte, taken []string) (string, error) {
	alg, err := k.algorithm(taken)
	if err != nil {
		return "", err
	}
	options := (&jose.SignerOptions{}).WithType("JWT")
	if k.ID != "" {
		options.WithHeader("kid", k.ID)
	}
	if c := k.Certificate; c != nil {
		short, long := sha1.Sum(c.Raw), sha256.Sum256(c.Raw) //nolint:gosec // as above
		options.WithHeader("x5t", base64.RawURLEncoding.EncodeToString(short[:]))
		options.WithHeader("x5t#S256", base64.RawURLEncoding.EncodeToString(long[:]))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: k.Key}, options)
	if err != nil {
		return "", fmt.Errorf("signing an assertion: %w", err)
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", fmt.Errorf("signing an assertion: %w", err)
	}
	return signed.CompactSerialize()
}

// byAssertion presents what somebody else signed for this client: the token of a
// Kubernetes service account that the provider trusts (workload identity
// federation). It is asked for each time, since whoever writes it renews it.
func byAssertion(id string, read func() (secret.Value, error)) proof {
	return func(_ http.Header, form url.Values, _ *metadata) error {
		assertion, err := read()
		if err != nil {
			return fmt.Errorf("reading the client's assertion: %w", err)
		}
		if assertion.IsZero() || len(assertion.Reveal()) > maxAssertion {
			return errors.New("the client's assertion is empty or too long")
		}
		present(form, id, assertion.Reveal())
		return nil
	}
}

// present adds an assertion to a request. client_id is optional there (RFC 7521
// section 4.2), and Entra wants it.
func present(form url.Values, id, assertion string) {
	form.Set("client_id", id)
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", assertion)
}
