package authn

import (
	"testing"
	"time"
)

// TestLogoutAcrossClockJumps: F13. What a clock says that was set back neither
// keeps a person out who signed in again, nor a session alive that was ended.
func TestLogoutAcrossClockJumps(t *testing.T) {
	e, err := newEnded()
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string, created time.Time) *session {
		return &session{id: name, created: created.Round(0), identity: &Identity{Issuer: "i", Subject: "s"}}
	}
	now := time.Now()
	before, fast := at("before", now.Add(-time.Minute)), at("begun when the clock was an hour fast", now.Add(time.Hour))
	all := logout{issuer: "i", subject: "s"}
	e.begun(before)
	e.addAll(all)
	slow := at("begun after the clock was set back by an hour", now.Add(-time.Hour))
	e.begun(slow)
	next := at("begun later", time.Now().Add(time.Second))
	for held, over := range map[*session]bool{before: true, fast: true, slow: false, next: false} {
		if e.has(held) != over {
			t.Errorf("%s: over is %v", held.id, !over)
		}
	}
	e.addAll(all)
	if !e.has(slow) {
		t.Error("the next logout does not end it")
	}
}
