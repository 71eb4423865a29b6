package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"amlproxy/internal/soak"
)

// A scribe is a model that remembers which requests reached it, and a proxy in
// front of it whose output goes where a test wants it.
type scribe struct {
	url, admin string
	mu         sync.Mutex
	reached    map[string]bool // by X-Request-Id
	cmd        *exec.Cmd
	done       chan error
}

func newScribe(t *testing.T, stdout, stderr *os.File, environ ...string) *scribe {
	t.Helper()
	s := &scribe{reached: map[string]bool{}, done: make(chan error, 1)}
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.reached[r.Header.Get("X-Request-Id")] = true
		s.mu.Unlock()
		_, _ = io.WriteString(w, "scored")
	}))
	t.Cleanup(model.Close)
	port, admin := freePort(t), freePort(t)
	s.url, s.admin = "http://127.0.0.1:"+port, "http://127.0.0.1:"+admin
	s.cmd = exec.Command(binary, "serve")
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = t.TempDir(), stdout, stderr
	s.cmd.Env = append(environ, "AMLPROXY_LISTEN=127.0.0.1:"+port, "AMLPROXY_ADMIN_LISTEN=127.0.0.1:"+admin, "AMLPROXY_DRAIN_DELAY=0",
		"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_URL="+model.URL, "AMLPROXY_ROUTES_0_AUTH=none", "AMLPROXY_ROUTES_0_PUBLIC=true")
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.done
	})
	ready(t, http.DefaultClient, s.url+"/readyz")
	return s
}

// call sends a request and returns its status, 0 if there was no answer.
func (s *scribe) call(t *testing.T, client *http.Client, id string) int {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/models/m", http.NoBody)
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("X-Request-Id", id)
	req.Header.Set("User-Agent", strings.Repeat("long", 100))
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// calls sends n requests, four at a time, and returns how many were answered how.
func (s *scribe) calls(t *testing.T, prefix string, n int) map[int]int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	answered := map[int]int{}
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range n / 4 {
				status := s.call(t, client, fmt.Sprintf("%s-%d-%d", prefix, worker, i))
				mu.Lock()
				answered[status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return answered
}

func (s *scribe) counted(t *testing.T, name string) int {
	t.Helper()
	resp, err := http.Get(s.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, _ := io.ReadAll(resp.Body)
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(all)
	if found == nil {
		t.Fatalf("no %s", name)
	}
	n, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func (s *scribe) stop(t *testing.T) {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-s.done:
		if s.done <- err; err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("still there 30 s after SIGTERM")
	}
}

// TestAnOutputThatNobodyReadsStopsNobody (F40): 5,000 requests and not one failed,
// lines dropped and counted, and the log goes on when it is read again.
func TestAnOutputThatNobodyReadsStopsNobody(t *testing.T) {
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := newScribe(t, to, to)
	_ = to.Close()
	if got := s.calls(t, "unread", 5000); got[200] != 5000 {
		t.Errorf("%v", got)
	}
	dropped := s.counted(t, "amlproxy_log_lines_dropped_total")
	if dropped == 0 {
		t.Error("no line was dropped")
	}
	var news atomic.Bool
	var owned atomic.Int64
	go func() {
		for lines := bufio.NewScanner(from); lines.Scan(); {
			var line struct {
				RequestID string `json:"request_id"`
				Dropped   int64
			}
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				t.Errorf("%v: %.200s", err, lines.Bytes())
			}
			owned.Add(line.Dropped)
			if strings.HasPrefix(line.RequestID, "read") {
				news.Store(true)
			}
		}
	}()
	await(t, "a new line is read", func() bool { return s.calls(t, "read", 4)[200] == 4 && news.Load() })
	if lost := s.counted(t, "amlproxy_log_lines_dropped_total"); int64(lost) != owned.Load() {
		t.Errorf("%d lines were lost, and the log owns up to %d", lost, owned.Load())
	}
	s.stop(t)
	soak.Note(t, "F40", "standard output and error are a pipe that nobody reads, 5,000 requests", "0 failed, lines dropped and counted", fmt.Sprintf("0 failed, %d lines dropped", dropped))
}

// TestAnOutputThatIsNeverReadStopsNoStop, nor does a full disk.
func TestAnOutputThatIsNeverReadStopsNoStop(t *testing.T) {
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for name, output := range map[string]*os.File{"pipe": to, "disk": full} {
		s := newScribe(t, output, output)
		if got := s.calls(t, name, 400); got[200] != 400 {
			t.Errorf("%s: %v", name, got)
		}
		s.stop(t)
	}
}

// attempts returns the requests on record, by X-Request-Id, and how many lines there
// are of each event; "" for what is no JSON.
func attempts(t *testing.T, files ...string) (ids map[string]bool, events map[string]int) {
	t.Helper()
	ids, events = map[string]bool{}, map[string]int{}
	for _, file := range files {
		all, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(all)) {
			var l struct {
				Event     string
				RequestID string `json:"request_id"`
			}
			_ = json.Unmarshal([]byte(line), &l)
			if events[l.Event]++; l.Event == "attempt" {
				ids[l.RequestID] = true
			}
		}
	}
	return ids, events
}

// unaudited returns how many requests reached the model without being on record.
func (s *scribe) unaudited(ids map[string]bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.reached {
		if !ids[id] {
			n++
		}
	}
	return n
}

// TestEveryCallIsOnRecord: through a rotation of the file, and when the program is
// killed in the middle of its work.
func TestEveryCallIsOnRecord(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit")
	s := newScribe(t, nil, nil, "AMLPROXY_AUDIT_FILE="+file)
	var load sync.WaitGroup
	load.Go(func() {
		if got := s.calls(t, "moved", 2000); got[200] != 2000 {
			t.Errorf("%v", got)
		}
	})
	await(t, "calls are made", func() bool { return s.made() > 500 })
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	load.Wait()
	if ids, events := attempts(t, file, file+".1"); s.unaudited(ids) > 0 || events["attempt"] != 2000 || events[""] > 0 {
		t.Errorf("%v, %d calls are on no record", events, s.unaudited(ids))
	}
	if ids, _ := attempts(t, file); len(ids) == 0 {
		t.Error("nothing was written to the new file")
	}
	made := s.made()
	load.Go(func() { s.calls(t, "killed", 4000) })
	await(t, "calls are made", func() bool { return s.made() > made+300 })
	_ = s.cmd.Process.Kill()
	load.Wait()
	ids, events := attempts(t, file, file+".1")
	if n := s.unaudited(ids); n > 0 {
		t.Errorf("%d of %d calls are on no record", n, s.made())
	}
	soak.Note(t, "F40", "the audit is moved under load, then the program killed (F37, too)", "0 unaudited", fmt.Sprintf("%d unaudited of %d calls, %d attempts", s.unaudited(ids), s.made(), events["attempt"]))
}

func (s *scribe) made() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.reached)
}

