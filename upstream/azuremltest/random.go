package azuremltest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
)

// randomBytes returns n bytes that nobody can guess; crypto/rand cannot fail.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// randomText returns n random bytes as text that fits into a header, a setting
// and a path.
func randomText(n int) string { return base64.RawURLEncoding.EncodeToString(randomBytes(n)) }

// guid returns a random version 4 UUID (RFC 9562, section 5.4).
func guid() string {
	b := randomBytes(16)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
