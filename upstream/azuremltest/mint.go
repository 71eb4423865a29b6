package azuremltest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// A mint issues tokens and remembers them: what is not remembered was not
// issued here, so that checking a token is a look into a map and forging one is
// out of the question. The signatures are good all the same.
type mint struct {
	clock  Clock
	public jose.JSONWebKey
	signer jose.Signer

	mu     sync.Mutex
	last   uint64 // the serial number of the newest token
	issued map[string]token
}

// A token is what was issued.
type token struct {
	audience string
	serial   uint64
	expires  time.Time
}

func newMint(clock Clock) (*mint, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the tokens' key: %w", err)
	}
	id := randomText(8)
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: id}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("making the tokens' signer: %w", err)
	}
	return &mint{
		clock:  clock,
		public: jose.JSONWebKey{Key: key.Public(), KeyID: id, Algorithm: string(jose.ES256), Use: "sig"},
		signer: signer,
		issued: make(map[string]token),
	}, nil
}

// issue makes a token that is valid for so long; more are its further claims.
func (m *mint) issue(issuer, subject, audience string, valid time.Duration, more map[string]any) (string, error) {
	now := m.clock.Now()
	claims := jwt.Claims{
		Issuer: issuer, Subject: subject, Audience: jwt.Audience{audience}, ID: randomText(12),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(valid)),
	}
	text, err := jwt.Signed(m.signer).Claims(claims).Claims(more).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.issued, func(_ string, t token) bool { return t.longGone(now) })
	m.last++
	m.issued[text] = token{audience: audience, serial: m.last, expires: now.Add(valid)}
	return text, nil
}

// longGone reports whether a token can be forgotten: until then it is known to
// be expired, which some hosts say.
func (t token) longGone(now time.Time) bool { return now.After(t.expires.Add(time.Hour)) }

// find returns the token behind text, expired or not.
func (m *mint) find(text string) (token, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.issued[text]
	return t, ok
}

// serial returns the serial number of the newest token: revoking is refusing
// everything up to it.
func (m *mint) serial() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}
