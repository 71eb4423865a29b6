package telemetry_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"amlproxy/authn"
	"amlproxy/internal/telemetry"
	"amlproxy/proxy"
	"amlproxy/upstream"
)

func usual() proxy.Record {
	return proxy.Record{
		Start: time.Now(), RequestID: "01234567890123456789", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Method: "POST", Host: "models.example.com", Path: "/models/digits/score", UserAgent: "python-requests/2.32.3", Route: "digits", Status: 200,
		Duration: 12 * time.Millisecond, Began: 11 * time.Millisecond, Address: netip.MustParseAddr("192.0.2.7"), RequestBytes: 512, ResponseBytes: 64,
		Sends: 1, Kind: upstream.Token, UpstreamStatus: 200, UpstreamRequestID: "0d1e5bd4-8c5c-4a6c-8b4f-3a4c4e8f9a0b",
		Identity: &authn.Identity{Issuer: "https://idp.example", Subject: "s1", Client: "app", Method: authn.BySession, Name: "Ann", Email: "ann@example.com"},
	}
}

// hostile is what callers write who want to be somebody else in a log, or to
// command the terminal of whoever reads it.
var hostile = []string{
	"/a\n{\"level\":\"info\",\"msg\":\"forged\"}", "\x1b]0;title\x07\x1b[2J", "\u009b31m\u0085\u2028\u2029", "a\u202eb\u2066c\u200bd\ufeff",
	"\xff\xfe\xc0\x80\xed\xa0\x80", "\x7f\x00\t\r\b", `\u000a\n"\`, strings.Repeat("/a\xf0\x9f", 15<<10), strings.Repeat("🙂", 15<<10), "naïve/模型/🙂",
}

// TestNoByteOfALineIsACommand: whatever a caller writes, lines are JSON of a
// bounded length that holds nothing but what can be seen (CVE-2025-25294,
// CVE-2024-45808, CVE-2026-42507).
func TestNoByteOfALineIsACommand(t *testing.T) {
	for _, format := range []string{"json", "console"} {
		p := blank()
		log, err := telemetry.NewLogger(p, "info", format)
		if err != nil {
			t.Fatal(err)
		}
		access, credential := telemetry.AccessLog(log), telemetry.CredentialLog(log, "m", 0)
		for _, s := range hostile {
			access(&proxy.Record{
				Method: s, Path: s, Host: s, UserAgent: s, RequestID: s, TraceParent: s, UpstreamRequestID: s, Status: 400, Problem: s, Err: errors.New(s),
				Identity: &authn.Identity{Issuer: s, Subject: s, Client: s, Method: authn.Method(s)},
			})
			credential(upstream.Event{Cause: upstream.CauseDue, Err: errors.New(s)})
			log.Info(s)
		}
		if err := log.Sync(); err != nil {
			t.Fatal(err)
		}
		lines := p.lines()
		if len(lines) != 3*len(hostile) {
			t.Errorf("%s: %d lines, want %d", format, len(lines), 3*len(hostile))
		}
		for _, line := range lines {
			if len(line) > 64<<10 {
				t.Errorf("%s: a line of %d bytes", format, len(line))
			}
			if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) && (r != '\t' || format == "json") }) || !utf8.ValidString(line) {
				t.Errorf("%s: cannot be seen: %.300q", format, line)
			}
			if format == "json" && !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %.300s", line)
			}
		}
	}
}

// FuzzALineSaysWhatWasWritten: it is escaped and not changed, save for what is no
// text at all.
func FuzzALineSaysWhatWasWritten(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := blank()
		log, err := telemetry.NewLogger(p, "info", "json")
		if err != nil {
			t.Fatal(err)
		}
		telemetry.AccessLog(log)(&proxy.Record{Status: 200, Path: s})
		if err := log.Sync(); err != nil {
			t.Fatal(err)
		}
		var line struct{ Path string }
		if err := json.Unmarshal([]byte(p.lines()[0]), &line); err != nil {
			t.Fatalf("%v: %q", err, p.lines()[0])
		}
		if len(s) <= 2<<10 && utf8.ValidString(s) && line.Path != s {
			t.Errorf("%q became %q", s, line.Path)
		}
	})
}

// BenchmarkAccessLine is what the access log costs a request, the writing excluded.
func BenchmarkAccessLine(b *testing.B) {
	log, err := telemetry.NewLogger(io.Discard, "info", "json")
	if err != nil {
		b.Fatal(err)
	}
	access, r := telemetry.AccessLog(log), usual()
	b.ReportAllocs()
	for b.Loop() {
		access(&r)
	}
}

// TestALineCostsLittle: every request pays for one.
func TestALineCostsLittle(t *testing.T) {
	log, err := telemetry.NewLogger(io.Discard, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	access, r := telemetry.AccessLog(log), usual()
	if allocated := testing.AllocsPerRun(1000, func() { access(&r) }); allocated > 2 {
		t.Errorf("%.0f allocations a line", allocated)
	}
}
