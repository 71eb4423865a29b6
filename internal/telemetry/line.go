package telemetry

import (
	"bytes"
	"net/netip"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"
)

// What a caller may fill a line with.
const (
	maxWord  = 512     // a name, an identifier
	maxPath  = 2 << 10 // a path
	maxError = 8 << 10 // a cause, a stack of a panic included
)

// A line is told the columns that a line about a request may have, one after the
// other, and takes those that say something: as members of a JSON object that has
// some already; as fields, for an encoder of zap's; or their names and what they
// mean, for the reference. It does by itself what an encoder of any value would do,
// since every request pays for it: BenchmarkAccessLine says what.
type line struct {
	json   []byte
	fields *[]zap.Field // nil: json
	told   *[]column    // nil: one of the two
}

// A column is what the reference says about one.
type column struct{ name, doc, kind string }

// begin reports whether a member of that name is to be added to json, and begins it.
// If not, and other is something, it is put where else it goes.
func (l *line) begin(name, doc, kind string, other func() zap.Field) bool {
	switch {
	case l.told != nil:
		*l.told = append(*l.told, column{name, doc, kind})
		return false
	case l.fields != nil:
		*l.fields = append(*l.fields, other())
		return false
	}
	l.json = append(l.json, ',', '"')
	l.json = append(l.json, name...)
	l.json = append(l.json, '"', ':')
	return true
}

// tells reports whether a column is told that has something to say only if so. The
// reference is told all of them.
func (l *line) tells(so bool) bool { return so || l.told != nil }

func (l *line) text(name, doc, s string) { l.bounded(name, doc, s, maxWord) }

func (l *line) bounded(name, doc, s string, most int) {
	if !l.tells(s != "") {
		return
	}
	if l.begin(name, doc, "string", func() zap.Field { return zap.String(name, cut(s, most)) }) {
		l.json = appendText(l.json, s, most)
	}
}

func (l *line) number(name, doc string, n int64) {
	if l.begin(name, doc, "number", func() zap.Field { return zap.Int64(name, n) }) {
		l.json = strconv.AppendInt(l.json, n, 10)
	}
}

func (l *line) seconds(name, doc string, d time.Duration) {
	if l.begin(name, doc, "seconds", func() zap.Field { return zap.Duration(name, d) }) {
		l.json = appendSeconds(l.json, int64(d))
	}
}

func (l *line) moment(name, doc string, t time.Time) {
	if l.begin(name, doc, "RFC 3339", func() zap.Field { return zap.Time(name, t.UTC()) }) {
		l.json = append(t.UTC().AppendFormat(append(l.json, '"'), timeLayout), '"')
	}
}

func (l *line) address(name, doc string, a netip.Addr) {
	if !l.tells(a.IsValid()) {
		return
	}
	if l.begin(name, doc, "string", func() zap.Field { return zap.String(name, a.String()) }) {
		l.json = append(a.AppendTo(append(l.json, '"')), '"')
	}
}

func (l *line) yes(name, doc string, b bool) {
	if !l.tells(b) {
		return
	}
	if l.begin(name, doc, "boolean", func() zap.Field { return zap.Bool(name, b) }) {
		l.json = append(l.json, "true"...)
	}
}

// appendSeconds adds nanoseconds as a number of seconds, with as many decimals as it
// takes.
func appendSeconds(b []byte, nanoseconds int64) []byte {
	n := uint64(nanoseconds)
	if nanoseconds < 0 {
		b, n = append(b, '-'), -n
	}
	b = strconv.AppendUint(b, n/1e9, 10)
	rest := n % 1e9
	if rest == 0 {
		return b
	}
	b = append(b, ".000000000"...)
	for i := len(b) - 1; rest > 0; i-- {
		b[i] += byte(rest % 10)
		rest /= 10
	}
	return bytes.TrimRight(b, "0")
}

// cut returns at most the first bytes of s, and a mark if there were more.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// appendText adds s as a JSON string (RFC 8259 section 7) that holds nothing but
// what can be seen: a terminal obeys no byte of it, no direction of text changes,
// and a line stays one (CVE-2025-25294, CVE-2024-45808, CVE-2026-42507).
func appendText(b []byte, s string, most int) []byte {
	b = append(b, '"')
	s = cut(s, most)
	plain := 0 // most texts are, to the end
	for plain < len(s) && isPlain(s[plain]) {
		plain++
	}
	b = append(b, s[:plain]...)
	for i := plain; i < len(s); {
		c := s[i]
		if ' ' <= c && c <= '~' {
			if c == '"' || c == '\\' {
				b = append(b, '\\')
			}
			b = append(b, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) {
			b = appendEscaped(b, r)
		} else {
			b = append(b, s[i:i+size]...)
		}
		i += size
	}
	return append(b, '"')
}

// isPlain reports whether c stands in a JSON string as it is.
func isPlain(c byte) bool { return ' ' <= c && c <= '~' && c != '"' && c != '\\' }

// appendEscaped adds r as \uXXXX, beyond that range as two of them.
func appendEscaped(b []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	if r > 0xffff {
		r -= 0x10000
		b = appendEscaped(b, 0xd800+r>>10)
		r = 0xdc00 + r&0x3ff
	}
	return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// printable returns a finished line with everything escaped that cannot be seen,
// but for tabs and the end of the line: zap's encoders let some of it pass. In JSON
// it can only stand in strings, where the escape means the same.
func printable(line []byte) []byte {
	seen := true
	for _, c := range line {
		seen = seen && (' ' <= c && c <= '~' || c == '\t' || c == '\n')
	}
	if seen && len(line) > 0 && countLines(line) == 1 {
		return line
	}
	out := make([]byte, 0, len(line)+64)
	for i := 0; i < len(line); {
		r, size := utf8.DecodeRune(line[i:])
		switch {
		case unicode.IsPrint(r) && (r != utf8.RuneError || size > 1), r == '\t', r == '\n' && i == len(line)-1:
			out = append(out, line[i:i+size]...)
		default:
			out = appendEscaped(out, r)
		}
		i += size
	}
	return out
}
