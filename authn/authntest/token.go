package authntest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// A Token is a JSON Web Token in the making. A Fault or a SignOption may change
// any of it before it is signed.
type Token struct {
	// Header holds alg, kid, typ and whatever else. An alg of none makes a token
	// with an empty signature.
	Header map[string]any
	Claims map[string]any
	// Key signs: the provider's own private key, until it is replaced. An HMAC alg
	// takes a []byte.
	Key any
	// Payload, when set, is signed instead of Claims: for JSON that no map can
	// express, with one name twice, say.
	Payload []byte
}

// A SignOption changes a token before it is signed.
type SignOption func(*Token)

// WithHeader sets a header parameter; a nil value removes it.
func WithHeader(name string, value any) SignOption {
	return func(t *Token) {
		if value == nil {
			delete(t.Header, name)
			return
		}
		t.Header[name] = value
	}
}

// WithKey signs with another key than the provider's, under that algorithm.
func WithKey(alg string, key any) SignOption {
	return func(t *Token) { t.Header["alg"], t.Key = alg, key }
}

// WithPayload signs these bytes as they are, instead of the claims.
func WithPayload(payload []byte) SignOption {
	return func(t *Token) { t.Payload = payload }
}

// Unsigned makes a token of alg none (RFC 8725 section 3.1).
func Unsigned() SignOption {
	return func(t *Token) { t.Header["alg"] = "none" }
}

// Sign returns a token with exactly these claims, signed with the provider's
// current key. Unless an option says otherwise it calls itself an access token
// (typ at+jwt, RFC 9068 section 2.1).
func (p *Provider) Sign(claims map[string]any, options ...SignOption) (string, error) {
	t := p.newToken("at+jwt", claims)
	for _, o := range options {
		o(t)
	}
	return t.sign()
}

func (p *Provider) newToken(typ string, claims map[string]any) *Token {
	key := p.keys.current()
	return &Token{
		Header: map[string]any{"alg": string(key.alg), "kid": key.id, "typ": typ},
		Claims: claims,
		Key:    key.private,
	}
}

// sign returns the compact serialization (RFC 7515 section 7.1).
func (t *Token) sign() (string, error) {
	payload := t.Payload
	if payload == nil {
		var err error
		if payload, err = json.Marshal(t.Claims); err != nil {
			return "", fmt.Errorf("encoding claims: %w", err)
		}
	}
	alg, _ := t.Header["alg"].(string)
	if strings.EqualFold(alg, "none") { // "nOnE" is how some have got past a check
		return t.unsigned(payload)
	}
	options := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{}}
	for name, value := range t.Header {
		if name != "alg" {
			options.ExtraHeaders[jose.HeaderKey(name)] = value
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: t.Key}, options)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return signed.CompactSerialize()
}

func (t *Token) unsigned(payload []byte) (string, error) {
	header, err := json.Marshal(t.Header)
	if err != nil {
		return "", fmt.Errorf("encoding header: %w", err)
	}
	b := base64.RawURLEncoding
	return b.EncodeToString(header) + "." + b.EncodeToString(payload) + ".", nil
}

// Claims returns the claims of a token, unverified. Numbers stay as they are
// written (json.Number), so that signing them again changes none.
func Claims(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("not a compact JWS")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, fmt.Errorf("decoding claims: %w", err)
	}
	return decodeObject(payload)
}

func decodeObject(data []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return nil, fmt.Errorf("decoding JSON: %w", err)
	}
	return object, nil
}
