package authn

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/internal/secret"
)

// TestSealIsBoundToPurposeNameAndTime, each for itself: seen from outside, one
// of them covers for the others.
func TestSealIsBoundToPurposeNameAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secrets := []secret.Value{secret.New("0123456789abcdef0123456789abcdef")}
		sessions, err := newSealer(secrets, "session")
		if err != nil {
			t.Fatal(err)
		}
		states, err := newSealer(secrets, "state")
		if err != nil {
			t.Fatal(err)
		}
		value := sessions.seal("name", time.Now().Add(time.Minute), []byte("plain"))
		if plain, _, err := sessions.open("name", value); err != nil || string(plain) != "plain" {
			t.Fatalf("%q %v", plain, err)
		}
		if _, _, err := states.open("name", value); !errors.Is(err, errSeal) {
			t.Error("opens for another purpose")
		}
		for _, name := range []string{"", "nam", "names", "Name"} {
			if _, _, err := sessions.open(name, value); !errors.Is(err, errSeal) {
				t.Errorf("opens under the name %q", name)
			}
		}
		time.Sleep(time.Minute)
		if _, _, err := sessions.open("name", value); !errors.Is(err, errSeal) {
			t.Error("opens after its expiry")
		}
	})
}
