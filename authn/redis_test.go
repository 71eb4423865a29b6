package authn_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
	"amlproxy/internal/secret"
)

// A server is a real Redis, which keeps what it holds over a restart.
type server struct {
	dir, socket string
	process     *exec.Cmd
}

func startRedis(t testing.TB) *server {
	t.Helper()
	dir := must(os.MkdirTemp("", "redis"))(t) //nolint:usetesting // a socket's path must be short
	s := &server{dir: dir, socket: filepath.Join(dir, "socket")}
	s.start(t)
	t.Cleanup(func() {
		s.kill()
		_ = os.RemoveAll(dir)
	})
	return s
}

func (s *server) start(t testing.TB) {
	t.Helper()
	s.process = exec.Command("redis-server", "--port", "0", "--unixsocket", s.socket, "--dir", s.dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always", "--logfile", filepath.Join(s.dir, "log"))
	if err := s.process.Start(); err != nil {
		t.Fatalf("%v: scripts/deps installs it", err)
	}
	client := s.client()
	defer func() { _ = client.Close() }()
	eventually(t, "Redis answers", func() bool { return client.Ping(context.Background()).Err() == nil })
}

func (s *server) kill() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}

func (s *server) signal(t testing.TB, what syscall.Signal) {
	t.Helper()
	if err := s.process.Process.Signal(what); err != nil {
		t.Fatal(err)
	}
}

func (s *server) client() *redis.Client {
	return redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket})
}

func (s *server) do(t testing.TB, args ...any) any {
	t.Helper()
	client := s.client()
	defer func() { _ = client.Close() }()
	return must(client.Do(t.Context(), args...).Result())(t)
}

// shared lets sessions live in s.
func (s *server) shared(t testing.TB) func(*authn.SessionsConfig) {
	return func(c *authn.SessionsConfig) {
		store := must(authn.NewRedis(authn.RedisConfig{URL: secret.New("unix://" + s.socket)}))(t)
		t.Cleanup(func() { _ = store.Close() })
		c.Redis = store
	}
}

// soon makes claims old after a second.
func soon(c *authn.SessionsConfig) { c.Refresh = time.Second }

// due waits until the claims of a session that begins now are old.
func due(t testing.TB, w *world) *http.Request {
	t.Helper()
	w.signIn(t)
	begun := time.Now()
	eventually(t, "the claims are old", func() bool { return time.Since(begun) > 1100*time.Millisecond })
	return w.cookies(t)
}

func TestSessionsInRedis(t *testing.T) {
	db := startRedis(t)
	w := newWorld(t, 2, db.shared(t))
	w.signIn(t)
	r := w.cookies(t)
	for _, s := range w.replicas {
		if !s.sessions.Shared() {
			t.Error("not shared")
		}
		served(t, ask(s.sessions, r, 5)(), false)
	}
	if cookie := r.Header.Get("Cookie"); len(cookie) > 300 {
		t.Errorf("the cookie holds more than an identifier: %d bytes", len(cookie))
	}
	// What Redis holds can be read by nobody else, nor be made a cookie of.
	for _, key := range db.do(t, "KEYS", "*").([]any) {
		if key := key.(string); strings.HasPrefix(key, "amlproxy:session:") {
			value := db.do(t, "GET", key).(string)
			if strings.Contains(value, "alice") || !strings.HasPrefix(key, "amlproxy:") {
				t.Errorf("%s: %q", key, value)
			}
			for _, v := range []string{value, "1AAAAAAAA" + value} {
				wantError(t, second(w.replicas[0].sessions.Authenticate(http.Header{}, request("Cookie", "__Host-amlproxy="+v))), authn.ErrInvalid)
			}
		}
	}
	// A sign-out at one replica ends the session at all of them.
	answer := http.Header{}
	token, err := w.replicas[0].sessions.End(answer, r, false)
	if err != nil || token.IsZero() || len(answer) == 0 {
		t.Fatalf("%v, ID token %v", err, !token.IsZero())
	}
	for _, s := range w.replicas {
		wantError(t, ask(s.sessions, r, 1)()[0].err, authn.ErrInvalid)
	}
	if keys := db.do(t, "KEYS", "amlproxy:session:*").([]any); len(keys) > 0 {
		t.Errorf("left behind: %v", keys)
	}
}

