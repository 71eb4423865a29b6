package azureml_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
	"amlproxy/upstream/azuremltest"
)

const (
	authorityToken = "authority token"
)

// hourly runs f in a bubble against an Azure that lives in the same time. What
// starts a host there, f has done outside of the bubble.
func hourly(t *testing.T, o azuremltest.Options, f func(*testing.T, *azuremltest.Azure, *bubbleClock, outside)) {
	t.Helper()
	clock := newBubbleClock()
	o.Clock = clock
	a := startAzure(t, o)
	out := outside{make(chan func()), make(chan struct{})}
	go func() {
		for work := range out.work {
			work()
			out.done <- struct{}{}
		}
	}()
	defer close(out.work)
	synctest.Test(t, func(t *testing.T) { f(t, a, clock, out) })
}

// outside is a goroutine outside of the bubble.
type outside struct {
	work chan func()
	done chan struct{}
}

func (o outside) do(work func()) {
	o.work <- work
	<-o.done
}

// add adds an endpoint to the Azure.
func (o outside) add(t *testing.T, add func() (*azuremltest.Scoring, error)) (s *azuremltest.Scoring) {
	t.Helper()
	var err error
	o.do(func() { s, err = add() })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKeysAreListedAgainOnlyAfterARejection(t *testing.T) {
	hourly(t, azuremltest.Options{EntraLifetime: 24 * time.Hour}, func(t *testing.T, a *azuremltest.Azure, clock *bubbleClock, out outside) {
		out.add(t, func() (*azuremltest.Scoring, error) {
			return a.AddService(azuremltest.Service{Name: "m", Compute: azuremltest.AKS, Model: model})
		})
		s := open(t, config(t, a)).Service("m", azureml.Auto)
		lease := fetch(t, s, nil)
		a.ResetCalls()
		if got := time.Until(lease.Refresh); got != time.Hour || !lease.Expires.IsZero() {
			t.Errorf("refresh in %s, expires %s", got, lease.Expires)
		}

		clock.pass(50 * time.Minute)
		lease = fetch(t, s, lease)
		wantCalls(t, a, map[string]int{})

		clock.pass(10 * time.Minute)
		lease = fetch(t, s, lease)
		wantCalls(t, a, map[string]int{"get service/m": 1})
		if got := time.Until(lease.Refresh); got != time.Hour {
			t.Errorf("refresh in %s after another look", got)
		}

		fetch(t, s, nil)
		wantCalls(t, a, map[string]int{"get service/m": 1, "listkeys service/m": 1})
	})
}

func TestATokenIsFetchedWhenItIsDueAndTheEndpointIsNotAskedForIt(t *testing.T) {
	hourly(t, azuremltest.Options{EntraLifetime: 24 * time.Hour}, func(t *testing.T, a *azuremltest.Azure, clock *bubbleClock, out outside) {
		scoring := out.add(t, func() (*azuremltest.Scoring, error) {
			return a.AddEndpoint(azuremltest.Endpoint{Name: "m", Auth: azuremltest.Token, Model: model})
		})
		scoring.Behave(azuremltest.Behaviour{TokenLifetime: 2 * time.Hour, TokenRefresh: 30 * time.Minute})
		s := open(t, config(t, a)).Endpoint("m", "", azureml.Auto)
		lease := fetch(t, s, nil)
		a.ResetCalls()
		if time.Until(lease.Refresh) != 30*time.Minute || time.Until(lease.Expires) != 2*time.Hour {
			t.Errorf("refresh %s, expires %s", lease.Refresh, lease.Expires)
		}

		clock.pass(20 * time.Minute)
		same := fetch(t, s, lease)
		wantCalls(t, a, map[string]int{})
		if !same.Primary.Equal(lease.Primary) {
			t.Error("another token before it was due")
		}

		clock.pass(10 * time.Minute)
		next := fetch(t, s, same)
		wantCalls(t, a, map[string]int{"token endpoint/m": 1})
		if next.Primary.Equal(lease.Primary) {
			t.Error("the same token")
		}

		clock.pass(30 * time.Minute) // an hour after the look
		fetch(t, s, next)
		wantCalls(t, a, map[string]int{"get endpoint/m": 1, "token endpoint/m": 1})
	})
}

func TestAnEntraTokenIsRenewedBeforeItExpires(t *testing.T) {
	hourly(t, azuremltest.Options{EntraLifetime: time.Hour, EntraRefresh: 30 * time.Minute}, func(t *testing.T, a *azuremltest.Azure, clock *bubbleClock, out outside) {
		out.add(t, func() (*azuremltest.Scoring, error) {
			return a.AddEndpoint(azuremltest.Endpoint{Name: "m", Auth: azuremltest.Entra, Model: model})
		})
		s := open(t, config(t, a)).Endpoint("m", "", azureml.Auto)
		lease := fetch(t, s, nil)
		a.ResetCalls()
		if got := time.Until(lease.Refresh).Round(time.Minute); got != 30*time.Minute {
			t.Errorf("refresh in %s", got)
		}
		clock.pass(31 * time.Minute)
		next := fetch(t, s, lease)
		wantCalls(t, a, map[string]int{authorityToken: 1})
		if next.Primary.Equal(lease.Primary) || !next.Expires.After(lease.Expires) {
			t.Error("not renewed")
		}
	})
}

func TestATokenIsRenewedWhileTheEndpointCannotBeLookedAt(t *testing.T) {
	hourly(t, azuremltest.Options{EntraLifetime: time.Hour}, func(t *testing.T, a *azuremltest.Azure, clock *bubbleClock, out outside) {
		out.add(t, func() (*azuremltest.Scoring, error) {
			return a.AddEndpoint(azuremltest.Endpoint{Name: "m", Auth: azuremltest.Entra, Model: model})
		})
		s := open(t, config(t, a)).Endpoint("m", "", azureml.Auto)
		lease := fetch(t, s, nil)
		a.Fail("arm", azuremltest.Fault{Status: http.StatusServiceUnavailable})
		for range 5 {
			clock.pass(time.Hour)
			next := fetch(t, s, lease)
			if next.Primary.Equal(lease.Primary) || !next.Expires.After(time.Now()) {
				t.Fatal("not renewed")
			}
			if time.Until(next.Refresh) > time.Minute {
				t.Error("no early second look")
			}
			lease = next
			clock.pass(time.Minute)
			if _, err := s.Fetch(t.Context(), lease); err == nil {
				t.Error("a failed look with nothing else to do was hidden")
			}
		}
		a.Fail("arm", azuremltest.Fault{Status: http.StatusNotFound}) // gone is gone
		clock.pass(time.Hour)
		if _, err := s.Fetch(t.Context(), lease); err == nil {
			t.Error("a token for an endpoint that is gone")
		}
	})
}

func TestAChangedModeOrAddressTakesANewCredential(t *testing.T) {
	hourly(t, azuremltest.Options{EntraLifetime: 24 * time.Hour}, func(t *testing.T, a *azuremltest.Azure, clock *bubbleClock, out outside) {
		scoring := out.add(t, func() (*azuremltest.Scoring, error) {
			return a.AddEndpoint(azuremltest.Endpoint{Name: "m", Model: model})
		})
		cfg := config(t, a)
		s := open(t, cfg).Endpoint("m", "", azureml.Auto)
		lease := fetch(t, s, nil)
		for _, step := range []struct {
			change func() error
			kind   upstream.Kind
			calls  map[string]int
		}{
			{scoring.Move, upstream.Key, map[string]int{"get endpoint/m": 1, "listkeys endpoint/m": 1}},
			{func() error { return scoring.SetAuth(azuremltest.Token) }, upstream.Token, map[string]int{"get endpoint/m": 1, "token endpoint/m": 1}},
			{func() error { return scoring.SetAuth(azuremltest.Entra) }, upstream.Entra, map[string]int{"get endpoint/m": 1, authorityToken: 1}},
			{func() error { return scoring.SetAuth(azuremltest.Key) }, upstream.Key, map[string]int{"get endpoint/m": 1, "listkeys endpoint/m": 1}},
		} {
			a.ResetCalls()
			out.add(t, func() (*azuremltest.Scoring, error) { return nil, step.change() })
			clock.pass(time.Hour)
			lease = fetch(t, s, lease)
			if lease.Kind != step.kind || score(t, cfg.Client, lease) != http.StatusOK {
				t.Errorf("%+v does not score", lease)
			}
			wantCalls(t, a, step.calls)
		}
	})
}

func TestALeaseOfSomebodyElseIsNotKept(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	must(a.AddEndpoint(azuremltest.Endpoint{Name: "m", Model: model}))(t)
	w := open(t, config(t, a))
	lease := fetch(t, w.Endpoint("m", "", azureml.Auto), nil)
	a.ResetCalls()
	fetch(t, w.Endpoint("m", "", azureml.Auto), lease) // another source has not looked yet
	wantCalls(t, a, map[string]int{"get endpoint/m": 1, "listkeys endpoint/m": 1})
}

func TestHostsAndIdentityAreAskedOnceForAllRoutes(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	must(a.AddService(azuremltest.Service{Name: "m", Compute: azuremltest.AKS, Model: model}))(t)
	w := open(t, config(t, a))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := w.Service("m", azureml.Auto).Fetch(t.Context(), nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantCalls(t, a, map[string]int{authorityToken: 1, "workspace": 1, "discovery": 1, "get service/m": 20, "listkeys service/m": 20})
}
