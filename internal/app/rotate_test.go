package app_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"amlproxy/internal/app"
	"amlproxy/upstream/azureml"
	"amlproxy/upstream/azuremltest"
)

// A transcript is what a rotation said.
type transcript struct {
	mu    sync.Mutex
	lines []string
	on    map[string]func() // called at a line that begins so
}

func (s *transcript) say(line string) {
	s.mu.Lock()
	s.lines = append(s.lines, line)
	s.mu.Unlock()
	for begin, do := range s.on {
		if strings.HasPrefix(line, begin) {
			do()
		}
	}
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// rotate rotates with a short pause.
func (o *office) rotate(ctx context.Context, t *testing.T, route string, how app.Rotation) (*transcript, error) {
	t.Helper()
	said := &transcript{}
	if how.Say == nil {
		how.Say = said.say
	}
	if how.Pause == 0 {
		how.Pause = 200 * time.Millisecond
	}
	err := o.desk(t).Rotate(ctx, route, 1, how)
	primary, secondary := o.byName[route].Keys()
	if text := said.String(); strings.Contains(text, primary) || strings.Contains(text, secondary) {
		t.Errorf("a key was printed:\n%s", text)
	}
	if err != nil && (strings.Contains(err.Error(), primary) || strings.Contains(err.Error(), secondary)) {
		t.Errorf("a key is in: %v", err)
	}
	return said, err
}

// regenerated counts.
func (o *office) regenerated() int {
	n := 0
	for op, times := range o.azure.Calls() {
		if strings.HasPrefix(op, "regenerate ") {
			n += times
		}
	}
	return n
}

// wantKeys checks which keys of a route are new.
func wantKeys(t *testing.T, s *azuremltest.Scoring, oldPrimary, oldSecondary string, primaryIsNew, secondaryIsNew bool) {
	t.Helper()
	primary, secondary := s.Keys()
	if (primary != oldPrimary) != primaryIsNew || (secondary != oldSecondary) != secondaryIsNew {
		t.Errorf("%s: primary new: %t, secondary new: %t", s.Name(), primary != oldPrimary, secondary != oldSecondary)
	}
}

// What keys rotate is for: a proxy under load, both keys regenerated, nobody
// notices; and the rotation itself scores nothing.
func TestKeysAreRotatedUnderLoadWithoutAFailedRequest(t *testing.T) {
	o := newOffice(t)
	r := run(t, o.environ)
	e := &estate{azure: o.azure, url: r.url, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}}}
	defer func() {
		r.stop()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		e.client.CloseIdleConnections()
	}()
	pauses := map[string]time.Duration{"aci": 50 * time.Millisecond, "aks": 300 * time.Millisecond, "online": 300 * time.Millisecond, "serverless": 50 * time.Millisecond}
	o.byName["aks"].Behave(azuremltest.Behaviour{AsyncPolls: 1})
	for route, pause := range pauses {
		s := o.byName[route]
		until(t, route+" is served", func() bool { status, _ := e.post(t, s, 1000); return status == http.StatusOK })
		answered, posts := e.answered.Load(), s.Posts()
		primary, secondary := s.Keys()
		o.azure.ResetCalls()

		end := e.load(t, thePace(), s)
		until(t, "under load", func() bool { return s.Posts() > posts+20 })
		said, err := o.rotate(t.Context(), t, route, app.Rotation{Pause: pause})
		scored := s.Posts()
		until(t, "load after it", func() bool { return s.Posts() > scored+50 })
		end()

		if err != nil {
			t.Errorf("%s: %v\n%s", route, err, said)
		}
		wantKeys(t, s, primary, secondary, true, true)
		if n := o.regenerated(); n != 2 {
			t.Errorf("%s: %d keys were made", route, n)
		}
		if made, sent := s.Posts()-posts, e.answered.Load()-answered; int64(made) != sent {
			t.Errorf("%s: %d POSTs reached the model for %d requests", route, made, sent)
		}
	}
	e.verdict(t, 0)
	t.Logf("%d requests, %d failed", e.answered.Load(), e.bad.Load())
}

func TestARotationSaysWhatItDoes(t *testing.T) {
	o := newOffice(t)
	said, err := o.rotate(t.Context(), t, "online", app.Rotation{})
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, line := range strings.Split(said.String(), "\n") {
		steps = append(steps, strings.Join(strings.Fields(line)[:3], " "))
	}
	want := "endpoint online at|the endpoint accepts|regenerating the secondary|the secondary key|waiting 200ms, so|" +
		"the endpoint accepts|regenerating the primary|the primary key|the endpoint accepts|done: both keys"
	if got := strings.Join(steps, "|"); got != want {
		t.Errorf("said %s\nwant %s", got, want)
	}
}

// The key that would remain is looked at first: with a primary key that the
// endpoint refuses, the secondary must not be touched.
func TestNoKeyIsRegeneratedWhileTheOtherIsRefused(t *testing.T) {
	o := newOffice(t)
	s := o.byName["aci"]
	s.Behave(azuremltest.Behaviour{NewKeyDelay: time.Hour})
	s.RegenerateKey(azuremltest.Primary)
	primary, secondary := s.Keys()
	_, err := o.rotate(t.Context(), t, "aci", app.Rotation{})
	if err == nil || !strings.Contains(err.Error(), "the primary key …") || !strings.Contains(err.Error(), "the endpoint refuses it (no key was regenerated; it is safe to run this again)") {
		t.Error(err)
	}
	wantKeys(t, s, primary, secondary, false, false)

	s.Behave(azuremltest.Behaviour{})
	s.RegenerateKey(azuremltest.Primary)
	s.Behave(azuremltest.Behaviour{NewKeyDelay: time.Hour}) // now the new secondary will be refused
	primary, secondary = s.Keys()
	_, err = o.rotate(t.Context(), t, "aci", app.Rotation{})
	if err == nil || !strings.Contains(err.Error(), "the secondary key was regenerated, the primary was not") {
		t.Error(err)
	}
	wantKeys(t, s, primary, secondary, false, true)
}

