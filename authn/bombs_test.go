package authn_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
)

// TestProviderThatSendsTooMuch: F04. A key set of 256 MiB, or 512 MiB from a few
// kilobytes of gzip, took hundreds of MiB of other proxies. What is read is capped
// after decompression, and nobody is signed in by it.
func TestProviderThatSendsTooMuch(t *testing.T) {
	spaces := bytes.Repeat([]byte(" "), 1<<20)
	var member bytes.Buffer // of a gzip stream; many of them are one, too
	z := gzip.NewWriter(&member)
	_, _ = z.Write(spaces)
	_ = z.Close()
	for _, endpoint := range []authntest.Endpoint{authntest.Discovery, authntest.Keys, authntest.TokenEndpoint, authntest.UserInfo} {
		for encoding, bomb := range map[string]struct {
			piece []byte
			times int
		}{"": {spaces, 256}, "gzip": {member.Bytes(), 512}} {
			t.Run(string(endpoint)+" "+encoding, func(t *testing.T) {
				s := newSite(t, siteOptions{})
				var sent atomic.Int64
				s.provider.Misbehave(authntest.Answer(endpoint, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					if encoding != "" {
						w.Header().Set("Content-Encoding", encoding)
					}
					for range bomb.times {
						n, err := w.Write(bomb.piece)
						sent.Add(int64(n))
						if err != nil {
							return
						}
					}
				}))
				s.provider.Misbehave(authntest.AlterIDToken(func(t *authntest.Token) { delete(t.Claims, "email") })) // userinfo is asked
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				answer, err := authntest.SignIn(t.Context(), s.browser(t), s.url+"/oauth2/start", "alice", "pw")
				runtime.ReadMemStats(&after)
				if err == nil {
					_ = answer.Body.Close()
				}
				if err == nil && answer.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("answer %s", answer.Status)
				}
				if sent.Load() == 0 {
					t.Error("nothing was sent")
				}
				// All that was allocated meanwhile, the provider's own part included.
				if grown := (after.TotalAlloc - before.TotalAlloc) >> 20; grown > 24 {
					t.Errorf("%d MiB were allocated", grown)
				}
				if encoding == "" && sent.Load() > 32<<20 {
					t.Errorf("%d MiB were sent", sent.Load()>>20)
				}
			})
		}
	}
}

// TestProviderThatHangsDuringASignIn: F02, F03. Every call ends after 15 s, the body
// included; the browser is answered by then and loses nothing, and other people do
// not wait at all.
func TestProviderThatHangsDuringASignIn(t *testing.T) {
	for _, endpoint := range []authntest.Endpoint{authntest.Discovery, authntest.Keys, authntest.TokenEndpoint, authntest.UserInfo} {
		for name, fault := range map[string]authntest.Fault{
			"silence": authntest.Hang(endpoint), "trickle": authntest.Trickle(endpoint, 200*time.Millisecond),
		} {
			t.Run(string(endpoint)+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					defer time.Sleep(time.Minute) // all that hangs is given up
					hangs(t, endpoint, fault, endpoint == authntest.TokenEndpoint && name == "trickle")
				})
			})
		}
	}
}

// hangs does it. spent says that the code is: the provider answered, and nobody could
// read it.
func hangs(t *testing.T, endpoint authntest.Endpoint, fault authntest.Fault, spent bool) {
	w := newWorld(t, 1)
	s := w.replicas[0]
	var known *http.Request
	if endpoint == authntest.TokenEndpoint || endpoint == authntest.UserInfo { // what others need is there
		w.signIn(t)
		known = w.cookies(t)
		w.browser = w.newBrowser(t)
	}
	undo := w.provider.Misbehave(fault)
	w.provider.Misbehave(authntest.AlterIDToken(func(t *authntest.Token) { delete(t.Claims, "email") })) // userinfo is asked
	begun, address := time.Now(), ""
	if answer, err := authntest.SignIn(t.Context(), w.browser, partyURL+"/oauth2/start", "alice", "pw"); err == nil {
		_ = answer.Body.Close()
		address = answer.Request.URL.String()
	}
	wantError(t, s.lastFailure(t), authn.ErrUnavailable)
	if waited := time.Since(begun); waited < 14*time.Second || waited > 15*time.Second {
		t.Errorf("waited %v", waited)
	}
	if known != nil {
		before := time.Now()
		served(t, ask(s.sessions, known, 5)(), false)
		if waited := time.Since(before); waited > 0 {
			t.Errorf("who is signed in waited %v", waited)
		}
	}
	undo()
	time.Sleep(5 * time.Second)
	if strings.HasPrefix(address, partyURL+"/oauth2/callback") {
		again := must(w.browser.Get(address))(t)
		_ = again.Body.Close()
		switch {
		case again.StatusCode == http.StatusOK:
			return
		case !spent || again.StatusCode != http.StatusForbidden:
			t.Errorf("the same answer again: %s", again.Status)
		}
	}
	w.signIn(t)
}
