package doctor

import (
	"context"
	"fmt"
	"io"
	"strings"
	"unicode"
)

const lineLimit = 600 // runes of a detail

// Run asks the checks and writes what they found: a line each, with the hints
// below it, and a line that sums up. It returns how many failed; the error is that
// of writing, or of a list that makes no sense.
func Run(ctx context.Context, w io.Writer, checks []Check) (failed int, err error) {
	width := 0
	for _, c := range checks {
		width = max(width, len([]rune(c.Name)))
	}
	var count [Skip + 1]int
	page := &page{w: w}
	err = each(ctx, checks, func(r Result) {
		count[r.State]++
		page.printf("%-4s  %-*s  %s\n", r.State, width, r.Check, detail(r.Detail))
		for _, hint := range r.Hints {
			page.printf("      → %s\n", printable(hint))
		}
	})
	if err != nil {
		return 0, err
	}
	page.printf("%d ok, %d warn, %d failed, %d skipped\n", count[OK], count[Warn], count[Fail], count[Skip])
	return count[Fail], page.err
}

// A page keeps the first error of writing.
type page struct {
	w   io.Writer
	err error
}

func (p *page) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// detail is what fits into a line and can be read in it.
func detail(text string) string {
	line := []rune(strings.Join(strings.Fields(printable(text)), " "))
	if len(line) > lineLimit {
		return string(line[:lineLimit]) + "…"
	}
	return string(line)
}

// printable replaces what a terminal would obey: a part of the text may come from
// an answer.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}
