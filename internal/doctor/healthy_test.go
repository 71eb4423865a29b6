package doctor_test

import (
	"testing"

	"amlproxy/upstream/azuremltest"
)

func TestAHealthyEnvironmentIsOKInEveryLine(t *testing.T) {
	w := newWorld(t, azuremltest.Options{})
	failed, lines := w.examine(t)
	if failed != 0 {
		t.Errorf("%d failed", failed)
	}
	for _, l := range lines {
		if l.state != "ok" {
			t.Errorf("%+v", l)
		}
	}
	for _, s := range []*azuremltest.Scoring{w.fraud, w.churn, w.spam, w.diabetes, w.iris, w.llama} {
		if s.Posts() != 0 {
			t.Errorf("%s was called %d times", s.Name(), s.Posts())
		}
	}
}
