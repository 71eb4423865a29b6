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
// below it, and a line that sums up. Those about one thing that were skipped for one
// reason share a line. It returns how many failed; the error is that
// of writing, or of a list that makes no sense.
func Run(ctx context.Context, w io.Writer, checks []Check) (failed int, err error) {
	width := 0
	for _, c := range checks {
		width = max(width, len([]rune(c.Name)))
	}
	var count [Skip + 1]int
	page := &page{w: w, width: width}
	err = each(ctx, checks, func(r Result) {
		count[r.State]++
		page.add(r)
	})
	if err != nil {
		return 0, err
	}
	page.fold()
	page.printf("%d ok, %d warn, %d failed, %d skipped\n", count[OK], count[Warn], count[Fail], count[Skip])
	return count[Fail], page.err
}

// A page keeps the first error of writing, and checks that were skipped for one
// reason until it is known that no more of them follow.
type page struct {
	w       io.Writer
	width   int // of the names
	skipped []Result
	err     error
}

func (p *page) add(r Result) {
	if len(p.skipped) > 0 && (r.State != Skip || r.Detail != p.skipped[0].Detail || about(r) != about(p.skipped[0])) {
		p.fold()
	}
	if r.State == Skip && len(r.Hints) == 0 {
		p.skipped = append(p.skipped, r)
		return
	}
	p.line(r)
}

// fold writes the checks that were skipped for one reason in one line: what failed
// is what is to be read.
func (p *page) fold() {
	if len(p.skipped) == 0 {
		return
	}
	first := p.skipped[0]
	for i, r := range p.skipped[1:] {
		if i == 0 {
			first.Detail += "; nor "
		} else {
			first.Detail += ", "
		}
		first.Detail += strings.TrimPrefix(r.Check, about(r))
	}
	p.skipped = nil
	p.line(first)
}

// about is what the name of a check begins with, and those beside it: "route a: ".
func about(r Result) string {
	thing, _, ok := strings.Cut(r.Check, ": ")
	if !ok {
		return ""
	}
	return thing + ": "
}

func (p *page) line(r Result) {
	p.printf("%-4s  %-*s  %s\n", r.State, p.width, r.Check, detail(r.Detail))
	for _, hint := range r.Hints {
		p.printf("      → %s\n", printable(hint))
	}
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
