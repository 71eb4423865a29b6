package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Problem is one mistake in the settings.
type Problem struct {
	Where string // the name of a setting, or file:line:column
	What  string // what is wrong, and what to do; never a value that was set
}

// Error is every mistake that was found; there is at least one. Those in settings
// come first, by name; then those in files, by line and column. None is there twice.
type Error struct {
	Problems []Problem
	// Files are those that were looked into: a mistake may be mended in any.
	Files Files
	// Adrift is set when a route names something in the environment's workspace, and
	// no setting says which one that is: whoever finds no config.json either has one
	// mistake more to tell.
	Adrift bool
}

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
	files    Files
	adrift   bool
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
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(strings.Count(a.Where, ":"), strings.Count(b.Where, ":")),
			natural(a.Where, b.Where),
			cmp.Compare(a.What, b.What),
		)
	})
	return &Error{Problems: slices.Compact(r.problems), Files: r.files, Adrift: r.adrift}
}

// natural compares as people count: numbers by value, so that line 9 comes before
// line 10 and ROUTES_2_ before ROUTES_10_.
func natural(a, b string) int {
	for a != "" && b != "" {
		var c int
		if an, bn := digits(a), digits(b); an != "" && bn != "" {
			x, y := strings.TrimLeft(an, "0"), strings.TrimLeft(bn, "0")
			c = cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
			a, b = a[len(an):], b[len(bn):]
		} else {
			c = cmp.Compare(a[0], b[0])
			a, b = a[1:], b[1:]
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// digits are those at the beginning.
func digits(s string) string { return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))] }
