package azuremltest_test

import (
	"errors"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/upstream/azuremltest"
)

// TestDayPassesInABubble: tokens expire, delays elapse, and nobody waits.
func TestDayPassesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := azuremltest.NewNetwork()
		a := start(t, azuremltest.Options{Listen: network.Listen})
		c := client(t, a)
		c.Transport.(*http.Transport).DialContext = network.DialContext
		s := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "iris", Auth: azuremltest.Token, Model: echo}))
		s.Behave(azuremltest.Behaviour{Latency: 10 * time.Second})
		token := endpointToken(t, c, a, "iris")
		for _, want := range []int{200, 401} {
			before := time.Now()
			r := do(t, c, http.MethodPost, s.URL(), token, "{}")
			if r.StatusCode != want || time.Since(before) != 10*time.Second {
				t.Errorf("%s after %s, want %d", r.Status, time.Since(before), want)
			}
			time.Sleep(24 * time.Hour)
		}
	})
}

func TestNobodyListensOnTheNetwork(t *testing.T) {
	network := azuremltest.NewNetwork()
	listener := must[net.Listener](t)(network.Listen())
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"127.0.0.1:10001", "127.0.0.1:1"} {
		if _, err := network.DialContext(t.Context(), "tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
