package authntest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// keyring holds the provider's signing keys: one that signs, and all that are
// published. It is safe for concurrent use.
type keyring struct {
	alg jose.SignatureAlgorithm

	mu   sync.Mutex
	keys []*signingKey // newest last; the last one signs
}

func newKeyring(alg string) (*keyring, error) {
	k := &keyring{alg: jose.SignatureAlgorithm(alg)}
	if _, err := k.rotate(); err != nil {
		return nil, err
	}
	return k, nil
}

// rotate makes a new key the one that signs and returns its ID. Older ones stay published.
func (k *keyring) rotate() (string, error) {
	key, err := generate(k.alg)
	if err != nil {
		return "", fmt.Errorf("generating a signing key: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = append(k.keys, key)
	return key.id, nil
}

// retire withdraws every key but the one that signs.
func (k *keyring) retire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = k.keys[len(k.keys)-1:]
}

func (k *keyring) current() *signingKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys[len(k.keys)-1]
}

func (k *keyring) published() []op.Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := make([]op.Key, len(k.keys))
	for i, key := range k.keys {
		keys[i] = publicKey{key}
	}
	return keys
}

func generate(alg jose.SignatureAlgorithm) (*signingKey, error) {
	var private crypto.Signer
	var err error
	switch alg {
	case jose.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.RS256:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		return nil, fmt.Errorf("algorithm %q: want ES256 or RS256", alg)
	}
	if err != nil {
		return nil, err
	}
	public := jose.JSONWebKey{Key: private.Public()}
	thumbprint, err := public.Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return nil, err
	}
	return &signingKey{id: base64.RawURLEncoding.EncodeToString(thumbprint[:12]), alg: alg, private: private}, nil
}

// signingKey is what op signs with.
type signingKey struct {
	id      string
	alg     jose.SignatureAlgorithm
	private crypto.Signer
}

func (k *signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return k.alg }
func (k *signingKey) Key() any                                    { return k.private }
func (k *signingKey) ID() string                                  { return k.id }

// publicKey is what op publishes.
type publicKey struct{ of *signingKey }

func (k publicKey) ID() string                         { return k.of.id }
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return k.of.alg }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return k.of.private.Public() }
