package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"amlproxy/internal/telemetry"
)

// A paper is what a log is written to, and can be asked meanwhile.
type paper struct {
	mu    sync.Mutex
	text  bytes.Buffer
	room  int           // bytes that go on it; then the disk is full
	stuck chan struct{} // not nil: writing waits for it to be closed
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	stuck := p.stuck
	p.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := min(p.room, len(b)); n < len(b) {
		p.text.Write(b[:n])
		p.room -= n
		return n, syscall.ENOSPC
	}
	p.room -= len(b)
	return p.text.Write(b)
}

func (p *paper) with(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *paper) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Split(strings.TrimSuffix(p.text.String(), "\n"), "\n")
}

func blank() *paper { return &paper{room: 1 << 40} }

func logTo(t *testing.T, w io.Writer) (*zap.Logger, func() int) {
	t.Helper()
	log, err := telemetry.NewLogger(w, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := telemetry.NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	metrics.WatchLog(log)
	return log, func() int { return counted(t, metrics, "amlproxy_log_lines_dropped_total") }
}

func counted(t *testing.T, m *telemetry.Metrics, name string) int {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(w.Body.String())
	if found == nil {
		t.Fatalf("no %s in %s", name, w.Body)
	}
	n, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// TestLinesAreWrittenTogetherAndWarningsAtOnce: what is lost with a process that
// is killed is no warning, and nothing older than 100 ms.
func TestLinesAreWrittenTogetherAndWarningsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := blank()
		log, _ := logTo(t, p)
		log.Info("one")
		log.Info("two")
		if synctest.Wait(); p.lines()[0] != "" {
			t.Errorf("written at once: %q", p.lines())
		}
		time.Sleep(100 * time.Millisecond)
		if synctest.Wait(); len(p.lines()) != 2 {
			t.Errorf("after 100 ms: %q", p.lines())
		}
		log.Info("three")
		log.Warn("four")
		if len(p.lines()) != 4 {
			t.Errorf("after a warning: %q", p.lines())
		}
		log.Info("five")
		if err := log.Sync(); err != nil || len(p.lines()) != 5 {
			t.Errorf("after Sync (%v): %q", err, p.lines())
		}
	})
}

// TestAStuckLogStopsNobody (F40): lines are dropped and counted, and the log says
// so when it is written to again. More is logged than the sink holds twice: what is
// being written counts beside it.
func TestAStuckLogStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := blank()
		p.stuck = make(chan struct{})
		log, dropped := logTo(t, p)
		begun := time.Now()
		for range 60_000 {
			log.Info("news")
		}
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("60,000 lines waited for %s", waited)
		}
		for range 100 {
			log.Error("trouble")
		}
		if waited := time.Since(begun); waited > 50*time.Millisecond {
			t.Errorf("100 errors waited for %s", waited)
		}
		lost := dropped()
		if lost == 0 {
			t.Error("nothing was dropped")
		}
		if err := log.Sync(); err == nil || time.Since(begun) > 2*time.Second {
			t.Errorf("Sync: %v after %s", err, time.Since(begun))
		}
		p.with(func() {
			close(p.stuck)
			p.stuck = nil
		})
		if err := log.Sync(); err != nil {
			t.Error(err)
		}
		log.Warn("back")
		lines := p.lines()
		if last := lines[len(lines)-1]; !strings.Contains(last, "back") {
			t.Errorf("the last line is %s", last)
		}
		notices, owned := 0, 0 // one for each time that it was written to again
		for _, line := range lines {
			var notice struct{ Dropped int }
			if strings.Contains(line, `"dropped":`) && json.Unmarshal([]byte(line), &notice) == nil {
				notices, owned = notices+1, owned+notice.Dropped
			}
		}
		if kept := len(lines) - notices - 1; kept != 60_100-lost {
			t.Errorf("%d lines were kept and %d dropped of 60,100", kept, lost)
		}
		if notices == 0 || owned != lost {
			t.Errorf("the log owns up to %d lines of %d, in %d notices", owned, lost, notices)
		}
	})
}

// TestAFullDiskTearsNoOtherLine: whatever of a line fitted, the next one begins on
// its own.
func TestAFullDiskTearsNoOtherLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := blank()
		log, dropped := logTo(t, p)
		log.Warn("first")
		p.with(func() { p.room = 20 })
		for range 3 {
			log.Warn("too much")
		}
		if dropped() != 3 {
			t.Errorf("%d were dropped, want 3", dropped())
		}
		p.with(func() { p.room = 1 << 20 })
		log.Warn("again")
		if err := log.Sync(); err != nil {
			t.Error(err)
		}
		var whole, torn int
		for _, line := range p.lines() {
			if json.Valid([]byte(line)) {
				whole++
			} else {
				torn++
			}
		}
		if all := strings.Join(p.lines(), "\n"); whole != 3 || torn != 1 || !strings.Contains(all, `"dropped":3`) {
			t.Errorf("%d whole and %d torn lines:\n%s", whole, torn, all)
		}
	})
}

// TestADiskThatIsReallyFull: the kernel's own.
func TestADiskThatIsReallyFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	log, dropped := logTo(t, full)
	for range 10 {
		log.Warn("news")
	}
	if dropped() != 10 {
		t.Errorf("%d of 10 were dropped", dropped())
	}
}

// TestAPipeThatNobodyReads: the kernel's own, and it is read again.
func TestAPipeThatNobodyReads(t *testing.T) {
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	log, dropped := logTo(t, to)
	for range 30_000 {
		log.Info("news")
	}
	if dropped() == 0 {
		t.Error("nothing was dropped")
	}
	read := make(chan int)
	go func() {
		all, _ := io.ReadAll(from)
		read <- strings.Count(string(all), "\n")
	}()
	if err := log.Sync(); err != nil {
		t.Fatal(err)
	}
	log.Warn("back")
	if err := errors.Join(log.Sync(), to.Close()); err != nil {
		t.Fatal(err)
	}
	if n, want := <-read, 30_000-dropped()+2; n != want {
		t.Errorf("%d lines were read, want %d", n, want)
	}
}
