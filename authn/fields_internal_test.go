package authn

import (
	"bytes"
	"testing"
)

// FuzzFields reads what is behind the seal. Nobody but us can write it; a bug in
// an older version of us could.
func FuzzFields(f *testing.F) {
	held := session{id: "x", identity: &Identity{Issuer: "i", Groups: []string{"a", ""}, Claims: map[string][]string{"c": {"d"}}}}
	f.Add(held.pack(true))
	f.Add(newFlow("/").pack())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, plain []byte) {
		if found, err := unpackSession(plain); err == nil {
			packed := found.pack(true)
			again, err := unpackSession(packed)
			if err != nil || !bytes.Equal(again.pack(true), packed) {
				t.Errorf("%x: %v", plain, err)
			}
		}
		if found, err := unpackFlow(plain); err == nil {
			again, err := unpackFlow(found.pack())
			if err != nil || *again != *found {
				t.Errorf("%x: %v", plain, err)
			}
		}
	})
}
