package authn_test

import (
	"net/http"
	"testing"

	"amlproxy/authn"
	"amlproxy/internal/secret"
)

// The promise for both: under 10 µs and under 2 KiB a request.

func BenchmarkRememberedBearer(b *testing.B) {
	idp := newIssuer(b, "https://idp.example")
	bearer := idp.bearer(b)
	r := request("Authorization", "Bearer "+idp.sign(b, idp.claims()))
	benchmark(b, bearer, r)
}

func BenchmarkSession(b *testing.B) {
	s := newSessions(b)
	_, r := started(b, s, alice())
	benchmark(b, s, r)
}

func benchmark(b *testing.B, a authn.Authenticator, r *http.Request) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(http.Header{}, r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSessionWithRefreshToken is of one that may be renewed, and is not due.
func BenchmarkSessionWithRefreshToken(b *testing.B) {
	w := newWorld(b, 1)
	answer := http.Header{}
	if err := w.replicas[0].sessions.Start(answer, request(), alice(), authn.Tokens{Refresh: secret.New(repeated("r", 1200))}); err != nil {
		b.Fatal(err)
	}
	benchmark(b, w.replicas[0].sessions, carry(answer, request()))
}
