package azureml_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
	"amlproxy/upstream/azuremltest"
)

// A day is a service with tokens, and everything that a proxy has between it and
// a caller, in virtual time over an in-memory network.
type day struct {
	azure   *azuremltest.Azure
	scoring *azuremltest.Scoring
	cache   *upstream.Cache
	through *upstream.Transport
}

func newDay(t *testing.T) *day {
	t.Helper()
	network := azuremltest.NewNetwork()
	a, err := azuremltest.Start(azuremltest.Options{Listen: network.Listen})
	if err != nil {
		t.Fatal(err)
	}
	model := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scored") })
	s, err := a.AddService(azuremltest.Service{Name: "s", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: model})
	if err != nil {
		t.Fatal(err)
	}
	s.Behave(azuremltest.Behaviour{TokenRefresh: time.Hour, TokenLifetime: 3 * time.Hour})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.CAPEM())
	transport := &http.Transport{DialContext: network.DialContext, TLSClientConfig: &tls.Config{RootCAs: pool}}
	w, err := azureml.New(azureml.Config{
		SubscriptionID: a.SubscriptionID(), ResourceGroup: a.ResourceGroup(), Workspace: a.WorkspaceName(),
		ARMURL: a.ARMURL(), ARMAudience: a.ARMAudience(), MLScope: a.MLScope(), Client: &http.Client{Transport: transport},
		Identity: azureml.Identity{
			TenantID: a.Tenant(), ClientID: a.ClientID(), ClientSecret: secret.New(a.ClientSecret()),
			AuthorityHost: a.AuthorityURL(), DisableInstanceDiscovery: true,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &day{azure: a, scoring: s, cache: upstream.Cached(w.Service("s", azureml.Auto), nil)}
	d.through = &upstream.Transport{Backends: []upstream.Backend{d.cache}, Base: transport, ReplayLimit: 1 << 20}
	t.Cleanup(func() {
		_ = d.cache.Close()
		_ = w.Close()
		transport.CloseIdleConnections()
		_ = a.Close()
	})
	d.cache.Warm()
	return d
}

func (d *day) call(t *testing.T) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://upstream/score", strings.NewReader("rows"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := d.through.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// pass lets so many minutes pass with a call in each, and returns how many failed.
func (d *day) pass(t *testing.T, minutes int) (failed int, last error) {
	t.Helper()
	for range minutes {
		if err := d.call(t); err != nil {
			failed, last = failed+1, err
		}
		time.Sleep(time.Minute)
	}
	return failed, last
}

// The token takes ten seconds to come at each renewal, for a day: nobody waits.
func TestASlowTokenIsNoticedByNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDay(t)
		if err := d.call(t); err != nil { // the first one may wait
			t.Fatal(err)
		}
		waits := d.cache.Status().Waits
		d.azure.ResetCalls()
		d.azure.Fail("token service/s", azuremltest.Fault{Delay: 10 * time.Second})
		if failed, err := d.pass(t, 24*60); failed > 0 {
			t.Errorf("%d calls failed: %v", failed, err)
		}
		if n := d.cache.Status().Waits - waits; n != 0 {
			t.Errorf("%d requests waited", n)
		}
		if n := d.azure.Calls()["token service/s"]; n < 23 || n > 27 {
			t.Errorf("%d tokens in a day of hours", n)
		}
	})
}

// Authority, resource manager and model management are away for an hour while a
// valid token is held, then for longer than it lives, and then come back.
func TestAnOutageIsSurvivedForAsLongAsTheTokenLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDay(t)
		if failed, err := d.pass(t, 30); failed > 0 {
			t.Fatal(failed, err)
		}
		down := []string{"authority", "arm", "modelmanagement"}
		for _, host := range down {
			d.azure.Fail(host, azuremltest.Fault{Drop: true})
		}
		if failed, err := d.pass(t, 60); failed > 0 {
			t.Errorf("%d of 60 calls failed within an hour of outage: %v", failed, err)
		}
		if failed, _ := d.pass(t, 80); failed > 0 {
			t.Errorf("%d calls failed before the token expired", failed)
		}
		time.Sleep(30 * time.Minute)
		err := d.call(t)
		var again *upstream.RetryAfterError
		if !errors.Is(err, upstream.ErrNoCredential) || !errors.As(err, &again) {
			t.Errorf("after the token expired: %v", err)
		}
		for _, host := range down {
			d.azure.Mend(host)
		}
		time.Sleep(31 * time.Second) // one step of the back-off
		if err := d.call(t); err != nil {
			t.Errorf("half a minute after everything is back: %v", err)
		}
	})
}
