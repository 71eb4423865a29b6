//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// A report is the tables, and what was found of what is to be reached.
type report struct {
	tables []*table
	ratios map[string]estimate
	values map[string]float64
}

// A table is one of docs/performance.md.
type table struct {
	name, title string
	rows        [][]string // the first: what is in the columns
}

func (b *bench) table(name, title string, columns ...string) *table {
	t := &table{name: name, title: title, rows: [][]string{columns}}
	b.report.tables = append(b.report.tables, t)
	return t
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the table as Markdown that is read as well without being rendered.
func (t *table) print(out io.Writer) {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	fmt.Fprintf(out, "\n### %s\n\n", t.title)
	for n, row := range t.rows {
		for i, cell := range row {
			fmt.Fprintf(out, "| %s%s ", cell, strings.Repeat(" ", widths[i]-len([]rune(cell))))
		}
		fmt.Fprintln(out, "|")
		if n == 0 {
			for _, width := range widths {
				fmt.Fprintf(out, "|%s", strings.Repeat("-", width+2))
			}
			fmt.Fprintln(out, "|")
		}
	}
}

func (b *bench) reach(name string, e estimate) {
	if b.report.ratios == nil {
		b.report.ratios = map[string]estimate{}
	}
	b.report.ratios[name] = e
}

func (b *bench) found(name string, v float64) {
	if b.report.values == nil {
		b.report.values = map[string]float64{}
	}
	b.report.values[name] = v
}

// text writes a ratio with its interval; that of the first is 1 by definition.
func (e estimate) text(i int) string {
	if i == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f (%.3f to %.3f)", e.median, e.low, e.high)
}

func micro(ns float64) string    { return fmt.Sprintf("%.1f µs", ns/1e3) }
func milli(ns float64) string    { return fmt.Sprintf("%.2f ms", ns/1e6) }
func number(n float64) string    { return fmt.Sprintf("%.0f", n) }
func mebibytes(n float64) string { return fmt.Sprintf("%.1f MiB", n) }

// targets puts what was measured beside what was to be reached.
func (b *bench) targets() *table {
	t := &table{title: "What was to be reached", rows: [][]string{{"", "at most", "measured", "reached"}}}
	ratios := func(what, name string, most float64) {
		if e, ok := b.report.ratios[name]; ok {
			t.row(what, fmt.Sprintf("%.2f", most), e.text(1), e.verdict(most))
		}
	}
	values := func(what, name string, most float64, format func(float64) string) {
		if v, ok := b.report.values[name]; ok {
			t.row(what, format(most), format(v), estimate{v, v, v}.verdict(most))
		}
	}
	ratios("CPU per request against bare: bearer token, remembered", withBearer, 1.05)
	ratios("session", withCookie, 1.08)
	ratios("bearer, with log, metrics and limits", fullBearer, 1.10)
	ratios("session, with log, metrics and limits", fullCookie, 1.10)
	ratios("against a bare proxy that is sent the same request: bearer", withBearer+", sent the same", 1.05)
	ratios("session", withCookie+", sent the same", 1.08)
	ratios("bearer, with log, metrics and limits", fullBearer+", sent the same", 1.10)
	ratios("session, with log, metrics and limits", fullCookie+", sent the same", 1.10)
	if e, ok := b.report.ratios[bareAgain]; ok {
		t.row("for comparison: a bare proxy against another", "", e.text(1), "")
	}
	ratios("p99 at 2,000 requests/s against bare", "p99, "+fullBearer, 1.15)
	values("allocations per request", "allocations, "+fullBearer, 110, number)
	values("resident at 1,000 idle connections", "resident at 1,000 idle connections", 32, mebibytes)
	values("resident under load", "resident under load, alone", 64, mebibytes)
	values("signatures checked per token, 10,000 tokens brought three times", "signatures per token", 1, func(v float64) string { return fmt.Sprintf("%.2f", v) })
	values("start to first answer", "start to first answer", 50, func(v float64) string { return fmt.Sprintf("%.0f ms", v) })
	values("binary", "binary", 25, func(v float64) string { return fmt.Sprintf("%.1f MB", v) })
	return t
}

// verdict compares the whole interval: on a machine that does other things, some
// figures cannot be told.
func (e estimate) verdict(most float64) string {
	switch {
	case e.high <= most:
		return "yes"
	case e.low > most:
		return "no"
	}
	return "cannot be told here"
}

// finish prints what was to be reached, and writes all tables to the file.
func (b *bench) finish() error {
	goals := b.targets()
	goals.print(b.out)
	if b.options.write == "" {
		return nil
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "Measured on %s in %s: %s.\n", b.began.UTC().Format(time.DateOnly), time.Since(b.began).Round(time.Second), machine())
	goals.print(&text)
	for _, t := range b.report.tables {
		t.print(&text)
	}
	return replaceSection(b.options.write, text.String())
}

// machine describes this one.
func machine() string {
	model := "a processor without a name"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				model = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores of %s, Linux %s, %s", runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version())
}

const (
	sectionBegin = "<!-- Written by make bench from here -->\n"
	sectionEnd   = "<!-- to here -->\n"
)

// replaceSection puts text between the two marks of a file.
func replaceSection(path, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(old), sectionBegin)
	_, after, ok2 := strings.Cut(rest, sectionEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no section for the tables", path)
	}
	return os.WriteFile(path, []byte(before+sectionBegin+"\n"+text+"\n"+sectionEnd+after), 0o644)
}
