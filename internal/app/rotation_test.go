package app_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"amlproxy/internal/soak"
	"amlproxy/upstream/azuremltest"
)

// pace is how hard a test drives the proxy. make soak sets SOAK to a rate and a
// time that would be too much beside other tests.
type pace struct {
	perSecond int
	calm      time.Duration // between two events
}

func thePace() pace {
	if soak.On() {
		return pace{perSecond: 1000, calm: 3 * time.Second}
	}
	return pace{perSecond: 200, calm: 600 * time.Millisecond}
}

// An estate is an Azure with one endpoint of each kind, and a proxy with public
// routes to them.
type estate struct {
	azure         *azuremltest.Azure
	key, pair     *azuremltest.Scoring // ACI, online endpoint
	token, entra  *azuremltest.Scoring // AKS, online endpoint
	url           string
	stop          func()
	client        *http.Client
	begun         atomic.Int64 // by load
	answered, bad atomic.Int64
	firstBad      atomic.Pointer[string]
}

func newEstate(t *testing.T) *estate {
	t.Helper()
	e := &estate{}
	var err error
	if e.azure, err = azuremltest.Start(azuremltest.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.azure.Close() })
	model := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "scored %d bytes", n)
	})
	add := func(s *azuremltest.Scoring, err error) *azuremltest.Scoring {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	e.key = add(e.azure.AddService(azuremltest.Service{Name: "key", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: model}))
	e.token = add(e.azure.AddService(azuremltest.Service{Name: "token", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: model}))
	e.pair = add(e.azure.AddEndpoint(azuremltest.Endpoint{Name: "pair", Auth: azuremltest.Key, Model: model}))
	e.entra = add(e.azure.AddEndpoint(azuremltest.Endpoint{Name: "entra", Auth: azuremltest.Entra, Model: model}))

	dir := t.TempDir()
	ca, routes := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "routes.yaml")
	var yaml strings.Builder
	yaml.WriteString("routes:\n")
	for _, route := range []string{"key, service: key", "token, service: token", "pair, endpoint: pair", "entra, endpoint: entra"} {
		fmt.Fprintf(&yaml, "  - {name: %s, public: true, max_body: 2GiB}\n", route)
	}
	for file, content := range map[string][]byte{ca: e.azure.CAPEM(), routes: []byte(yaml.String())} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := run(t, append(e.azure.Environ(), "AMLPROXY_CA_FILE="+ca, "AMLPROXY_ROUTES_FILE="+routes))
	e.url = r.url
	e.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}}
	e.stop = func() {
		r.stop()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		e.client.CloseIdleConnections()
	}
	for _, s := range []*azuremltest.Scoring{e.key, e.token, e.pair, e.entra} {
		until(t, s.Name()+" is served", func() bool { status, _ := e.post(t, s, 10); return status == http.StatusOK })
	}
	return e
}

// post calls a model with a body of so many bytes.
func (e *estate) post(t *testing.T, s *azuremltest.Scoring, size int) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.url+"/models/"+s.Name(), bytes.NewReader(make([]byte, size)))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// load calls s at the pace until the returned function is called.
func (e *estate) load(t *testing.T, p pace, s *azuremltest.Scoring) (end func()) {
	t.Helper()
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(p.perSecond))
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				e.begun.Add(1)
				all.Go(func() { e.note(e.post(t, s, 1000)) })
			}
		}
	})
	return func() { close(done); all.Wait() }
}

func (e *estate) note(status int, body string) {
	e.answered.Add(1)
	if status != http.StatusOK || body != "scored 1000 bytes" {
		e.bad.Add(1)
		what := fmt.Sprint(status, " ", body)
		e.firstBad.CompareAndSwap(nil, &what)
	}
}

func (e *estate) verdict(t *testing.T, most int64) {
	t.Helper()
	if bad := e.bad.Load(); bad > most {
		t.Errorf("%d of %d requests failed, at most %d may; the first: %s", bad, e.answered.Load(), most, *e.firstBad.Load())
	}
}

// settled waits until s refused something, then until it serves again, and then
// until whoever called meanwhile has an answer: a request survives one rotation in
// its life, and on a slow machine those that waited take their time.
func (e *estate) settled(t *testing.T, s *azuremltest.Scoring, event func()) {
	t.Helper()
	refused := s.Refusals()
	event()
	until(t, "the old credential is refused", func() bool { return s.Refusals() > refused })
	posts := s.Posts()
	until(t, "it is served again", func() bool { return s.Posts() > posts+20 })
	begun := e.begun.Load()
	until(t, "all who called have an answer", func() bool { return e.answered.Load() >= begun })
}

