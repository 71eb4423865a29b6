package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
)

// A workspace is a Source whose answers a test sets.
type workspace struct {
	mu      sync.Mutex
	lease   upstream.Lease
	err     error
	delay   time.Duration
	calls   int
	renewed int // calls with a lease in hand
}

func (w *workspace) Fetch(ctx context.Context, held *upstream.Lease) (*upstream.Lease, error) {
	w.mu.Lock()
	w.calls++
	if held != nil {
		w.renewed++
	}
	delay := w.delay
	w.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, w.err
	}
	lease := w.lease
	return &lease, nil
}

func (w *workspace) set(change func(*workspace)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

func (w *workspace) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls
}

func pair(primary, secondary string) upstream.Lease {
	return upstream.Lease{
		Scoring: &url.URL{Scheme: "https", Host: "ep.example", Path: "/score"}, Kind: upstream.Key,
		Primary: secret.New(primary), Secondary: secret.New(secondary),
	}
}

func token(value string, refresh, life time.Duration) upstream.Lease {
	l := pair(value, "")
	l.Kind, l.Refresh, l.Expires = upstream.Token, time.Now().Add(refresh), time.Now().Add(life)
	return l
}

// start runs test in a bubble of virtual time with a cache over w.
func start(t *testing.T, w *workspace, test func(t *testing.T, c *upstream.Cache)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := upstream.Cached(w, nil)
		defer c.Close()
		c.Warm()
		test(t, c)
	})
}

func want(t *testing.T, c *upstream.Cache, credential string) upstream.Target {
	t.Helper()
	target, err := c.Target(t.Context())
	if err != nil {
		t.Fatalf("Target: %v", err)
	}
	if got := target.Credential.Reveal(); got != credential {
		t.Fatalf("credential in use is %q, want %q", got, credential)
	}
	return target
}

func TestATokenIsRenewedBeforeAnyoneWaits(t *testing.T) {
	w := &workspace{delay: 10 * time.Second}
	synctest.Test(t, func(t *testing.T) {
		w.lease = token("t1", time.Hour, 2*time.Hour)
		c := upstream.Cached(w, nil)
		defer c.Close()
		c.Warm()
		want(t, c, "t1")
		w.set(func(w *workspace) { w.lease = token("t2", 2*time.Hour, 3*time.Hour) })
		for range 61 {
			before := time.Now()
			if _, err := c.Target(t.Context()); err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(before); waited != 0 {
				t.Fatalf("a request waited %v for a renewal", waited)
			}
			time.Sleep(time.Minute)
		}
		want(t, c, "t2")
		if w.renewed != 1 || w.calls != 2 {
			t.Errorf("%d calls, %d with the lease in hand; want 2 and 1", w.calls, w.renewed)
		}
	})
}

// TestACacheAtRestAsksForRequestsAlone: its route is not in force any more.
func TestACacheAtRestAsksForRequestsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workspace{lease: token("t1", time.Hour, 2*time.Hour)}
		c := upstream.Cached(w, nil)
		defer c.Close()
		c.Warm()
		want(t, c, "t1")
		c.Rest()
		time.Sleep(3 * time.Hour)
		if n := w.count(); n != 1 {
			t.Errorf("%d calls that no request needed", n-1)
		}
		w.set(func(w *workspace) { w.lease = token("t2", 4*time.Hour, 5*time.Hour) })
		want(t, c, "t2")
		time.Sleep(5 * time.Hour)
		if n := w.count(); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
	})
}

func TestAHeldCredentialIsUsedUntilItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workspace{lease: token("t1", time.Hour, 2*time.Hour)}
		c := upstream.Cached(w, nil)
		defer c.Close()
		c.Warm()
		want(t, c, "t1")
		w.set(func(w *workspace) { w.err = errors.New("region down") })
		for range 119 {
			time.Sleep(time.Minute)
			want(t, c, "t1")
		}
		if n := w.count(); n < 20 || n > 200 {
			t.Errorf("%d calls in an hour of outage: neither given up nor backed off", n)
		}
		time.Sleep(2 * time.Minute)
		_, err := c.Target(t.Context())
		var again *upstream.RetryAfterError
		if !errors.Is(err, upstream.ErrNoCredential) || !errors.As(err, &again) || again.After <= 0 {
			t.Fatalf("after expiry: %v", err)
		}
		w.set(func(w *workspace) { w.err = nil; w.lease = token("t2", time.Hour, 2*time.Hour) })
		time.Sleep(31 * time.Second)
		want(t, c, "t2")
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workspace{err: &upstream.RetryAfterError{After: 7 * time.Second, Err: errors.New("429")}}
		c := upstream.Cached(w, nil)
		defer c.Close()
		c.Warm()
		time.Sleep(6999 * time.Millisecond)
		for range 100 {
			if _, err := c.Target(t.Context()); !errors.Is(err, upstream.ErrNoCredential) {
				t.Fatal(err)
			}
		}
		if w.count() != 1 {
			t.Fatalf("%d calls before the 7 s were over", w.count())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if w.count() != 2 {
			t.Fatalf("%d calls after 8 s, want 2", w.count())
		}
	})
}

func TestEverybodyWaitsForOneFetchOnTheirOwnContext(t *testing.T) {
	w := &workspace{lease: pair("p", "s"), delay: 5 * time.Second}
	start(t, w, func(t *testing.T, c *upstream.Cache) {
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Target(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("impatient caller: %v", err)
		}
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				if _, err := c.Target(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if w.count() != 1 {
			t.Errorf("%d fetches, want 1", w.count())
		}
	})
}

// After a 401, what must come back for each thing that may have happened.
func TestRejected(t *testing.T) {
	down := errors.New("down")
	for name, test := range map[string]struct {
		after upstream.Lease
		err   error
		delay time.Duration
		want  string
	}{
		"primary regenerated":               {after: pair("p2", "s1"), want: "p2"},
		"both regenerated":                  {after: pair("p2", "s2"), want: "p2"},
		"only the secondary is new":         {after: pair("p1", "s2"), want: "s2"},
		"nothing new":                       {after: pair("p1", "s1"), want: "s1"},
		"keys swapped":                      {after: pair("s1", "p1"), want: "s1"},
		"workspace down":                    {err: down, want: "s1"},
		"workspace slower than two seconds": {after: pair("p2", "s2"), delay: 3 * time.Second, want: "s1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &workspace{lease: pair("p1", "s1")}
			start(t, w, func(t *testing.T, c *upstream.Cache) {
				held := want(t, c, "p1")
				w.set(func(w *workspace) { w.lease, w.err, w.delay = test.after, test.err, test.delay })
				next, err := c.Rejected(t.Context(), held)
				if err != nil {
					t.Fatal(err)
				}
				if next.Credential.Reveal() != test.want || next.Generation == held.Generation {
					t.Errorf("got %q, generation %d after %d; want %q", next.Credential.Reveal(), next.Generation, held.Generation, test.want)
				}
				want(t, c, test.want)
			})
		})
	}
}

func TestRegeneratingTheKeyThatIsNotInUseChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := pair("p", "s1")
		lease.Refresh = time.Now().Add(time.Hour)
		w := &workspace{lease: lease}
		c := upstream.Cached(w, nil)
		defer c.Close()
		c.Warm()
		before := want(t, c, "p")
		lease.Secondary, lease.Refresh = secret.New("s2"), lease.Refresh.Add(time.Hour)
		w.set(func(w *workspace) { w.lease = lease })
		time.Sleep(time.Hour + time.Minute)
		if after := want(t, c, "p"); after.Generation != before.Generation {
			t.Error("a new generation, though requests use the same key")
		}
		// The new secondary is what a 401 falls back on.
		w.set(func(w *workspace) { w.err = errors.New("down") })
		if next, err := c.Rejected(t.Context(), before); err != nil || next.Credential.Reveal() != "s2" {
			t.Errorf("fell back on %v, %v", next.Credential.Reveal(), err)
		}
	})
}

func TestRequestsRejectedTogetherFetchOnce(t *testing.T) {
	w := &workspace{lease: pair("p1", "s1")}
	start(t, w, func(t *testing.T, c *upstream.Cache) {
		held := want(t, c, "p1")
		w.set(func(w *workspace) { w.lease, w.delay = pair("p2", "s2"), 300*time.Millisecond })
		var all sync.WaitGroup
		for i := range 2000 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				next, err := c.Rejected(t.Context(), held)
				if err != nil || next.Credential.Reveal() != "p2" {
					t.Errorf("got %v, %v", next.Credential, err)
				}
			})
		}
		all.Wait()
		if w.count() != 2 {
			t.Errorf("%d fetches, want the first and one more", w.count())
		}
	})
}