// TestAnAuditOnAPipeThatNobodyReads (F40): calls are refused with 503 and not made,
// the proxy is there all the time, and calls are made again when the pipe is read.
func TestAnAuditOnAPipeThatNobodyReads(t *testing.T) {
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := newScribe(t, to, nil, "AMLPROXY_AUDIT_FILE=-")
	_ = to.Close()
	got := s.calls(t, "unread", 2000)
	if got[200]+got[503] != 2000 || got[200] == 0 || got[503] == 0 {
		t.Errorf("%v", got)
	}
	if made := s.made(); made != got[200] {
		t.Errorf("%d calls were made, and %d answered", made, got[200])
	}
	var mu sync.Mutex
	ids := map[string]bool{}
	go func() {
		for lines := bufio.NewScanner(from); lines.Scan(); {
			var line struct {
				RequestID string `json:"request_id"`
			}
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				t.Errorf("%v: %.200s", err, lines.Bytes())
			}
			mu.Lock()
			ids[line.RequestID] = true
			mu.Unlock()
		}
	}()
	await(t, "calls are made again", func() bool { return s.calls(t, "read", 4)[200] == 4 })
	await(t, "all are on record", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return s.unaudited(ids) == 0
	})
	s.stop(t)
	soak.Note(t, "F40", "the audit is a pipe that nobody reads, 2,000 calls", "refused with 503, 0 unaudited", fmt.Sprintf("%d made, %d refused, 0 unaudited", got[200], got[503]))
}

// apart runs the test t in namespaces of its own, where whoever may not mount a file
// system may (user_namespaces(7)). It is skipped where the system has none for him.
func apart(t *testing.T) {
	t.Helper()
	const inside = "IN_NAMESPACES_OF_ITS_OWN"
	if os.Getenv(inside) != "" {
		t.Fatal("not even here may a file system be mounted")
	}
	again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), inside+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var told bytes.Buffer
	again.Stdout, again.Stderr = &told, &told
	if err := again.Start(); errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("this system lets nobody else than its root mount a file system, in namespaces of his own either: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := again.Wait(); err != nil || !strings.Contains(told.String(), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, &told)
	}
}

// TestSoakAFullFileSystem: a real one, with the audit and the log on it.
func TestSoakAFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k")
	if errors.Is(err, syscall.EPERM) {
		apart(t)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }()
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	file := filepath.Join(dir, "audit")
	s := newScribe(t, nil, log, "AMLPROXY_AUDIT_FILE="+file)
	got := s.calls(t, "full", 2000)
	if got[200]+got[503] != 2000 || got[200] == 0 || got[503] == 0 {
		t.Errorf("%v", got)
	}
	if s.counted(t, "amlproxy_log_lines_dropped_total") == 0 {
		t.Error("no line of the log was dropped")
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	if roomy := s.calls(t, "roomy", 400); roomy[200] != 400 {
		t.Errorf("with room again: %v", roomy)
	}
	s.stop(t)
	ids, events := attempts(t, file)
	if n := s.unaudited(ids); n > 0 || s.made() != got[200]+400 {
		t.Errorf("%d of %d calls are on no record", n, s.made())
	}
	soak.Note(t, "F40", "log and audit on a file system that becomes full, 2,000 calls, then has room again", "refused with 503, 0 unaudited", fmt.Sprintf("%d made, %d refused, %d unaudited, %d line torn", s.made(), got[503], s.unaudited(ids), events[""]))
}