// Done when 1: keys and tokens are taken away under load, the workspace takes
// 300 ms to answer, and nobody notices; each event costs one call.
func TestRotationUnderLoadIsNoticedByNobody(t *testing.T) {
	e := newEstate(t)
	defer e.stop()
	for _, op := range []string{"listkeys", "token", "get"} {
		e.azure.Fail(op, azuremltest.Fault{Delay: 300 * time.Millisecond})
	}
	p := thePace()
	for _, row := range []struct {
		scoring *azuremltest.Scoring
		op      string
		events  []func()
	}{
		{e.key, "listkeys service/key", keyEvents(e.key)},
		{e.pair, "listkeys endpoint/pair", keyEvents(e.pair)},
		{e.token, "token service/token", []func(){e.token.RevokeTokens, e.token.RevokeTokens, e.token.RevokeTokens}},
		{e.entra, "get endpoint/entra", []func(){e.entra.RevokeTokens, e.entra.RevokeTokens, e.entra.RevokeTokens}},
	} {
		t.Run(row.op, func(t *testing.T) {
			e.azure.ResetCalls()
			end := e.load(t, p, row.scoring)
			for _, event := range row.events {
				time.Sleep(p.calm)
				e.settled(t, row.scoring, event)
			}
			time.Sleep(p.calm)
			end()
			if n := e.azure.Calls()[row.op]; n != len(row.events) {
				t.Errorf("%d calls of %q for %d events", n, row.op, len(row.events))
			}
			e.verdict(t, 0)
		})
	}
	soak.Note(t, "F17", fmt.Sprintf("credentials of 4 endpoints taken away, 12 times, at %d requests/s (F19 too)", p.perSecond), "0 seen by callers, one call an event", fmt.Sprintf("%d of %d failed", e.bad.Load(), e.answered.Load()))
}

// keyEvents regenerate the primary, the secondary (which nobody uses then: it is
// regenerated together with the primary, or nothing would happen), and both.
func keyEvents(s *azuremltest.Scoring) []func() {
	return []func(){
		func() { s.RegenerateKey(azuremltest.Primary) },
		func() { s.RegenerateKey(azuremltest.Secondary); s.RegenerateKey(azuremltest.Primary) },
		func() { s.RegenerateKey(azuremltest.Both) },
	}
}

// F18: the key that is not in use.
func TestTheOtherKeyMayBeRegeneratedUnseen(t *testing.T) {
	e := newEstate(t)
	defer e.stop()
	e.azure.ResetCalls()
	e.key.RegenerateKey(azuremltest.Secondary)
	for range 50 {
		e.note(e.post(t, e.key, 1000))
	}
	e.verdict(t, 0)
	if calls := e.azure.Calls(); len(calls) != 0 {
		t.Errorf("the workspace was asked: %v", calls)
	}
}

// Done when 4: the mode flips and the address changes under load.
func TestModeAndAddressMayChangeUnderLoad(t *testing.T) {
	e := newEstate(t)
	defer e.stop()
	p := thePace()
	end := e.load(t, p, e.pair)
	for _, event := range []func() error{
		func() error { return e.pair.SetAuth(azuremltest.Token) },
		func() error { return e.pair.SetAuth(azuremltest.Entra) },
		e.pair.Move,
		func() error { return e.pair.SetAuth(azuremltest.Key) },
	} {
		time.Sleep(p.calm)
		e.settled(t, e.pair, func() {
			if err := event(); err != nil {
				t.Error(err)
			}
		})
	}
	end()
	e.verdict(t, 0)
	soak.Note(t, "F17", fmt.Sprintf("mode changed three times and address once, at %d requests/s", p.perSecond), "0 seen by callers", fmt.Sprintf("%d of %d failed", e.bad.Load(), e.answered.Load()))
}

