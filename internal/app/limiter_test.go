package app_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"amlproxy/internal/soak"
)

// A plainStore is a real Redis without TLS and without a password.
type plainStore struct {
	address string
	process *exec.Cmd
	client  *redis.Client
}

func startStore(t *testing.T) *plainStore {
	t.Helper()
	l := listen(t)
	s := &plainStore{address: l.Addr().String()}
	_ = l.Close()
	s.client = redis.NewClient(&redis.Options{Addr: s.address})
	s.start(t)
	t.Cleanup(func() { s.kill(); _ = s.client.Close() })
	return s
}

func (s *plainStore) start(t *testing.T) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.address)
	s.process = exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", t.TempDir())
	if err := s.process.Start(); err != nil {
		t.Fatalf("%v: scripts/deps installs it", err)
	}
	until(t, "Redis answers", func() bool { return s.client.Ping(context.Background()).Err() == nil })
}

func (s *plainStore) kill() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}

func (s *plainStore) signal(t *testing.T, what syscall.Signal) {
	t.Helper()
	if err := s.process.Process.Signal(what); err != nil {
		t.Fatal(err)
	}
}

// limited returns settings of public routes, each of which takes 10 requests at
// once, and 10 an hour.
func limited(t *testing.T, model, redis string, names ...string) []string {
	t.Helper()
	var file strings.Builder
	file.WriteString("routes:\n")
	for _, name := range names {
		fmt.Fprintf(&file, "  - {name: %s, url: %s, auth: none, public: true, rate_limit: {requests: 10, per: 1h, by: address}}\n", name, model)
	}
	return []string{routes(t, file.String()), "AMLPROXY_REDIS_URL=redis://" + redis}
}

func scorer(t *testing.T) string {
	t.Helper()
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scored") }))
	t.Cleanup(model.Close)
	return model.URL
}

// rush sends 30 requests to each replica, 3 at a time, and returns how many were
// answered how.
func rush(t *testing.T, route string, replicas ...*running) map[int]int {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	answered := map[int]int{}
	for i := range 3 * len(replicas) {
		all.Go(func() {
			for range 10 {
				status, _ := get(t, http.DefaultClient, replicas[i%len(replicas)].url+"/models/"+route)
				mu.Lock()
				answered[status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return answered
}

// TestReplicasShareALimit, and while Redis is frozen or gone each keeps it alone:
// nobody is refused that would not be otherwise, and no limit is off.
func TestReplicasShareALimit(t *testing.T) {
	db := startStore(t)
	environ := limited(t, scorer(t), db.address, "well", "frozen", "thawed", "gone", "back")
	one, two := run(t, environ), run(t, environ)
	want := func(route string, ok int) {
		t.Helper()
		got := rush(t, route, one, two)
		if got[200] != ok || got[429] != 60-ok {
			t.Errorf("%s: %v, want %d answers 200 and else 429", route, got, ok)
		}
	}
	shared := func() bool {
		for _, r := range []*running{one, two} {
			db.client.FlushDB(t.Context())
			if get(t, http.DefaultClient, r.url+"/models/well"); db.client.DBSize(t.Context()).Val() == 0 {
				return false
			}
		}
		return true
	}
	want("well", 10)
	for _, key := range db.client.Keys(t.Context(), "*").Val() {
		if ttl := db.client.TTL(t.Context(), key).Val(); ttl <= 0 || ttl > time.Hour || strings.Contains(key, "127.0.0.1") {
			t.Errorf("%s is kept for %s", key, ttl)
		}
	}
	db.signal(t, syscall.SIGSTOP)
	want("frozen", 20)
	db.signal(t, syscall.SIGCONT)
	until(t, "limits are shared again", shared)
	want("thawed", 10)
	db.kill()
	want("gone", 20)
	db.start(t)
	until(t, "limits are shared again", shared)
	want("back", 10)
	soak.Note(t, "F42", "a limit of 10 shared by two replicas, Redis frozen, killed and started again", "0 failed, 10 at once while shared, 10 each while not", "0 failed")
}

// TestADeadRedisIsNotAskedByEverybody counts how often it is.
func TestADeadRedisIsNotAskedByEverybody(t *testing.T) {
	l := listen(t)
	var asked atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			defer conn.Close()
		}
	}()
	defer l.Close()
	r := run(t, limited(t, scorer(t), l.Addr().String(), "m"))
	begun := time.Now()
	var refused int
	for range 100 {
		switch status, _ := get(t, http.DefaultClient, r.url+"/models/m"); status {
		case 200:
		case 429:
			refused++
		default:
			t.Fatal(status)
		}
	}
	if refused != 90 {
		t.Errorf("%d refused, want 90", refused)
	}
	if most := 2 + 2*int64(time.Since(begun)/time.Second); asked.Load() > most { // go-redis may try twice
		t.Errorf("100 requests asked %d times, want at most %d", asked.Load(), most)
	}
}
