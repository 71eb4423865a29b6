package azureml_test

import (
	"net/http"
	"net/url"
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

func TestEveryKindOfEndpointIsFoundByItsName(t *testing.T) {
	swagger := []byte(`{"swagger":"2.0"}`)
	for name, c := range map[string]struct {
		add    func(*azuremltest.Azure) (*azuremltest.Scoring, error)
		source func(*azureml.Workspace) upstream.Source
		kind   upstream.Kind
		calls  map[string]int
	}{
		"ACI without authentication": {
			add: func(a *azuremltest.Azure) (*azuremltest.Scoring, error) {
				return a.AddService(azuremltest.Service{Name: "m", Compute: azuremltest.ACI, Model: model, Swagger: swagger})
			},
			source: func(w *azureml.Workspace) upstream.Source { return w.Service("m", azureml.Auto) },
			kind:   upstream.None,
			calls:  map[string]int{"workspace": 1, "discovery": 1, "get service/m": 1, authorityToken: 1},
		},
		"ACI with a key": {
			add: func(a *azuremltest.Azure) (*azuremltest.Scoring, error) {
				return a.AddService(azuremltest.Service{Name: "m", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: model, Swagger: swagger})
			},
			source: func(w *azureml.Workspace) upstream.Source { return w.Service("m", "") },
			kind:   upstream.Key,
			calls:  map[string]int{"workspace": 1, "discovery": 1, "get service/m": 1, "listkeys service/m": 1, authorityToken: 1},
		},
		"AKS with a token": {
			add: func(a *azuremltest.Azure) (*azuremltest.Scoring, error) {
				return a.AddService(azuremltest.Service{Name: "m", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: model, Swagger: swagger})
			},
			source: func(w *azureml.Workspace) upstream.Source { return w.Service("m", azureml.Auto) },
			kind:   upstream.Token,
			calls:  map[string]int{"workspace": 1, "discovery": 1, "get service/m": 1, "token service/m": 1, authorityToken: 1},
		},
		"online endpoint with keys": {
			add: func(a *azuremltest.Azure) (*azuremltest.Scoring, error) {
				return a.AddEndpoint(azuremltest.Endpoint{Name: "m", Model: model, Swagger: swagger})
			},
			source: func(w *azureml.Workspace) upstream.Source { return w.Endpoint("m", "default", azureml.Auto) },
			kind:   upstream.Key,
			calls:  map[string]int{"get endpoint/m": 1, "listkeys endpoint/m": 1, authorityToken: 1},
		},
		"online endpoint with AMLToken": {
			add: func(a *azuremltest.Azure) (*azuremltest.Scoring, error) {
				return a.AddEndpoint(azuremltest.Endpoint{Name: "m", Auth: azuremltest.Token, Model: model, Swagger: swagger})
			},
			source: func(w *azureml.Workspace) upstream.Source { return w.Endpoint("m", "", azureml.Auto) },
			kind:   upstream.Token,
			calls:  map[string]int{"get endpoint/m": 1, "token endpoint/m": 1, authorityToken: 1},
		},
		"online endpoint with AADToken": {
			add: func(a *azuremltest.Azure) (*azuremltest.Scoring, error) {
				return a.AddEndpoint(azuremltest.Endpoint{Name: "m", Auth: azuremltest.Entra, Model: model, Swagger: swagger})
			},
			source: func(w *azureml.Workspace) upstream.Source { return w.Endpoint("m", "", azureml.Auto) },
			kind:   upstream.Entra,
			calls:  map[string]int{"get endpoint/m": 1, authorityToken: 2}, // one for ARM, one for scoring
		},
		"serverless endpoint": {
			add: func(a *azuremltest.Azure) (*azuremltest.Scoring, error) {
				return a.AddServerless(azuremltest.Serverless{Name: "m", Model: model})
			},
			source: func(w *azureml.Workspace) upstream.Source { return w.Serverless("m") },
			kind:   upstream.Key,
			calls:  map[string]int{"get serverless/m": 1, "listkeys serverless/m": 1, authorityToken: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := startAzure(t, azuremltest.Options{})
			s := must(c.add(a))(t)
			cfg := config(t, a)
			lease := fetch(t, c.source(open(t, cfg)), nil)
			if lease.Kind != c.kind {
				t.Errorf("kind %q, want %q", lease.Kind, c.kind)
			}
			if lease.Kind == upstream.Key {
				primary, secondary := s.Keys()
				if lease.Primary.Reveal() != primary || lease.Secondary.Reveal() != secondary {
					t.Error("not the pair of this endpoint")
				}
			}
			if lease.Description == nil && name != "serverless endpoint" {
				t.Error("no description")
			}
			wantCalls(t, a, c.calls)
			if status := score(t, cfg.Client, lease); status != http.StatusOK {
				t.Errorf("scoring answered %d", status)
			}
		})
	}
}

func TestAModeGivenByHandIsBelieved(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	must(a.AddService(azuremltest.Service{Name: "m", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: model}))(t)
	w := open(t, config(t, a))
	if l := fetch(t, w.Service("m", azureml.Mode(upstream.None)), nil); l.Kind != upstream.None || !l.Primary.IsZero() {
		t.Errorf("kind %q", l.Kind)
	}
	if l := fetch(t, w.Service("m", azureml.Mode(upstream.Entra)), nil); l.Kind != upstream.Entra || l.Primary.IsZero() {
		t.Errorf("kind %q", l.Kind)
	}
	if _, err := w.Service("m", "oauth").Fetch(t.Context(), nil); err == nil {
		t.Error("an unknown mode was taken")
	}
}

func TestAnAddressWithAnEntraTokenNeedsNoWorkspace(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	s := must(a.AddEndpoint(azuremltest.Endpoint{Name: "m", Auth: azuremltest.Entra, Model: model}))(t)
	cfg := config(t, a)
	cfg.SubscriptionID, cfg.ResourceGroup, cfg.Workspace = "", "", ""
	w := open(t, cfg)
	scoring := must(url.Parse(s.URL()))(t)
	for _, scope := range []string{"", a.MLScope()} {
		lease := fetch(t, w.Entra(scoring, scope), nil)
		if lease.Kind != upstream.Entra || score(t, cfg.Client, lease) != http.StatusOK {
			t.Errorf("scope %q: %+v", scope, lease)
		}
	}
	wantCalls(t, a, map[string]int{authorityToken: 1}) // shared by both
	if _, err := w.Service("m", azureml.Auto).Fetch(t.Context(), nil); err == nil {
		t.Error("a service without a workspace")
	}
	if _, err := w.Entra(&url.URL{Path: "/score"}, "").Fetch(t.Context(), nil); err == nil {
		t.Error("an address without a host")
	}
}

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