// TestSessionsOfCookiesAndOfRedisAreDifferent: what one keeps, the other refuses.
func TestSessionsOfCookiesAndOfRedisAreDifferent(t *testing.T) {
	key := newSecret()
	inCookies := newSessions(t, func(c *authn.SessionsConfig) { c.Secrets = []secret.Value{key} })
	inRedis := newSessions(t, func(c *authn.SessionsConfig) { c.Secrets = []secret.Value{key} }, startRedis(t).shared(t))
	_, one := started(t, inCookies, alice())
	_, two := started(t, inRedis, alice())
	wantError(t, second(inRedis.Authenticate(http.Header{}, one)), authn.ErrInvalid)
	wantError(t, second(inCookies.Authenticate(http.Header{}, two)), authn.ErrInvalid)
}

func TestSwappedValuesInRedisAreRefused(t *testing.T) {
	db := startRedis(t)
	s := newSessions(t, db.shared(t))
	_, one := started(t, s, alice())
	_, _ = started(t, s, &authn.Identity{Issuer: "i", Subject: "admin"})
	keys := db.do(t, "KEYS", "amlproxy:session:*").([]any)
	first, other := db.do(t, "GET", keys[0]), db.do(t, "GET", keys[1])
	db.do(t, "MSET", keys[0], other, keys[1], first)
	wantError(t, second(s.Authenticate(http.Header{}, one)), authn.ErrInvalid)
}

