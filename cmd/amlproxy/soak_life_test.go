package main_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"amlproxy/internal/demo"
	"amlproxy/internal/soak"
)

// TestSoakKill: a proxy that is killed and started again has lost nobody's session,
// and nothing is locked.
func TestSoakKill(t *testing.T) {
	port := freePort(t)
	public := "http://127.0.0.1:" + port
	w, err := demo.NewWorld(demo.Place{PublicURL: public})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	environ := append(w.Environ(), "AMLPROXY_LISTEN=127.0.0.1:"+port, "AMLPROXY_ADMIN_LISTEN=127.0.0.1:0", "AMLPROXY_LOG_LEVEL=error")
	p := start(t, environ, "serve")
	ready(t, http.DefaultClient, public+"/readyz")
	var people []*http.Client
	for range many(20, 2) {
		people = append(people, signedIn(t, public, w.People[0]))
	}
	var longest time.Duration
	for range many(5, 1) {
		_ = p.cmd.Process.Kill()
		<-p.done
		p.done <- nil // which stop takes for its end
		begun := time.Now()
		p = start(t, environ, "serve")
		ready(t, http.DefaultClient, public+"/readyz")
		longest = max(longest, time.Since(begun))
	}
	kept := 0
	for _, person := range people {
		if status, body := userinfo(t, person, public); status == http.StatusOK {
			kept++
		} else {
			t.Errorf("%d %s", status, body)
		}
	}
	if soak.On() && longest > time.Second {
		t.Errorf("ready after %v", longest)
	}
	soak.Note(t, "F37", fmt.Sprintf("SIGKILL and start again, %d people signed in", len(people)), "0 logouts, ready <= 1 s", fmt.Sprintf("%d logouts, ready after %.2f s", len(people)-kept, longest.Seconds()))
}

// TestSoakStopUnderLoad: SIGTERM loses no request that was taken.
func TestSoakStopUnderLoad(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.RawQuery != "" {
			time.Sleep(100 * time.Millisecond)
		}
		_, _ = io.WriteString(w, "scored")
	}, "AMLPROXY_DRAIN_DELAY=1s")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	var answered, refused, lost atomic.Int64
	for range many(50, 10) {
		all.Go(func() {
			for ctx.Err() == nil {
				resp, err := r.client.Post(r.url+"?slow", "application/json", strings.NewReader("{}"))
				switch {
				case err != nil && strings.Contains(err.Error(), "connection refused"): // a balancer looks elsewhere
					refused.Add(1)
					return
				case err != nil:
					lost.Add(1)
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(body) != "scored" {
					lost.Add(1)
					t.Errorf("%d %s %v", resp.StatusCode, body, err)
				}
				answered.Add(1)
			}
		})
	}
	await(t, "there is load", func() bool { return answered.Load() > 100 })
	begun := time.Now()
	unready := make(chan time.Duration, 1)
	go func() {
		for {
			resp, err := http.Get("http://" + r.admin + "/readyz")
			if err != nil || resp.StatusCode != http.StatusOK {
				unready <- time.Since(begun)
				return
			}
			_ = resp.Body.Close()
		}
	}()
	err := r.p.stop()
	took := time.Since(begun)
	if err != nil || took > 30*time.Second {
		t.Errorf("%v after %v", err, took)
	}
	all.Wait()
	soak.Note(t, "F36", fmt.Sprintf("SIGTERM with %d callers", refused.Load()+lost.Load()), "0 lost requests, not ready first, exit <= 30 s",
		fmt.Sprintf("%d answered, %d lost, not ready after %s, exit after %.1f s", answered.Load(), lost.Load(), ms(<-unready), took.Seconds()))
}

// TestSoakLittleMemory: with GOMEMLIMIT set, load and a large upload stay below it.
func TestSoakLittleMemory(t *testing.T) {
	t.Parallel() // with others that wait
	r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.RawQuery == "stream" {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}, "GOMEMLIMIT=48MiB")
	ctx, cancel := context.WithTimeout(t.Context(), soak.Time(t, many(60*time.Second, 3*time.Second)))
	defer cancel()
	var all sync.WaitGroup
	var answered, failed atomic.Int64
	note := func(resp *http.Response, err error) {
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		answered.Add(1)
		if err != nil || resp.StatusCode != http.StatusOK {
			failed.Add(1)
		}
	}
	post := func(target string, size int64) {
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, target, io.LimitReader(zeros{}, size))
		req.ContentLength = size
		note(r.client.Do(req))
	}
	repeat := func(every time.Duration, what func()) {
		all.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for ctx.Err() == nil {
				what()
				<-tick.C
			}
		})
	}
	for range 100 {
		all.Go(func() { post(r.url+"?stream", 2) })
	}
	for range 8 {
		repeat(20*time.Millisecond, func() { post(r.url, 1000) })
	}
	for range 4 { // held for a retry, each
		repeat(100*time.Millisecond, func() { post(r.url, 1<<20) })
	}
	repeat(time.Second, func() { post(r.url, 64<<20) })
	all.Wait()
	peak := resident(t, r.p, "VmHWM")
	if soak.On() && peak > 64<<20 || failed.Load() > 0 {
		t.Errorf("%s, %d failed", mib(peak), failed.Load())
	}
	soak.Note(t, "F34", "GOMEMLIMIT 48 MiB: 100 streams, 400 requests/s, 40 of 1 MiB/s, 64 MiB uploads", "peak RSS <= 64 MiB, 0 failed",
		fmt.Sprintf("%s, %d of %d failed", mib(peak), failed.Load(), answered.Load()))
}

