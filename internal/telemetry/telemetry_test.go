package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/internal/telemetry"
	"amlproxy/proxy"
	"amlproxy/upstream"
)

// lines runs use with a logger and returns what it wrote, decoded.
func lines(t *testing.T, level string, use func(access func(*proxy.Record), credential func(upstream.Event))) []map[string]any {
	t.Helper()
	var b bytes.Buffer
	log, err := telemetry.NewLogger(&b, level, "json")
	if err != nil {
		t.Fatal(err)
	}
	use(telemetry.AccessLog(log), telemetry.CredentialLog(log, "digits", 1))
	if err := log.Sync(); err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	for line := range strings.Lines(b.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		all = append(all, fields)
	}
	return all
}

func TestAnAccessLineSaysWhoWhatAndHow(t *testing.T) {
	got := lines(t, "info", func(access func(*proxy.Record), _ func(upstream.Event)) {
		access(&proxy.Record{
			RequestID: "r1", Method: "POST", Path: "/models/digits", Route: "digits", Status: 200, Duration: 12 * time.Millisecond,
			Address: netip.MustParseAddr("192.0.2.7"), Sends: 2, Retried: true, Kind: upstream.Token, UpstreamStatus: 200,
			Identity: &authn.Identity{Issuer: "https://idp.example", Subject: "s1", Method: authn.BySession, Name: "Ann", Email: "ann@example.com"},
		})
	})
	if len(got) != 1 {
		t.Fatalf("%d lines", len(got))
	}
	for key, want := range map[string]any{
		"level": "info", "request_id": "r1", "route": "digits", "status": 200.0, "subject": "s1", "retried": true,
		"credential": "token", "duration": 0.012, "address": "192.0.2.7", "authenticated_by": "session",
	} {
		if got[0][key] != want {
			t.Errorf("%s is %v, want %v", key, got[0][key], want)
		}
	}
	if text := strings.ToLower(toJSON(t, got)); strings.Contains(text, "ann") {
		t.Errorf("the access log names a person: %s", text) // the subject is enough to find him
	}
}

func TestLevels(t *testing.T) {
	records := map[string]proxy.Record{
		"info":  {Status: 200, Route: "m"},
		"error": {Status: 502, Route: "m", Err: errors.New("dial tcp: refused")},
		"debug": {Status: 200, Endpoint: "livez"},
	}
	for level, record := range records {
		got := lines(t, "debug", func(access func(*proxy.Record), _ func(upstream.Event)) { access(&record) })
		if len(got) != 1 || got[0]["level"] != level {
			t.Errorf("%+v was logged as %v", record, got)
		}
	}
	if got := lines(t, "info", func(access func(*proxy.Record), _ func(upstream.Event)) { debug := records["debug"]; access(&debug) }); len(got) != 0 {
		t.Errorf("a health check at info: %v", got)
	}
}

// What a caller wrote stays inside its field, whatever it looks like
// (CVE-2025-25294, CVE-2024-45808).
func TestACallerCannotWriteALogLine(t *testing.T) {
	hostile := "/a\n{\"level\":\"info\",\"msg\":\"forged\"}\x1b[31m\r\n\u2028"
	for _, format := range []string{"json", "console"} {
		var b bytes.Buffer
		log, err := telemetry.NewLogger(&b, "info", format)
		if err != nil {
			t.Fatal(err)
		}
		telemetry.AccessLog(log)(&proxy.Record{
			Method: hostile, Path: hostile, RequestID: hostile, Status: 400, Err: errors.New(hostile),
			Identity: &authn.Identity{Subject: hostile, Issuer: hostile},
		})
		if err := log.Sync(); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "\n"); n != 1 {
			t.Errorf("%s: %d lines:\n%s", format, n, b.String())
		}
		if strings.ContainsAny(b.String(), "\x1b\r") {
			t.Errorf("%s: control characters reached the log: %q", format, b.String())
		}
	}
}

func TestCredentialEvents(t *testing.T) {
	got := lines(t, "debug", func(_ func(*proxy.Record), credential func(upstream.Event)) {
		credential(upstream.Event{Cause: upstream.CauseRejected, Kind: upstream.Key, Changed: true})
		credential(upstream.Event{Cause: upstream.CauseDue, Kind: upstream.Key})
		credential(upstream.Event{Cause: upstream.CauseDue, Kind: upstream.Key, Err: errors.New("listkeys: 403")})
	})
	var levels []any
	for _, line := range got {
		levels = append(levels, line["level"])
		if line["route"] != "digits" || line["backend"] != 1.0 {
			t.Errorf("no route or no backend in %v", line)
		}
		if do, _ := line["do"].(string); strings.Contains(do, "amlproxy doctor") != (line["level"] == "warn") {
			t.Errorf("a failure says where to look, and nothing else does: %v", line)
		}
	}
	if len(levels) != 3 || levels[0] != "info" || levels[1] != "debug" || levels[2] != "warn" {
		t.Errorf("levels %v", levels)
	}
}

func TestALoggerThatCannotBeIsRefused(t *testing.T) {
	for _, wrong := range [][2]string{{"loud", "json"}, {"info", "xml"}} {
		if _, err := telemetry.NewLogger(&bytes.Buffer{}, wrong[0], wrong[1]); err == nil {
			t.Errorf("%v was taken", wrong)
		}
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
