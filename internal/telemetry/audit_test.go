package telemetry_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/authn"
	"amlproxy/internal/telemetry"
	"amlproxy/proxy"
)

// call puts a call on record, both lines of it.
func call(t *testing.T, a *telemetry.Audit, id string) error {
	t.Helper()
	r := usual()
	r.RequestID = id
	if err := a.Admit(t.Context(), &r); err != nil {
		return err
	}
	r.Admitted = true
	a.Record(&r)
	return nil
}

type auditLine struct {
	Event, Time, Start, Route, Issuer, Subject, Client, Tenant, Email, Address, Credential string

	RequestID string `json:"request_id"`
	Status    int
}

// audited reads the lines of files, and how many of them are no JSON.
func audited(t *testing.T, files ...string) (lines []auditLine, torn int) {
	t.Helper()
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			var line auditLine
			if json.Unmarshal(s.Bytes(), &line) == nil {
				lines = append(lines, line)
			} else if s.Text() != "" {
				torn++
			}
		}
		f.Close()
	}
	return lines, torn
}

// events counts the lines of one kind.
func events(lines []auditLine, event string) (n int) {
	for _, line := range lines {
		if line.Event == event {
			n++
		}
	}
	return n
}

func audit(t *testing.T, file string, out io.Writer) (a *telemetry.Audit, lost *int64) {
	t.Helper()
	lost = new(int64)
	a = telemetry.NewAudit(file, out, func(n int64) { *lost += n })
	if err := a.Begin(); err != nil {
		t.Fatal(err)
	}
	return a, lost
}

