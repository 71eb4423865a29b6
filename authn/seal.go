package authn

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"amlproxy/internal/secret"
)

const (
	sealVersion = 1
	sealHeader  = 1 + 8 // version, expiry
	secretSize  = 32
)

var errSeal = errors.New("the seal is broken, or of another purpose or secret")

// A sealer turns bytes into a cookie value that only the holder of a secret can
// read or make, and that is worth nothing after its expiry, under another
// cookie's name or for another purpose.
//
// The value is version, expiry and AES-256-GCM ciphertext, in base64. Version
// and expiry are authenticated along with the name of the cookie; the key is
// derived from the secret for one purpose, so a sealed state never opens as a
// session (CVE-2026-114612, CVE-2026-19349). Nonces are random. Every failure to
// open is the same error: nothing tells a forger how far they got.
type sealer struct {
	purpose string
	aeads   atomic.Pointer[[]cipher.AEAD] // the first seals, all open
	rooms   sync.Pool                     // of *room
}

// A room is what a seal is opened in: every request of a session opens one.
type room struct{ sealed, plain, context []byte }

func newSealer(secrets []secret.Value, purpose string) (*sealer, error) {
	aeads, err := deriveAEADs(secrets, purpose)
	if err != nil {
		return nil, err
	}
	s := &sealer{purpose: purpose}
	s.aeads.Store(&aeads)
	return s, nil
}

func deriveAEADs(secrets []secret.Value, purpose string) ([]cipher.AEAD, error) {
	if len(secrets) == 0 {
		return nil, errors.New("a cookie secret is required")
	}
	var aeads []cipher.AEAD
	for i, v := range secrets {
		aead, err := deriveAEAD([]byte(v.Reveal()), purpose)
		if err != nil {
			return nil, fmt.Errorf("cookie secret %d: %w", i+1, err)
		}
		aeads = append(aeads, aead)
	}
	return aeads, nil
}

func deriveAEAD(secret []byte, purpose string) (cipher.AEAD, error) {
	if len(secret) != secretSize {
		return nil, fmt.Errorf("%d bytes long, not %d", len(secret), secretSize)
	}
	if oneByte(secret) {
		return nil, errors.New("not random")
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "amlproxy "+purpose, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// oneByte reports whether b is one byte repeated, as a placeholder would be.
func oneByte(b []byte) bool {
	for _, c := range b {
		if c != b[0] {
			return false
		}
	}
	return true
}

// seal returns the value of the cookie called name.
func (s *sealer) seal(name string, expires time.Time, plain []byte) string {
	aead := (*s.aeads.Load())[0]
	head := make([]byte, sealHeader, sealHeader+len(plain)+aead.Overhead())
	head[0] = sealVersion
	binary.BigEndian.PutUint64(head[1:], uint64(expires.Unix()))
	sealed := aead.Seal(head, nil, plain, sealContext(nil, head, name))
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// open returns what was sealed as the cookie called name, and when it expires.
func (s *sealer) open(name, value string) ([]byte, time.Time, error) {
	return s.openIn(new(room), name, value)
}

// read opens what was sealed for as long as use runs; use must keep nothing of it.
func (s *sealer) read(name, value string, use func(plain []byte)) error {
	in, ok := s.rooms.Get().(*room)
	if !ok {
		in = new(room)
	}
	defer s.rooms.Put(in)
	plain, _, err := s.openIn(in, name, value)
	if err == nil {
		use(plain)
	}
	return err
}

func (s *sealer) openIn(in *room, name, value string) ([]byte, time.Time, error) {
	encoding := base64.RawURLEncoding.Strict()
	in.sealed = slices.Grow(in.sealed[:0], encoding.DecodedLen(len(value)))
	n, err := encoding.Decode(in.sealed[:encoding.DecodedLen(len(value))], []byte(value))
	sealed := in.sealed[:n]
	if err != nil || len(sealed) < sealHeader || sealed[0] != sealVersion {
		return nil, time.Time{}, errSeal
	}
	head, body := sealed[:sealHeader], sealed[sealHeader:]
	in.context = sealContext(in.context[:0], head, name)
	expires := time.Unix(int64(binary.BigEndian.Uint64(head[1:])), 0)
	for _, aead := range *s.aeads.Load() {
		if plain, err := aead.Open(in.plain[:0], nil, body, in.context); err == nil {
			in.plain = plain
			if !time.Now().Before(expires) {
				return nil, time.Time{}, errSeal
			}
			return plain, expires, nil
		}
	}
	return nil, time.Time{}, errSeal
}

// sealContext appends the additional data to b: the header has a fixed length, so
// header and name cannot be shifted into each other (CVE-2023-35941).
func sealContext(b, head []byte, name string) []byte {
	return append(append(b, head[:sealHeader]...), name...)
}
