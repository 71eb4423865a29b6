package doctor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/internal/doctor"
)

func found(f doctor.Finding) func(context.Context) doctor.Finding {
	return func(context.Context) doctor.Finding { return f }
}

// run runs checks and returns what was written.
func run(t *testing.T, checks ...doctor.Check) (int, string) {
	t.Helper()
	var out bytes.Buffer
	failed, err := doctor.Run(t.Context(), &out, checks)
	if err != nil {
		t.Fatal(err)
	}
	return failed, out.String()
}

func TestWhatDependsOnAFailureIsSkippedAndNamesIt(t *testing.T) {
	asked := func(context.Context) doctor.Finding {
		t.Error("asked all the same")
		return doctor.Finding{}
	}
	failed, out := run(t,
		doctor.Check{Name: "a", Ask: found(doctor.Finding{State: doctor.Fail, Detail: "it is off", Hints: []string{"switch it on", "az on --now  twice"}})},
		doctor.Check{Name: "unsure", Ask: found(doctor.Finding{State: doctor.Skip, Detail: "nobody knows"})},
		doctor.Check{Name: "b", Needs: []string{"a"}, Ask: asked},
		doctor.Check{Name: "c", Needs: []string{"unsure", "b"}, Ask: asked},
		doctor.Check{Name: "d", Needs: []string{"unsure"}, After: []string{"a"}, Ask: found(doctor.Finding{Detail: "it is on"})},
	)
	const want = `FAIL  a       it is off
      → switch it on
      → az on --now  twice
skip  unsure  nobody knows
skip  b       not asked, because this failed: a; nor c
ok    d       it is on
1 ok, 0 warn, 1 failed, 3 skipped
`
	if out != want || failed != 1 {
		t.Errorf("%d failed:\n%s\nwant:\n%s", failed, out, want)
	}
}

// TestChecksRunAtTheSameTimeAndAreReportedInOrder: twelve seconds of asking take
// three, and the slowest comes first.
func TestChecksRunAtTheSameTimeAndAreReportedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var checks []doctor.Check
		for i := range 4 {
			checks = append(checks, doctor.Check{Name: fmt.Sprint(i), Ask: func(context.Context) doctor.Finding {
				time.Sleep(time.Duration(4-i) * time.Second)
				return doctor.Finding{Detail: "done"}
			}})
		}
		began := time.Now()
		_, out := run(t, checks...)
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("it took %s", took)
		}
		if !strings.HasPrefix(out, "ok    0  done\nok    1  done\nok    2  done\nok    3  done\n") {
			t.Error(out)
		}
	})
}

func TestAHundredChecksAreNotAHundredCallsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		var checks []doctor.Check
		for i := range 100 {
			checks = append(checks, doctor.Check{Name: fmt.Sprint(i), Ask: func(context.Context) doctor.Finding {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(time.Second)
				now.Add(-1)
				return doctor.Finding{}
			}})
		}
		run(t, checks...)
		if most.Load() > 16 {
			t.Errorf("%d at once", most.Load())
		}
	})
}

// TestEveryCheckIsBoundedInTime: those that end with their context say why, and
// those that do not are left behind.
func TestEveryCheckIsBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deaf := make(chan struct{})
		began := time.Now()
		failed, out := run(t,
			doctor.Check{Name: "hears", Ask: func(ctx context.Context) doctor.Finding {
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
					t.Errorf("the cause is %v", context.Cause(ctx))
				}
				return doctor.Finding{State: doctor.Fail, Detail: "the host: " + context.Cause(ctx).Error()}
			}},
			doctor.Check{Name: "deaf", Limit: 20 * time.Second, Ask: func(context.Context) doctor.Finding {
				<-deaf
				return doctor.Finding{}
			}},
		)
		if took := time.Since(began); failed != 2 || took > 22*time.Second {
			t.Errorf("%d failed after %s", failed, took)
		}
		if want := "FAIL  hears  the host: no answer within 15s\nFAIL  deaf   no answer within 20s\n"; !strings.HasPrefix(out, want) {
			t.Error(out)
		}
		close(deaf)
	})
}

func TestAListThatCouldWaitForeverIsRefused(t *testing.T) {
	ask := found(doctor.Finding{})
	for name, checks := range map[string][]doctor.Check{
		"two of one name":  {{Name: "a", Ask: ask}, {Name: "a", Ask: ask}},
		"needs itself":     {{Name: "a", Needs: []string{"a"}, Ask: ask}},
		"needs a later":    {{Name: "a", Needs: []string{"b"}, Ask: ask}, {Name: "b", Ask: ask}},
		"after one absent": {{Name: "a", After: []string{"b"}, Ask: ask}},
	} {
		if _, err := doctor.Run(t.Context(), io.Discard, checks); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestAnAnswerCannotSpeakToTheTerminal: what others wrote is one printable line.
func TestAnAnswerCannotSpeakToTheTerminal(t *testing.T) {
	_, out := run(t, doctor.Check{Name: "a", Ask: found(doctor.Finding{
		State: doctor.Fail, Detail: "\x1b[2Jgone\nok    b  all is well\r" + strings.Repeat("x", 5000), Hints: []string{"do\x07 this\nok    c  fine"},
	})})
	if strings.ContainsAny(strings.ReplaceAll(out, "\n", ""), "\x1b\x07\r") || strings.Count(out, "\n") != 3 || len(out) > 1000 {
		t.Errorf("%q", out)
	}
}

func TestAWriterThatFailsIsToldOf(t *testing.T) {
	broken := errors.New("the pipe is broken")
	_, err := doctor.Run(t.Context(), failing{broken}, []doctor.Check{{Name: "a", Ask: found(doctor.Finding{})}})
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