func TestAnAuditSaysWhoCalledWhatWhenAndHowItEnded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit")
	a, lost := audit(t, file, nil)
	r := usual()
	r.Identity = &authn.Identity{Issuer: "https://idp.example", Subject: "s1", Client: "app", Tenant: "t1", Email: "ann@example.com", Name: "Ann", Claims: map[string][]string{"x": {"hidden"}}}
	if err := a.Admit(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	if lines, _ := audited(t, file); len(lines) != 1 || lines[0].Event != "attempt" || lines[0].Status != 0 {
		t.Errorf("before the call: %+v", lines) // what the operating system has by then
	}
	r.Admitted, r.Status, r.Err = true, 502, errors.New("an address inside")
	a.Record(&r)
	r.Admitted = false
	a.Record(&r) // refused before: no call
	if err := a.End(); err != nil || *lost != 0 {
		t.Errorf("%v, %d lost", err, *lost)
	}
	lines, torn := audited(t, file)
	if len(lines) != 2 || torn != 0 {
		t.Fatalf("%+v, %d torn", lines, torn)
	}
	want := auditLine{
		Event: "attempt", Time: lines[0].Time, Start: r.Start.UTC().Format(time.RFC3339Nano), Route: "digits", Issuer: "https://idp.example", Subject: "s1",
		Client: "app", Tenant: "t1", Email: "ann@example.com", Address: "192.0.2.7", RequestID: r.RequestID,
	}
	if lines[0] != want {
		t.Errorf("the attempt is\n%+v, want\n%+v", lines[0], want)
	}
	want.Event, want.Time, want.Status, want.Credential = "outcome", lines[1].Time, 502, "token"
	if lines[1] != want {
		t.Errorf("the outcome is\n%+v, want\n%+v", lines[1], want)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	all, _ := os.ReadFile(file)
	if strings.Contains(string(all), "hidden") || strings.Contains(string(all), "inside") {
		t.Errorf("more than is wanted:\n%s", all)
	}
	if err := call(t, a, "late"); err == nil {
		t.Error("a call after the end")
	}
}

// TestAnAuditGoesOnWhereItWas: after a crash, in the middle of a line.
func TestAnAuditGoesOnWhereItWas(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit")
	if err := os.WriteFile(file, []byte(`{"event":"attempt"}`+"\n"+`{"event":"att`), 0o600); err != nil {
		t.Fatal(err)
	}
	a, _ := audit(t, file, nil)
	if err := errors.Join(call(t, a, "1"), a.End()); err != nil {
		t.Fatal(err)
	}
	if lines, torn := audited(t, file); len(lines) != 3 || torn != 1 {
		t.Errorf("%+v, %d torn", lines, torn)
	}
}

// TestAMovedAuditLosesNothing: as logrotate moves it, under load, with a signal and
// without.
func TestAMovedAuditLosesNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "audit")
	a, _ := audit(t, file, nil)
	files := []string{file}
	var calls int
	for i := range 3 {
		moved := fmt.Sprintf("%s.%d", file, i)
		var all sync.WaitGroup
		for j := range 8 {
			all.Go(func() {
				for k := range 50 {
					if err := call(t, a, fmt.Sprint(i, j, k)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		if err := os.Rename(file, moved); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			a.Reopen()
		}
		files, calls = append(files, moved), calls+400
		all.Wait()
		for { // without a signal it takes a second
			if err := call(t, a, "again"); err != nil {
				t.Error(err)
			}
			calls++
			if _, err := os.Stat(file); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if err := a.End(); err != nil {
		t.Error(err)
	}
	lines, torn := audited(t, files...)
	if events(lines, "attempt") != calls || events(lines, "outcome") != calls || torn > 0 {
		t.Errorf("%d attempts and %d outcomes of %d calls, %d torn", events(lines, "attempt"), events(lines, "outcome"), calls, torn)
	}
}

// TestAnAuditThatCannotBeMadeAnewRefuses: lines to a file that nobody finds are none.
func TestAnAuditThatCannotBeMadeAnewRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	file := filepath.Join(dir, "audit")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	a, _ := audit(t, file, nil)
	if err := call(t, a, "1"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	a.Reopen()
	for range 3 {
		if err := call(t, a, "2"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(call(t, a, "3"), a.End()); err != nil {
		t.Error(err)
	}
	if lines, _ := audited(t, file); events(lines, "attempt") != 1 {
		t.Errorf("%+v", lines)
	}
}

// TestAFullDiskRefusesAndARoomyOneDoesNot (F40), with the kernel's own full disk.
func TestAFullDiskRefusesAndARoomyOneDoesNot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit")
	if err := os.Symlink("/dev/full", file); err != nil {
		t.Fatal(err)
	}
	a, _ := audit(t, file, nil)
	for range 20 {
		if err := call(t, a, "full"); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v", err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	a.Reopen()
	if err := errors.Join(call(t, a, "roomy"), a.End()); err != nil {
		t.Error(err)
	}
	if lines, torn := audited(t, file); len(lines) != 2 || torn > 0 {
		t.Errorf("%+v", lines)
	}
}

// TestAStalledAuditRefusesWithinASecond (F40): and only the first second of calls
// waits.
func TestAStalledAuditRefusesWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := blank()
		p.stuck = make(chan struct{})
		a, lost := audit(t, "-", p)
		begun := time.Now()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if err := call(t, a, "stalled"); err == nil {
					t.Error("admitted")
				}
			})
		}
		all.Wait()
		if took := time.Since(begun); took != time.Second {
			t.Errorf("refused after %s", took)
		}
		for range 10_000 {
			if err := call(t, a, "stalled"); err == nil {
				t.Fatal("admitted")
			}
		}
		if took := time.Since(begun); took != time.Second {
			t.Errorf("others waited, too: %s", took)
		}
		r := usual()
		r.Admitted = true
		for range 6_000 { // of calls that began before
			a.Record(&r)
		}
		kept := 6_000 - int(*lost)
		if kept == 6_000 || kept == 0 {
			t.Errorf("%d outcomes wait", kept)
		}
		if err := a.End(); err == nil {
			t.Error("it ended")
		}
		p.with(func() {
			close(p.stuck)
			p.stuck = nil
		})
		synctest.Wait()
		lines := p.lines()
		if n := strings.Count(strings.Join(lines, "\n"), `"event":"outcome"`); n != kept {
			t.Errorf("%d outcomes were written, want %d", n, kept)
		}
		if n := len(lines) - kept; n < 1 || n > 100 {
			t.Errorf("%d attempts that were none are on record, want those that were being written", n)
		}
	})
}

// TestAPipeThatNobodyReadsRefuses: the kernel's own, and it is read again.
func TestAPipeThatNobodyReadsRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := telemetry.NewAudit(file, nil, nil).Begin(); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("without a reader: %v", err)
	}
	reader, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := audit(t, file, nil)
	admitted := 0
	for err = nil; err == nil; admitted++ {
		err = call(t, a, "x")
	}
	admitted--
	if admitted == 0 {
		t.Fatal(err)
	}
	read := make(chan int)
	go func() {
		all, _ := io.ReadAll(reader)
		read <- strings.Count(string(all), `"event":"attempt"`)
	}()
	for err != nil {
		if err = call(t, a, "x"); err == nil {
			admitted++
		}
	}
	if err := a.End(); err != nil {
		t.Error(err)
	}
	if n := <-read; n < admitted || n > admitted+1 {
		t.Errorf("%d attempts on record of %d calls", n, admitted)
	}
}

func TestAnAuditThatCannotBeginSaysSo(t *testing.T) {
	for _, file := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing", "audit")} {
		if err := telemetry.NewAudit(file, nil, nil).Begin(); err == nil {
			t.Errorf("%s: begun", file)
		}
	}
}

func BenchmarkAudit(b *testing.B) {
	a := telemetry.NewAudit(filepath.Join(b.TempDir(), "audit"), nil, func(int64) {})
	if err := a.Begin(); err != nil {
		b.Fatal(err)
	}
	r := proxy.Record{Route: "digits", Method: "POST", Path: "/models/digits", Address: netip.MustParseAddr("192.0.2.1")}
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Admit(b.Context(), &r); err != nil {
			b.Fatal(err)
		}
	}
}
