package telemetry

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestSecondsAreExact: as many decimals as it takes, and no other number.
func TestSecondsAreExact(t *testing.T) {
	for nanoseconds, want := range map[int64]string{
		0: "0", 1: "0.000000001", 10: "0.00000001", 1e9: "1", 1_500_000_000: "1.5", 120_000_000_030: "120.00000003", -250_000_000: "-0.25",
		math.MaxInt64: "9223372036.854775807", math.MinInt64: "-9223372036.854775808",
	} {
		if got := string(appendSeconds(nil, nanoseconds)); got != want {
			t.Errorf("%d: %s, want %s", nanoseconds, got, want)
		}
	}
	for range 10_000 {
		d := time.Duration(rand.Int64N(int64(10 * time.Minute)))
		said := string(appendSeconds(nil, int64(d)))
		if got, err := time.ParseDuration(said + "s"); err != nil || got != d || said != "0" && said[len(said)-1] == '0' && strings.Contains(said, ".") {
			t.Fatalf("%d: %s", d, said)
		}
	}
}