// state is what may not grow.
type state struct {
	rss             int64
	fds, goroutines int
}

func (r *rig) state(t *testing.T) state {
	t.Helper()
	return state{resident(t, r.p, "VmRSS"), r.fds(t), r.goroutines(t)}
}

// TestSoakForATime calls models, signs people in and out, and takes credentials
// away, for as long as SOAK_TIME says, and compares what the proxy holds at a fifth
// of it with what it holds at the end.
func TestSoakForATime(t *testing.T) {
	t.Parallel() // with others that wait
	port := freePort(t)
	public := "http://127.0.0.1:" + port
	w, err := demo.NewWorld(demo.Place{PublicURL: public})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r := &rig{admin: "127.0.0.1:" + freePort(t), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	r.p = start(t, append(w.Environ(), "AMLPROXY_LISTEN=127.0.0.1:"+port, "AMLPROXY_ADMIN_LISTEN="+r.admin,
		"AMLPROXY_SESSION_REFRESH=5s", "AMLPROXY_LOG_LEVEL=error", "AMLPROXY_DRAIN_DELAY=0s"), "serve")
	ready(t, http.DefaultClient, public+"/readyz")

	total := soak.Time(t, many(3*time.Minute, 5*time.Second))
	ctx, cancel := context.WithTimeout(t.Context(), total)
	defer cancel()
	var all sync.WaitGroup
	var answered, failed, logins, rotations atomic.Int64
	every := func(d time.Duration, what func(n int)) {
		all.Go(func() {
			tick := time.NewTicker(d)
			defer tick.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				what(n)
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	const callers = 10
	for i := range callers {
		var person *http.Client
		every(callers*time.Second/200, func(n int) {
			if n%200 == 0 { // every 10 s another session
				if person != nil {
					if resp, err := person.Get(public + "/oauth2/sign_out?rd=/livez"); err == nil {
						_ = resp.Body.Close()
					}
					person.CloseIdleConnections()
				}
				person = signedIn(t, public, w.People[i%len(w.People)])
				person.Transport = &http.Transport{}
				logins.Add(1)
			}
			m := w.Models[n%len(w.Models)]
			resp, err := person.Post(public+"/models/"+m.Name(), "application/json", strings.NewReader(string(m.Sample())))
			answered.Add(1)
			if err != nil {
				failed.Add(1)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode >= 400 && resp.StatusCode != http.StatusForbidden {
				failed.Add(1)
			}
		})
	}
	every(4*time.Second, func(n int) {
		if n > 0 {
			demo.Rotate(w.Models[n%len(w.Models)].Scoring, n)
			rotations.Add(1)
		}
	})
	early := time.NewTimer(total / 5)
	defer early.Stop()
	<-early.C
	begin := r.state(t)
	<-ctx.Done()
	end := r.state(t)
	all.Wait()
	drift := float64(end.rss-begin.rss) / float64(begin.rss) * 100
	long := total >= 10*time.Minute // a heap takes minutes to find its size
	grown := drift > 20 || long && drift > 5 || end.fds-begin.fds > 10 || end.goroutines-begin.goroutines > 50
	if failed.Load() > 0 || soak.On() && grown { // in seconds everything grows still
		t.Errorf("%d failed, %+v, then %+v", failed.Load(), begin, end)
	}
	soak.Note(t, "F48", fmt.Sprintf("%v at 200 requests/s: %d requests, %d logins, %d rotations", total, answered.Load(), logins.Load(), rotations.Load()),
		"0 failed; drift: RSS <= 5 % (in 1 h), fds +-10, goroutines +-50",
		fmt.Sprintf("%d failed; RSS %s %+.1f %%, fds %d %+d, goroutines %d %+d", failed.Load(), mib(end.rss), drift, end.fds, end.fds-begin.fds, end.goroutines, end.goroutines-begin.goroutines))
}

// TestSoakIdleIsClosed: an idle connection ends after IDLE_TIMEOUT, 90 s if nobody
// says otherwise.
func TestSoakIdleIsClosed(t *testing.T) {
	t.Parallel()
	wanted := time.Second
	var environ []string
	if soak.On() {
		wanted = 90 * time.Second
	} else {
		environ = []string{"AMLPROXY_IDLE_TIMEOUT=1s"}
	}
	r := newRig(t, func(http.ResponseWriter, *http.Request) {}, environ...)
	c := r.dial(t, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	begun := time.Now()
	_ = c.SetReadDeadline(begun.Add(3 * time.Minute))
	_, err := io.Copy(io.Discard, c)
	took := time.Since(begun)
	if err != nil || took < wanted || soak.On() && took > 120*time.Second {
		t.Errorf("%v after %v", err, took)
	}
	soak.Note(t, "F32", "a connection idles", "closed after 60-120 s", fmt.Sprintf("closed after %.0f s", took.Seconds()))
}
