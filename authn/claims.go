package authn

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4/json"
)

// maxDepth is how deep claims may nest; the decoder recurses.
const maxDepth = 32

// claims are the members of a JWT's payload or of a userinfo answer.
//
// They are decoded with go-jose's json, a fork of the standard library's made
// for this: names are compared exactly and an object that has one twice is
// refused. encoding/json takes "ISS", or "iſſ" with a long s, for iss, and the
// last of two: an attacker who may choose the name of one claim chose the issuer.
type claims map[string]any

func decodeClaims(body []byte) (claims, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("claims are not UTF-8")
	}
	if !shallow(body) {
		return nil, errors.New("claims nest too deeply")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.SetNumberType(json.UnmarshalJSONNumber)
	var c claims
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("decoding claims: %w", brief(err))
	}
	if c == nil || d.More() {
		return nil, errors.New("claims are not one JSON object")
	}
	return c, c.onlyOneSpelling()
}

// onlyOneSpelling refuses claims that another reader could take for the ones
// that decide, whether or not those are there too.
func (c claims) onlyOneSpelling() error {
	deciding := []string{"iss", "sub", "aud", "exp", "nbf", "iat", "azp", "nonce", "tid", "oid"}
	for name := range c {
		for _, d := range deciding {
			if name != d && strings.EqualFold(name, d) {
				return fmt.Errorf("claim %.20q imitates %q", name, d)
			}
		}
	}
	return nil
}

// shallow reports whether body nests no deeper than maxDepth.
func shallow(body []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch b := body[i]; {
		case quoted && b == '\\':
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '{' || b == '[':
			if depth++; depth > maxDepth {
				return false
			}
		case b == '}' || b == ']':
			depth--
		}
	}
	return true
}

func (c claims) has(name string) bool { return c[name] != nil }

// text returns a claim that is a string; empty if it is anything else.
func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

// texts returns a claim that is a string or a list of strings. What is not a
// string is left out.
func (c claims) texts(name string) []string {
	switch v := c[name].(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

// omits reports whether the provider says that a claim is to be had elsewhere
// (OpenID Connect Core 1.0 section 5.6.2), which is what Entra does with more
// groups than fit: _claim_names, or hasgroups alone. The address that comes along
// (_claim_sources) is not called: a token does not tell the proxy whom to ask.
func (c claims) omits(name string) bool {
	elsewhere, _ := c["_claim_names"].(map[string]any)
	_, named := elsewhere[name]
	return named || (name == "groups" && c.isTrue("hasgroups"))
}

// values is texts for rules on any claim: numbers and booleans count as they are written.
func (c claims) values(name string) []string {
	list, ok := c[name].([]any)
	if !ok {
		list = []any{c[name]}
	}
	var all []string
	for _, e := range list {
		switch v := e.(type) {
		case string:
			all = append(all, v)
		case bool, json.Number:
			all = append(all, fmt.Sprint(v))
		}
	}
	return all
}

// words returns a claim that is a list of strings or one string of words (RFC
// 6749 section 3.3).
func (c claims) words(name string) []string {
	if s, ok := c[name].(string); ok {
		return strings.Fields(s)
	}
	return c.texts(name)
}

// audience returns aud: a string or a list of nothing but strings, not empty.
func (c claims) audience() ([]string, error) {
	all := c.texts("aud")
	if list, ok := c["aud"].([]any); ok && len(list) != len(all) {
		return nil, errors.New("claim aud holds something that is not a string")
	}
	if len(all) == 0 || slices.Contains(all, "") {
		return nil, errors.New("claim aud is missing or empty")
	}
	return all, nil
}

// time returns a NumericDate (RFC 7519 section 2); zero if the claim is absent.
func (c claims) time(name string) (time.Time, error) {
	v, there := c[name]
	if !there {
		return time.Time{}, nil
	}
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, fmt.Errorf("claim %s is not a number", name)
	}
	const year9999 = 253402300799
	f, err := n.Float64()
	if err != nil || !(f > 0 && f <= year9999) {
		return time.Time{}, fmt.Errorf("claim %s is not a time", name)
	}
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(part*1e9)), nil
}

// isTrue reads a boolean that some providers write as a string or a number
// (Entra's xms_edov, Cognito's email_verified).
func (c claims) isTrue(name string) bool {
	switch v := c[name].(type) {
	case bool:
		return v
	case string:
		return v == "true" || v == "1"
	case json.Number:
		return v == "1"
	}
	return false
}
