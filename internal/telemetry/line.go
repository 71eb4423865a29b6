package telemetry

import (
	"bytes"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"amlproxy/proxy"
)

// A column is a field that a line about a request may have.
type column struct {
	name, doc string
	kind      string // as the reference calls it
	value     func(*proxy.Record) value
}

// A value is what a line says in one column. The zero value is left out.
type value struct {
	is     kind
	text   string
	number int64
	most   int // bytes of text
}

type kind uint8

const (
	isAbsent kind = iota
	isText
	isNumber
	isSeconds
	isTrue
)

// What a caller may fill a line with.
const (
	maxWord  = 512     // a name, an identifier
	maxPath  = 2 << 10 // a path
	maxError = 8 << 10 // a cause, a stack of a panic included
)

func text(s string) value             { return bounded(s, maxWord) }
func number[N int | int64](n N) value { return value{is: isNumber, number: int64(n)} }
func seconds(d time.Duration) value   { return value{is: isSeconds, number: int64(d)} }

func bounded(s string, most int) value {
	if s == "" {
		return value{}
	}
	return value{is: isText, text: s, most: most}
}

func yes(b bool) value {
	if !b {
		return value{}
	}
	return value{is: isTrue}
}

// appendColumns adds the columns of r to a JSON object that has members already.
// It does by itself what an encoder of any value would do, since every request pays
// for it: BenchmarkAccessLine says what.
func appendColumns(b []byte, columns []column, r *proxy.Record) []byte {
	for i := range columns {
		v := columns[i].value(r)
		if v.is == isAbsent {
			continue
		}
		b = append(b, ',', '"')
		b = append(b, columns[i].name...)
		b = append(b, '"', ':')
		switch v.is {
		case isText:
			b = appendText(b, v.text, v.most)
		case isNumber:
			b = strconv.AppendInt(b, v.number, 10)
		case isSeconds:
			b = appendSeconds(b, v.number)
		case isTrue:
			b = append(b, "true"...)
		}
	}
	return b
}

// appendSeconds adds nanoseconds as a number of seconds, with as many decimals as it
// takes.
func appendSeconds(b []byte, nanoseconds int64) []byte {
	if nanoseconds < 0 {
		b, nanoseconds = append(b, '-'), -nanoseconds
	}
	b = strconv.AppendInt(b, nanoseconds/1e9, 10)
	rest := nanoseconds % 1e9
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

// zapFields returns the columns of r for an encoder of zap's.
func zapFields(columns []column, r *proxy.Record) []zap.Field {
	fields := make([]zap.Field, 0, len(columns))
	for i := range columns {
		name, v := columns[i].name, columns[i].value(r)
		switch v.is {
		case isText:
			fields = append(fields, zap.String(name, cut(v.text, v.most)))
		case isNumber:
			fields = append(fields, zap.Int64(name, v.number))
		case isSeconds:
			fields = append(fields, zap.Duration(name, time.Duration(v.number)))
		case isTrue:
			fields = append(fields, zap.Bool(name, true))
		case isAbsent:
		}
	}
	return fields
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
