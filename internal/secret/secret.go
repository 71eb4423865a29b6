// Package secret holds values that must never be printed.
//
// A [Value] is made where a secret is read (a setting, an answer of the
// workspace, a token) and opened, with [Value.Reveal], in the one place that
// needs it. Everything in between can log, wrap, marshal or dump the structs
// around it without thinking.
package secret

import (
	"crypto/subtle"
	"fmt"
)

const masked = "[secret]"

// A Value is a string that no formatting verb, encoder or reflection-based
// dumper can see: the string lives in a closure, and a func holds nothing that
// fmt, json or zap could walk into. The zero Value is the empty secret.
type Value struct{ reveal func() string }

// New returns a Value that holds s.
func New(s string) Value {
	if s == "" {
		return Value{}
	}
	return Value{reveal: func() string { return s }}
}

// Reveal returns the secret itself. Call it only where the secret is used.
func (v Value) Reveal() string {
	if v.reveal == nil {
		return ""
	}
	return v.reveal()
}

// IsZero reports whether the secret is empty.
func (v Value) IsZero() bool { return v.reveal == nil }

// Equal reports whether v and w hold the same secret, in time that depends on
// their lengths alone.
func (v Value) Equal(w Value) bool {
	return subtle.ConstantTimeCompare([]byte(v.Reveal()), []byte(w.Reveal())) == 1
}

// String returns a mask.
func (Value) String() string { return masked }

// Format writes a mask under every verb, %#v and %x included.
func (Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(masked)) }

// MarshalText returns a mask, which also covers JSON, YAML and zap.
func (Value) MarshalText() ([]byte, error) { return []byte(masked), nil }

// UnmarshalText takes the secret from a setting.
func (v *Value) UnmarshalText(text []byte) error {
	*v = New(string(text))
	return nil
}