func TestSignOutEverywhere(t *testing.T) {
	db := startRedis(t)
	w := newWorld(t, 2, db.shared(t))
	var all []*http.Request
	for range 3 {
		w.browser = w.newBrowser(t)
		w.signIn(t)
		all = append(all, w.cookies(t))
	}
	answer, other := http.Header{}, http.Header{}
	if err := w.replicas[0].sessions.Start(other, request(), &authn.Identity{Issuer: w.provider.Issuer(), Subject: "user-bob"}, authn.Tokens{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.replicas[0].sessions.End(answer, all[0], true); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		wantError(t, ask(w.replicas[1].sessions, r, 1)()[0].err, authn.ErrInvalid)
	}
	if _, err := w.replicas[1].sessions.Authenticate(http.Header{}, carry(other, request())); err != nil {
		t.Errorf("bob: %v", err)
	}
}

// TestReplicasWithRedisRefreshOnce: F10 over two replicas.
func TestReplicasWithRedisRefreshOnce(t *testing.T) {
	w := newWorld(t, 2, startRedis(t).shared(t), soon)
	r := due(t, w)
	calls := w.provider.Calls(authntest.TokenEndpoint)
	undo := w.provider.Misbehave(authntest.Delay(authntest.TokenEndpoint, 500*time.Millisecond))
	one, two := ask(w.replicas[0].sessions, r, 100), ask(w.replicas[1].sessions, r, 100)
	served(t, append(one(), two()...), false)
	undo()
	if got := w.provider.Calls(authntest.TokenEndpoint) - calls; got != 1 {
		t.Errorf("%d token calls", got)
	}
	served(t, ask(w.replicas[1].sessions, r, 1)(), false)
}

// TestRevokedAtTheProviderEndsInRedis: nobody else can have refreshed.
func TestRevokedAtTheProviderEndsInRedis(t *testing.T) {
	db := startRedis(t)
	w := newWorld(t, 2, db.shared(t), soon)
	r := due(t, w)
	if err := w.provider.Revoke("alice"); err != nil {
		t.Fatal(err)
	}
	for _, s := range w.replicas {
		for _, got := range ask(s.sessions, r, 10)() {
			wantError(t, got.err, authn.ErrInvalid)
		}
	}
	if keys := db.do(t, "KEYS", "amlproxy:session:*").([]any); len(keys) > 0 {
		t.Errorf("left behind: %v", keys)
	}
}

// TestLeaseOfAKilledReplicaEnds: it was killed while it asked the provider.
func TestLeaseOfAKilledReplicaEnds(t *testing.T) {
	db := startRedis(t)
	w := newWorld(t, 2, db.shared(t), soon)
	r := due(t, w)
	release := make(chan struct{})
	undo := w.provider.Misbehave(authntest.Hold(authntest.TokenEndpoint, release))
	calls := w.provider.Calls(authntest.TokenEndpoint)
	first := ask(w.replicas[0].sessions, r, 1)
	var lease []any
	eventually(t, "a lease is held", func() bool {
		lease = db.do(t, "KEYS", "amlproxy:lease:*").([]any)
		return len(lease) == 1
	})
	eventually(t, "the provider is asked", func() bool { return w.provider.Calls(authntest.TokenEndpoint) == calls+1 })
	close(release)
	served(t, first(), false)
	undo()
	if left := db.do(t, "KEYS", "amlproxy:lease:*").([]any); len(left) > 0 {
		t.Errorf("the lease was not given back")
	}
	begun := time.Now()
	eventually(t, "the claims are old again", func() bool { return time.Since(begun) > 1100*time.Millisecond })
	db.do(t, "SET", lease[0], "a replica that is dead", "PX", 1000)
	before := w.provider.Calls(authntest.TokenEndpoint)
	served(t, ask(w.replicas[1].sessions, r, 10)(), false)
	if got := w.provider.Calls(authntest.TokenEndpoint) - before; got != 1 {
		t.Errorf("%d token calls", got)
	}
}

// within fails if what takes much longer than it may, which is half a second: a
// machine that runs all tests at once is slow, too.
func within(t testing.TB, what func() error) error {
	t.Helper()
	begun := time.Now()
	err := what()
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("answered after %v", took)
	}
	return err
}

// TestRedisInTrouble: F41 to F43. A short outage of the session store signed
// everybody out of other proxies, after 3 to 9 s.
func TestRedisInTrouble(t *testing.T) {
	for name, trouble := range map[string]struct{ begin, end func(testing.TB, *server) }{
		"frozen": {
			func(t testing.TB, s *server) { s.signal(t, syscall.SIGSTOP) },
			func(t testing.TB, s *server) { s.signal(t, syscall.SIGCONT) },
		},
		"killed": {func(_ testing.TB, s *server) { s.kill() }, func(t testing.TB, s *server) { s.start(t) }},
		"a read-only replica": {
			func(t testing.TB, s *server) { s.do(t, "REPLICAOF", "127.0.0.1", "1") },
			func(t testing.TB, s *server) { s.do(t, "REPLICAOF", "NO", "ONE") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := startRedis(t)
			w := newWorld(t, 1, db.shared(t))
			s := w.replicas[0]
			w.signIn(t)
			r := w.cookies(t)
			served(t, ask(s.sessions, r, 50)(), false)
			token := must(w.provider.Sign(map[string]any{
				"iss": w.provider.Issuer(), "aud": audience, "sub": "bearer", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
			}))(t)

			trouble.begin(t, db)
			for range 2 {
				var wg sync.WaitGroup
				for range 100 {
					wg.Go(func() {
						answer := http.Header{}
						err := within(t, func() error { return second(s.sessions.Authenticate(answer, r.Clone(t.Context()))) })
						if !errors.Is(err, authn.ErrUnavailable) || len(answer) > 0 {
							t.Errorf("%v, cookies %v", err, answer)
						}
					})
				}
				wg.Wait()
			}
			answer := http.Header{}
			err := within(t, func() error { return second(s.sessions.End(answer, r, false)) })
			if e := wantError(t, err, authn.ErrUnavailable); len(answer) > 0 || !e.Store {
				t.Errorf("signing out: %+v, cookies %v", e, answer)
			}
			err = within(t, func() error { return s.sessions.Start(answer, request(), alice(), authn.Tokens{}) })
			if wantError(t, err, authn.ErrUnavailable); len(answer) > 0 {
				t.Errorf("signing in: cookies %v", answer)
			}
			if _, err := authn.FirstOf(s.bearer, s.sessions).Authenticate(answer, request("Authorization", "Bearer "+token)); err != nil {
				t.Errorf("bearer: %v", err)
			}

			trouble.end(t, db)
			begun := time.Now()
			eventually(t, "sessions work", func() bool { return second(s.sessions.Authenticate(http.Header{}, r)) == nil })
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("worked again after %v", took)
			}
			served(t, ask(s.sessions, r, 50)(), false)
		})
	}
}