// Each way in which the fake Azure is unkind, and what it may cost.
func TestUnkindness(t *testing.T) {
	const requests = 40
	for name, row := range map[string]struct {
		manner azuremltest.Behaviour
		event  func(*azuremltest.Scoring)
		failed int64 // requests that may fail
		posts  int   // that reach the model, at most
	}{
		"100 first, then 401":       {azuremltest.Behaviour{Refusal: azuremltest.ContinueThenRefuse}, both, 0, requests},
		"reads all, then 401":       {azuremltest.Behaviour{Refusal: azuremltest.ReadThenRefuse}, both, 0, requests},
		"401, then closes":          {azuremltest.Behaviour{Refusal: azuremltest.RefuseThenClose}, both, 0, requests},
		"authenticates after 2 s":   {azuremltest.Behaviour{AuthDelay: 2 * time.Second}, both, 0, requests},
		"new key accepted in 3 s":   {azuremltest.Behaviour{NewKeyDelay: 3 * time.Second}, primary, 8, requests},
		"both keys, at once":        {azuremltest.Behaviour{}, both, 0, requests},
		"model's own answer is 401": {azuremltest.Behaviour{ModelAnswers401: true}, func(*azuremltest.Scoring) {}, requests, 2 * requests},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEstate(t)
			defer e.stop()
			e.key.Behave(row.manner)
			e.azure.ResetCalls()
			before := e.key.Posts()
			row.event(e.key)
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for range requests / 8 {
						e.note(e.post(t, e.key, 1000))
					}
				})
			}
			all.Wait()
			e.verdict(t, row.failed)
			if n := e.key.Posts() - before; n > row.posts {
				t.Errorf("%d POSTs reached the model for %d requests", n, requests)
			}
			if n := e.azure.Calls()["listkeys service/key"]; n > 2 {
				t.Errorf("the workspace was asked %d times", n)
			}
			soak.Note(t, "F17", "an unkind endpoint: "+name, fmt.Sprintf("at most %d of %d failed, %d POSTs, 2 fetches", row.failed, requests, row.posts),
				fmt.Sprintf("%d failed, %d POSTs, %d fetches", e.bad.Load(), e.key.Posts()-before, e.azure.Calls()["listkeys service/key"]))
		})
	}
}

func both(s *azuremltest.Scoring)    { s.RegenerateKey(azuremltest.Both) }
func primary(s *azuremltest.Scoring) { s.RegenerateKey(azuremltest.Primary) }

// Done when 3: every key revoked, 2,000 requests at once.
func TestARevokedCredentialCostsOneFetch(t *testing.T) {
	e := newEstate(t)
	defer e.stop()
	e.key.Behave(azuremltest.Behaviour{NewKeyDelay: time.Hour}) // whatever the workspace lists is refused
	both(e.key)
	e.azure.ResetCalls()
	requests, refused := 2000, e.key.Refusals()
	if thePace().perSecond < 1000 {
		requests = 400
	}
	var all sync.WaitGroup
	var wrong atomic.Int64
	gate := make(chan struct{})
	for range requests {
		all.Go(func() {
			<-gate
			if status, body := e.post(t, e.key, 1000); status != http.StatusBadGateway || !strings.Contains(body, "credential-rejected") {
				wrong.Add(1)
				e.firstBad.Store(&body)
			}
		})
	}
	close(gate)
	all.Wait()
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d of %d requests got something else than 502: %s", n, requests, *e.firstBad.Load())
	}
	if n := e.azure.Calls()["listkeys service/key"]; n > 2 {
		t.Errorf("%d fetches for %d requests at once", n, requests)
	}
	if n := e.key.Refusals() - refused; n > 2*requests {
		t.Errorf("the endpoint was asked %d times for %d requests", n, requests)
	}
	soak.Note(t, "F20", fmt.Sprintf("a credential revoked for ever, %d requests at once", requests), "502, <= 2 requests each, <= 2 fetches",
		fmt.Sprintf("%d asked, %d fetches", e.key.Refusals()-refused, e.azure.Calls()["listkeys service/key"]))
}

// A large upload meets each way of refusing: it arrives whole or is answered 503,
// and the next one arrives.
func TestALargeUploadThroughA401(t *testing.T) {
	size := 8 << 20
	for name, how := range map[string]azuremltest.Refusal{
		"before the body": azuremltest.Refuse, "after 100 Continue": azuremltest.ContinueThenRefuse,
		"401 and closes": azuremltest.RefuseThenClose, "closes without a word": azuremltest.CloseUnread,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEstate(t)
			defer e.stop()
			e.key.Behave(azuremltest.Behaviour{Refusal: how})
			both(e.key)
			status, body := e.post(t, e.key, size)
			if status != http.StatusServiceUnavailable && (status != http.StatusOK || body != fmt.Sprintf("scored %d bytes", size)) {
				t.Errorf("got %d %s", status, body)
			}
			if status, body := e.post(t, e.key, size); status != http.StatusOK || body != fmt.Sprintf("scored %d bytes", size) {
				t.Errorf("the next upload got %d %s", status, body)
			}
		})
	}
}

// F14, F15: the workspace is away while credentials are valid.
func TestAnOutageOfTheWorkspaceIsNotNoticed(t *testing.T) {
	e := newEstate(t)
	defer e.stop()
	for _, host := range []string{"authority", "arm", "modelmanagement"} {
		e.azure.Fail(host, azuremltest.Fault{Drop: true})
	}
	for range 100 {
		for _, s := range []*azuremltest.Scoring{e.key, e.token, e.pair, e.entra} {
			e.note(e.post(t, s, 1000))
		}
	}
	// The primary is regenerated meanwhile: the other key of the held pair serves.
	primary(e.key)
	for range 20 {
		e.note(e.post(t, e.key, 1000))
	}
	e.verdict(t, 0)
}