// A credential that is revoked for good, or a model that answers 401 by itself.
func TestARefusedReplacementCannotDrainTheWorkspace(t *testing.T) {
	for name, lease := range map[string]upstream.Lease{"pair": pair("p", "s"), "token": pair("t", "")} {
		t.Run(name, func(t *testing.T) {
			w := &workspace{lease: lease}
			start(t, w, func(t *testing.T, c *upstream.Cache) {
				sends := 0
				for range 30_000 { // 500 a second for a minute
					target, err := c.Target(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					sends++
					if next, err := c.Rejected(t.Context(), target); err == nil {
						sends++
						if _, err := c.Rejected(t.Context(), next); !errors.Is(err, upstream.ErrNoReplacement) {
							t.Fatalf("a third target: %v", err)
						}
					} else if !errors.Is(err, upstream.ErrNoReplacement) {
						t.Fatal(err)
					}
					time.Sleep(2 * time.Millisecond)
				}
				if got := w.count() - 1; got < 2 || got > 5+6 {
					t.Errorf("%d fetches in a minute; the bucket holds 5 and one in 10 s", got)
				}
				if sends > 60_000 {
					t.Errorf("%d sends for 30,000 requests", sends)
				}
			})
		})
	}
}

func TestRapidRotationsAreSurvived(t *testing.T) {
	w := &workspace{lease: pair("p0", "s0")}
	start(t, w, func(t *testing.T, c *upstream.Cache) {
		for i := 1; i <= 5; i++ {
			held := want(t, c, fmt.Sprintf("p%d", i-1))
			w.set(func(w *workspace) { w.lease = pair(fmt.Sprintf("p%d", i), fmt.Sprintf("s%d", i)) })
			if next, err := c.Rejected(t.Context(), held); err != nil || next.Credential.Reveal() != fmt.Sprintf("p%d", i) {
				t.Fatalf("rotation %d: %v, %v", i, next.Credential.Reveal(), err)
			}
		}
	})
}

// An endpoint may accept a new key only some time after the workspace shows it.
func TestAKeyThatIsNotAcceptedYetGivesWayToTheOther(t *testing.T) {
	w := &workspace{lease: pair("p1", "s1")}
	start(t, w, func(t *testing.T, c *upstream.Cache) {
		held := want(t, c, "p1")
		w.set(func(w *workspace) { w.lease = pair("p2", "s1") })
		next, err := c.Rejected(t.Context(), held)
		if err != nil || next.Credential.Reveal() != "p2" {
			t.Fatal(next.Credential.Reveal(), err)
		}
		if _, err := c.Rejected(t.Context(), next); !errors.Is(err, upstream.ErrNoReplacement) {
			t.Fatal(err)
		}
		next, err = c.Rejected(t.Context(), want(t, c, "p2"))
		if err != nil || next.Credential.Reveal() != "s1" {
			t.Fatalf("the next request got %q, %v; want the key that still works", next.Credential.Reveal(), err)
		}
		want(t, c, "s1")
		if w.count() != 2 {
			t.Errorf("%d fetches, want 2", w.count())
		}
	})
}

func TestTheModeMayChange(t *testing.T) {
	w := &workspace{lease: pair("p", "s")}
	start(t, w, func(t *testing.T, c *upstream.Cache) {
		held := want(t, c, "p")
		entra := pair("entra-token", "")
		entra.Kind, entra.Scoring = upstream.Entra, &url.URL{Scheme: "https", Host: "moved.example", Path: "/score"}
		w.set(func(w *workspace) { w.lease = entra })
		next, err := c.Rejected(t.Context(), held)
		if err != nil || next.Kind != upstream.Entra || next.Scoring.Host != "moved.example" {
			t.Fatalf("%+v, %v", next, err)
		}
	})
}

func TestALeaseWithoutWhatItPromisesIsRefused(t *testing.T) {
	nowhere, empty, odd := pair("p", ""), pair("", ""), pair("p", "")
	nowhere.Scoring = &url.URL{Path: "/score"}
	odd.Scoring = &url.URL{Scheme: "https", Host: "h", RawQuery: "code=1"}
	for name, lease := range map[string]upstream.Lease{"no address": nowhere, "no key": empty, "a query": odd} {
		t.Run(name, func(t *testing.T) {
			start(t, &workspace{lease: lease}, func(t *testing.T, c *upstream.Cache) {
				if _, err := c.Target(t.Context()); !errors.Is(err, upstream.ErrNoCredential) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestCloseEndsAFetchAndKeepsWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := pair("p", "s")
		lease.Refresh = time.Now().Add(time.Minute)
		w := &workspace{lease: lease}
		var events []upstream.Event
		c := upstream.Cached(w, func(e upstream.Event) { events = append(events, e) })
		held := want(t, c, "p")
		w.set(func(w *workspace) { w.delay = time.Hour })
		time.Sleep(65 * time.Second) // a renewal is under way
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		want(t, c, "p")
		if next, err := c.Rejected(t.Context(), held); err != nil || next.Credential.Reveal() != "s" {
			t.Errorf("after Close: %v, %v", next, err)
		}
		if len(events) != 1 || events[0].Cause != upstream.CauseStart || !events[0].Changed {
			t.Errorf("events: %+v", events)
		}
	})
}

// One key gave way to the other and that one to the first again, while a request
// with the first was on its way: it must not be sent again with what refused it.
func TestAReplacementIsNeverTheCredentialThatWasRefused(t *testing.T) {
	w := &workspace{lease: pair("K1", "K2")}
	start(t, w, func(t *testing.T, c *upstream.Cache) {
		slow := want(t, c, "K1")
		for _, next := range []string{"K2", "K1"} {
			target, err := c.Target(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if r, err := c.Rejected(t.Context(), target); err != nil || r.Credential.Reveal() != next {
				t.Fatal(err)
			}
		}
		if r, err := c.Rejected(t.Context(), slow); err == nil && r.Credential.Reveal() == "K1" {
			t.Error("K1 was refused, and is what replaces it")
		}
	})
}

func TestAnExpiredLeaseIsAFailedFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workspace{lease: token("T", -time.Hour, -time.Minute)}
		c := upstream.Cached(w, nil)
		defer c.Close()
		for range 100 {
			if _, err := c.Target(t.Context()); !errors.Is(err, upstream.ErrNoCredential) {
				t.Fatal(err)
			}
		}
		if w.count() != 1 {
			t.Errorf("%d fetches for 100 requests at once", w.count())
		}
	})
}

// Uploads that break, for whatever reason, and then a rotation.
func TestBrokenUploadsDoNotDelayARotation(t *testing.T) {
	for name, lease := range map[string]upstream.Lease{"one key": pair("K1", ""), "pair": pair("K1", "K2")} {
		t.Run(name, func(t *testing.T) {
			w := &workspace{lease: lease}
			start(t, w, func(t *testing.T, c *upstream.Cache) {
				proven(t, c)
				for range 80 {
					if held := want(t, c, "K1"); c.Suspect(t.Context(), held) {
						t.Fatal("nothing was wrong, and something else is used")
					}
					time.Sleep(2 * time.Second)
				}
				if n := w.count() - 1; n > 5+160/10 {
					t.Errorf("%d fetches in 160 s", n)
				}
				time.Sleep(10 * time.Second)
				w.set(func(w *workspace) { w.lease = pair("K9", "") })
				if r, err := c.Rejected(t.Context(), want(t, c, "K1")); err != nil || r.Credential.Reveal() != "K9" {
					t.Errorf("the rotation was met with %v, %v", r.Credential.Reveal(), err)
				}
			})
		})
	}
}

// proven lets a request be answered with the credential in use.
func proven(t *testing.T, c *upstream.Cache) {
	t.Helper()
	rt := &upstream.Transport{Backends: []upstream.Backend{c}, Base: roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	})}
	if _, _, err := post(t, rt, "/score", nil); err != nil {
		t.Fatal(err)
	}
}

func TestAPanicOfTheSourceIsItsFailure(t *testing.T) {
	c := upstream.Cached(panics{}, nil)
	defer c.Close()
	if _, err := c.Target(t.Context()); !errors.Is(err, upstream.ErrNoCredential) {
		t.Error(err)
	}
}

type panics struct{}

func (panics) Fetch(context.Context, *upstream.Lease) (*upstream.Lease, error) { panic("a mistake") }