// TestFlushedRedisMeansANewLogin: F43.
func TestFlushedRedisMeansANewLogin(t *testing.T) {
	db := startRedis(t)
	w := newWorld(t, 1, db.shared(t))
	w.signIn(t)
	r := w.cookies(t)
	db.do(t, "FLUSHALL")
	for _, got := range ask(w.replicas[0].sessions, r, 3)() {
		wantError(t, got.err, authn.ErrInvalid)
	}
	w.signIn(t)
	served(t, ask(w.replicas[0].sessions, w.cookies(t), 3)(), false)
}

// TestRedisDownWhileRenewing: the only refresh token that works is not lost.
func TestRedisDownWhileRenewing(t *testing.T) {
	db := startRedis(t)
	w := newWorld(t, 2, db.shared(t), soon)
	r := due(t, w)
	release, calls := make(chan struct{}), w.provider.Calls(authntest.TokenEndpoint)
	undo := w.provider.Misbehave(authntest.Hold(authntest.TokenEndpoint, release))
	first := ask(w.replicas[0].sessions, r, 3)
	eventually(t, "the provider is asked", func() bool { return w.provider.Calls(authntest.TokenEndpoint) == calls+1 })
	db.kill()
	close(release)
	undo()
	served(t, first(), false)
	db.start(t)
	begun := time.Now()
	eventually(t, "the claims are old again, and renewed by the other replica", func() bool {
		got := ask(w.replicas[1].sessions, r, 1)()[0]
		if got.err != nil && !errors.Is(got.err, authn.ErrUnavailable) {
			t.Fatal(got.err)
		}
		return time.Since(begun) > 1500*time.Millisecond && w.provider.Calls(authntest.TokenEndpoint) > calls+1
	})
	served(t, ask(w.replicas[1].sessions, r, 1)(), false)
}

func TestNewRedisRefuses(t *testing.T) {
	for _, url := range []string{"", "http://x", "redis://:s3cr3t%zz@cache"} {
		store, err := authn.NewRedis(authn.RedisConfig{URL: secret.New(url)})
		if err == nil || store != nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// TestNothingListens where Redis should be.
func TestNothingListens(t *testing.T) {
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer func() { _ = l.Close() }() // accepts, and says nothing
	store := must(authn.NewRedis(authn.RedisConfig{URL: secret.New("redis://:s3cr3t@" + l.Addr().String())}))(t)
	defer func() { _ = store.Close() }()
	s := newSessions(t, func(c *authn.SessionsConfig) { c.Redis = store })
	err := within(t, func() error { return s.Start(http.Header{}, request(), alice(), authn.Tokens{}) })
	if wantError(t, err, authn.ErrUnavailable); strings.Contains(err.Error(), "s3cr3t") {
		t.Error(err)
	}
	if slices.ContainsFunc([]error{store.Ping(t.Context())}, func(err error) bool { return err == nil }) {
		t.Error("answers")
	}
}