func TestAnEndpointGetsTimeToAcceptANewKey(t *testing.T) {
	o := newOffice(t)
	s := o.byName["online"]
	s.Behave(azuremltest.Behaviour{NewKeyDelay: 300 * time.Millisecond})
	primary, secondary := s.Keys()
	refused := s.Refusals()
	if said, err := o.rotate(t.Context(), t, "online", app.Rotation{Pause: 2 * time.Second}); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	wantKeys(t, s, primary, secondary, true, true)
	if s.Refusals() < refused+2 { // the key made up, and the new primary at first
		t.Error("nothing had to be waited for")
	}
}

// The answer of a regeneration is lost, or says that it failed, and the key is
// another all the same: asking again would make a third one.
func TestALostAnswerMakesNoThirdKey(t *testing.T) {
	for name, fault := range map[string]azuremltest.Fault{
		"dropped":        {Times: 1, Drop: true, Performed: true},
		"500":            {Times: 1, Status: http.StatusInternalServerError, Performed: true},
		"503 and a time": {Times: 1, Status: http.StatusServiceUnavailable, RetryAfter: time.Second, Performed: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			for _, route := range []string{"aci", "online", "serverless"} {
				s := o.byName[route]
				primary, secondary := s.Keys()
				o.azure.ResetCalls()
				o.azure.Fail("regenerate", fault)
				said, err := o.rotate(t.Context(), t, route, app.Rotation{})
				if err != nil || !strings.Contains(said.String(), "looking whether it was") {
					t.Errorf("%s: %v\n%s", route, err, said)
				}
				wantKeys(t, s, primary, secondary, true, true)
				if n := o.regenerated(); n != 2 {
					t.Errorf("%s: %d calls", route, n)
				}
			}
		})
	}
}

func TestARefusedRegenerationChangesNothing(t *testing.T) {
	o := newOffice(t)
	const prefix = "Microsoft.MachineLearningServices/workspaces/"
	for route, action := range map[string]string{
		"aci": "services/aci/write", "aks": "services/aks/write",
		"online": "onlineEndpoints/regenerateKeys/action", "serverless": "serverlessEndpoints/regenerateKeys/action",
	} {
		o.azure.Deny(prefix + action)
		primary, secondary := o.byName[route].Keys()
		_, err := o.rotate(t.Context(), t, route, app.Rotation{})
		var e *azureml.Error
		if !errors.As(err, &e) || e.Status != http.StatusForbidden || e.Action != prefix+action ||
			!strings.Contains(e.Grant, "az role assignment create") || !strings.Contains(err.Error(), "no key was regenerated") {
			t.Errorf("%s: %v", route, err)
		}
		wantKeys(t, o.byName[route], primary, secondary, false, false)
	}
}

func TestAnInterruptedRotationCanBeRunAgain(t *testing.T) {
	for _, at := range []string{"the endpoint accepts", "regenerating the secondary", "waiting", "regenerating the primary"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			s := o.byName["aks"]
			if at == "regenerating the secondary" {
				s.Behave(azuremltest.Behaviour{AsyncPolls: 1})
			}
			ctx, interrupt := context.WithCancelCause(t.Context())
			said := &transcript{on: map[string]func(){at: func() { interrupt(errors.New("Ctrl-C")) }}}
			_, err := o.rotate(ctx, t, "aks", app.Rotation{Say: said.say})
			if err == nil || !strings.Contains(err.Error(), "it is safe to run this again") || strings.Contains(err.Error(), "may have") {
				t.Errorf("%v\n%s", err, said)
			}
			s.Behave(azuremltest.Behaviour{})
			primary, secondary := s.Keys()
			if _, err := o.rotate(t.Context(), t, "aks", app.Rotation{}); err != nil {
				t.Error(err)
			}
			wantKeys(t, s, primary, secondary, true, true)
		})
	}
}

func TestTwoWhoRotateAtOnceDoNotTakeEachOthersKey(t *testing.T) {
	for _, which := range []azuremltest.KeyType{azuremltest.Primary, azuremltest.Secondary} {
		o := newOffice(t)
		s := o.byName["online"]
		said := &transcript{on: map[string]func(){"waiting": func() { s.RegenerateKey(which) }}}
		_, err := o.rotate(t.Context(), t, "online", app.Rotation{Say: said.say})
		if err == nil || !strings.Contains(err.Error(), "somebody else") {
			t.Errorf("%s: %v", which, err)
		}
		if n := o.regenerated(); n != 1 {
			t.Errorf("%s: %d keys were made", which, n)
		}
	}
}

// An endpoint that closes the connection on a wrong key tells nothing about the
// right one.
func TestARotationThatCannotCheckStopsUnlessTold(t *testing.T) {
	o := newOffice(t)
	s := o.byName["aci"]
	s.Behave(azuremltest.Behaviour{Refusal: azuremltest.CloseUnread})
	primary, secondary := s.Keys()
	_, err := o.rotate(t.Context(), t, "aci", app.Rotation{})
	if err == nil || !strings.Contains(err.Error(), "nothing harmless tells") || !strings.Contains(err.Error(), "no key was regenerated") {
		t.Error(err)
	}
	wantKeys(t, s, primary, secondary, false, false)
	said, err := o.rotate(t.Context(), t, "aci", app.Rotation{Unchecked: true})
	if err != nil || !strings.Contains(fmt.Sprint(said), "going on unchecked") {
		t.Errorf("%v\n%s", err, said)
	}
	wantKeys(t, s, primary, secondary, true, true)
}
