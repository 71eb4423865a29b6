package doctor

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

const (
	checkLimit = 15 * time.Second // of a check that says nothing else
	atOnce     = 16               // checks: a hundred routes must not use up Azure's rate limits
)

// A State is how a check ended.
type State int

// The states.
const (
	OK   State = iota
	Warn       // it works, and is still not as it should be
	Fail
	Skip // it was not asked, or nobody could tell
)

// String returns what stands at the beginning of a line.
func (s State) String() string {
	switch s {
	case OK:
		return "ok"
	case Warn:
		return "warn"
	case Fail:
		return "FAIL"
	}
	return "skip"
}

// A Finding is the answer to a check.
type Finding struct {
	State  State
	Detail string   // what is so, in one line
	Hints  []string // what to do about it, a line each
}

// A Check is one question.
type Check struct {
	Name string // unique

	// Needs are earlier checks without which this one makes no sense: when one of
	// them failed, or was skipped for that reason, this one is skipped.
	Needs []string
	// After are earlier checks whose end this one awaits, however they ended.
	After []string

	Limit time.Duration // zero: 15 s

	// Ask answers within its context, or is taken not to have answered.
	Ask func(context.Context) Finding
}

// A Result is what a check found.
type Result struct {
	Check string
	Finding
}

// A run is one check that is under way. Its result may be read once done is
// closed.
type run struct {
	check  Check
	result Result
	lost   string // the check that failed: this one, or one that it needs
	done   chan struct{}
}

// each runs the checks and calls show with each result, in the order of the list
// and as soon as the results before it are there. It returns when all are done.
func each(ctx context.Context, checks []Check, show func(Result)) error {
	runs, err := plan(checks)
	if err != nil {
		return err
	}
	slots := make(chan struct{}, atOnce)
	all := make([]*run, len(checks))
	for i, c := range checks {
		all[i] = runs[c.Name]
		go all[i].run(ctx, runs, slots)
	}
	for _, r := range all {
		<-r.done
		show(r.result)
	}
	return nil
}

// plan refuses a list in which some check could wait forever: each may wait for
// those before it alone.
func plan(checks []Check) (map[string]*run, error) {
	runs := make(map[string]*run, len(checks))
	for _, c := range checks {
		if runs[c.Name] != nil {
			return nil, fmt.Errorf("doctor: there are two checks %q", c.Name)
		}
		for _, list := range [][]string{c.Needs, c.After} {
			for _, name := range list {
				if runs[name] == nil {
					return nil, fmt.Errorf("doctor: check %q waits for %q, which is not before it", c.Name, name)
				}
			}
		}
		runs[c.Name] = &run{check: c, result: Result{Check: c.Name}, done: make(chan struct{})}
	}
	return runs, nil
}

func (r *run) run(ctx context.Context, runs map[string]*run, slots chan struct{}) {
	defer close(r.done)
	for _, name := range r.check.After {
		<-runs[name].done
	}
	for _, name := range r.check.Needs {
		<-runs[name].done
		r.lost = cmp.Or(r.lost, runs[name].lost)
	}
	if r.lost != "" {
		r.result.Finding = Finding{State: Skip, Detail: "not asked, because this failed: " + r.lost}
		return
	}
	slots <- struct{}{}
	defer func() { <-slots }()
	r.result.Finding = r.check.ask(ctx)
	if r.result.State == Fail {
		r.lost = r.check.Name
	}
}

// ask bounds the check. One that does not end with its context is left behind.
func (c Check) ask(ctx context.Context) Finding {
	limit := c.Limit
	if limit == 0 {
		limit = checkLimit
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, lateError{limit})
	defer cancel()
	answer := make(chan Finding, 1)
	go func() { answer <- c.Ask(ctx) }()
	select {
	case f := <-answer:
		return f
	case <-ctx.Done():
	}
	// Most end now, and know better what they were waiting for.
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	select {
	case f := <-answer:
		return f
	case <-grace.C:
		return Finding{State: Fail, Detail: context.Cause(ctx).Error()}
	}
}

// A lateError is the cause of a check's context when its time is over.
type lateError struct{ limit time.Duration }

func (e lateError) Error() string { return fmt.Sprintf("no answer within %s", e.limit) }

// Is makes it a [context.DeadlineExceeded].
func (e lateError) Is(target error) bool { return target == context.DeadlineExceeded }
