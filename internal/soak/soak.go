// Package soak is what the long tests share: whether they were asked for, and the
// table of faults that "make soak" prints at its end. Nothing but tests calls it.
package soak

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// On reports whether tests may take minutes, thousands of connections and all of
// the machine: SOAK is set.
func On() bool { return os.Getenv("SOAK") != "" } //nolint:forbidigo // a test is asked for by whoever runs it

// Time is how long a test that only repeats goes on: SOAK_TIME, or usual.
func Time(t testing.TB, usual time.Duration) time.Duration {
	t.Helper()
	given := os.Getenv("SOAK_TIME") //nolint:forbidigo // as above
	if given == "" {
		return usual
	}
	d, err := time.ParseDuration(given)
	if err != nil {
		t.Fatalf("SOAK_TIME: %v", err)
	}
	return d
}

// Note writes one row of the table: which fault, what was done, what was promised
// and what came of it. The verdict is whether t has failed so far, so a test notes
// what it found last. Without SOAK_TABLE, the file that the rows are added to, it
// only logs.
func Note(t testing.TB, fault, did, promised, figure string) {
	t.Helper()
	verdict := "kept"
	if t.Failed() {
		verdict = "BROKEN"
	}
	cells := []string{fault, did, figure, promised, verdict}
	t.Log(strings.Join(cells, " | "))
	name := os.Getenv("SOAK_TABLE") //nolint:forbidigo // as above
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // the developer names it
	if err != nil {
		t.Errorf("SOAK_TABLE: %v", err)
		return
	}
	defer f.Close()
	for i, cell := range cells {
		cells[i] = strings.NewReplacer("\t", " ", "\n", " ").Replace(cell)
	}
	if _, err := fmt.Fprintln(f, strings.Join(cells, "\t")); err != nil {
		t.Errorf("SOAK_TABLE: %v", err)
	}
}
