package config

import (
	"fmt"
	"strings"
)

// A Problem is one mistake in the settings.
type Problem struct {
	Where string // the name of a setting, or file:line:column
	What  string // what is wrong, and what to do; never a value that was set
}

// Error is every mistake that was found; there is at least one.
type Error struct{ Problems []Problem }

// Error returns one line a mistake.
func (e *Error) Error() string {
	var b strings.Builder
	switch n := len(e.Problems); n {
	case 1:
		b.WriteString("1 mistake in the settings:")
	default:
		fmt.Fprintf(&b, "%d mistakes in the settings:", n)
	}
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.Where + ": " + p.What)
	}
	return b.String()
}

// A report collects what is found on the way. What it is told is written by
// this package alone: causes that could quote a value (of the libraries that
// parse) never come here unfiltered, so no secret can.
type report struct {
	problems []Problem
	warnings []string
}

func (r *report) add(where, what string) {
	r.problems = append(r.problems, Problem{Where: where, What: what})
}

func (r *report) warn(where, what string) {
	r.warnings = append(r.warnings, where+": "+what)
}

func (r *report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	return &Error{Problems: r.problems}
}
