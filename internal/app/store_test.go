package app_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"amlproxy/internal/soak"
	"amlproxy/proxy"
)

// A store is a real Redis that speaks TLS alone, with a certificate of its own, and
// wants a password.
type store struct {
	dir, port, ca string
	process       *exec.Cmd
}

const storePassword = "p@ss/word"

func newStore(t *testing.T) *store {
	t.Helper()
	l := listen(t)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	s := &store{dir: t.TempDir(), port: port}
	s.ca = filepath.Join(s.dir, "cert.pem")
	cert, key := selfSigned(t, 1)
	for file, content := range map[string][]byte{"cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(s.dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.start(t)
	t.Cleanup(s.kill)
	return s
}

func (s *store) start(t *testing.T) {
	t.Helper()
	s.process = exec.Command("redis-server", "--port", "0", "--bind", "127.0.0.1", "--tls-port", s.port,
		"--tls-cert-file", s.ca, "--tls-key-file", filepath.Join(s.dir, "key.pem"), "--tls-auth-clients", "no",
		"--requirepass", storePassword, "--dir", s.dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always",
		"--logfile", filepath.Join(s.dir, "log"))
	if err := s.process.Start(); err != nil {
		t.Fatalf("%v: scripts/deps installs it", err)
	}
	until(t, "Redis listens", func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:"+s.port)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func (s *store) kill() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}

// environ are the settings that lead there.
func (s *store) environ() []string {
	return []string{"AMLPROXY_REDIS_URL=rediss://:p%40ss%2Fword@localhost:" + s.port + "/1", "AMLPROXY_CA_FILE=" + s.ca}
}

func storeState(t *testing.T, f *fort) (int, proxy.StoreReading) {
	t.Helper()
	a := f.knock(t, f.bare, door{method: http.MethodGet, path: "/readyz"})
	var reading proxy.Readiness
	if err := json.Unmarshal([]byte(a.body), &reading); err != nil || reading.Store == nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return a.StatusCode, *reading.Store
}

// TestSessionsInARedisThatSpeaksTLS: from the settings to the server, through an
// outage: nobody is signed out, bearer tokens go on, and /readyz says why sessions
// do not while it takes no replica out of service.
func TestSessionsInARedisThatSpeaksTLS(t *testing.T) {
	s := newStore(t)
	one := newFort(t, s.environ()...)
	ann, token := one.signedIn(t, "ann"), "Authorization: Bearer "+one.token(t, "ann")
	signed := doors()[1]
	if status, reading := storeState(t, one); status != http.StatusOK || reading != (proxy.StoreReading{State: "ready"}) {
		t.Errorf("%d %+v", status, reading)
	}
	s.kill()
	until(t, "it is missing", func() bool {
		status, reading := storeState(t, one)
		if status != http.StatusOK || reading.Reason == "" && reading.State != "ready" {
			t.Fatalf("%d %+v", status, reading)
		}
		return reading.State == "missing"
	})
	a := one.knock(t, ann, signed)
	if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || len(a.Cookies()) > 0 {
		t.Errorf("a session meanwhile: %d %v", a.StatusCode, a.Header)
	}
	if a := one.knock(t, one.bare, signed, token); a.StatusCode != http.StatusOK {
		t.Errorf("a token meanwhile: %d", a.StatusCode)
	}
	s.start(t)
	until(t, "the session works again", func() bool { return one.knock(t, ann, signed).StatusCode == http.StatusOK })
	until(t, "it is ready", func() bool {
		_, reading := storeState(t, one)
		return reading.State == "ready"
	})
}

// TestRedisOfAnotherCAIsNotSpokenTo: no session is kept there, and no password told.
func TestRedisOfAnotherCAIsNotSpokenTo(t *testing.T) {
	s := newStore(t)
	f := newFort(t, s.environ()[0])
	if err := f.signIn(f.browser(t), "ann"); err == nil {
		t.Error("signed in")
	}
	if status, reading := storeState(t, f); status != http.StatusOK || reading.State != "missing" {
		t.Errorf("%d %+v", status, reading)
	}
}

// TestSoakRedisFrozen measures F41 and F42 on a quiet machine: every answer within a
// second, whether Redis is frozen or refuses connections.
func TestSoakRedisFrozen(t *testing.T) {
	alone, together := 2, 1
	if soak.On() {
		alone, together = 10, 4
	}
	for name, trouble := range map[string]func(*testing.T, *store){
		"frozen": func(t *testing.T, s *store) {
			if err := s.process.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		},
		"killed": func(_ *testing.T, s *store) { s.kill() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			f := newFort(t, s.environ()...)
			ann := f.signedIn(t, "ann")
			cookie := "Cookie: amlproxy=" + f.cookie(t, ann, "amlproxy").Value
			trouble(t, s)
			var mu sync.Mutex
			var worst time.Duration
			ask := func() {
				begun := time.Now()
				a, err := f.send(f.bare, doors()[1], cookie)
				took := time.Since(begun)
				if err != nil || a.StatusCode != http.StatusServiceUnavailable || len(a.Cookies()) > 0 {
					t.Errorf("%v %v", a, err)
				}
				mu.Lock()
				defer mu.Unlock()
				worst = max(worst, took)
			}
			for range alone {
				ask()
			}
			for range together {
				var all sync.WaitGroup
				for range 50 {
					all.Go(ask)
				}
				all.Wait()
			}
			fault := map[string]string{"killed": "F41", "frozen": "F42"}[name]
			soak.Note(t, fault, fmt.Sprintf("Redis %s, %d requests with a session", name, alone+50*together), "answer within 1 s", fmt.Sprintf("at most %d ms", worst.Milliseconds()))
			if soak.On() && worst > time.Second {
				t.Error("more than 1 s")
			}
		})
	}
}
