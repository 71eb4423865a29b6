package azuremltest_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"amlproxy/upstream/azuremltest"
)

// watched is a large body that knows how much of it was taken.
type watched struct {
	io.Reader
	taken atomic.Int64
	began chan struct{} // closed at the first Read
}

const largeBody = 8 << 20

func newWatched() *watched {
	return &watched{Reader: bytes.NewReader(make([]byte, largeBody)), began: make(chan struct{})}
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.taken.Add(int64(n)) == int64(n) && n > 0 {
		close(b.began)
	}
	return n, err
}

// refused is a call with a large body and a wrong key, which waits for 100
// Continue.
func refused(t *testing.T, how azuremltest.Refusal) (response *http.Response, body *watched, err error) {
	t.Helper()
	a := start(t, azuremltest.Options{})
	s := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Model: echo}))
	s.Behave(azuremltest.Behaviour{Refusal: how})
	body = newWatched()
	r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(), body))
	r.Header.Set("Authorization", "Bearer wrong")
	r.Header.Set("Expect", "100-continue")
	response, err = client(t, a).Do(r)
	if err == nil {
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if string(bytes.TrimSpace(text)) != "key_auth_access_denied" {
			t.Errorf("the body is %q", text)
		}
	}
	if s.Posts() != 0 || s.Refusals() != 1 {
		t.Errorf("%d POSTs reached the model, %d refusals", s.Posts(), s.Refusals())
	}
	return response, body, err
}

func TestRefuseLeavesTheBodyAlone(t *testing.T) {
	response, body, err := refused(t, azuremltest.Refuse)
	if err != nil || response.StatusCode != http.StatusUnauthorized || body.taken.Load() != 0 {
		t.Errorf("%v, %d bytes were taken", err, body.taken.Load())
	}
}

// TestContinueThenRefuseHasTakenSomething: whether the answer gets through the
// reset that follows is up to the network.
func TestContinueThenRefuseHasTakenSomething(t *testing.T) {
	response, body, err := refused(t, azuremltest.ContinueThenRefuse)
	if err == nil && response.StatusCode != http.StatusUnauthorized {
		t.Error(response.Status)
	}
	<-body.began
}

func TestReadThenRefuseHasTakenEverything(t *testing.T) {
	response, body, err := refused(t, azuremltest.ReadThenRefuse)
	if err != nil || response.StatusCode != http.StatusUnauthorized || body.taken.Load() != largeBody {
		t.Errorf("%v, %d bytes were taken", err, body.taken.Load())
	}
}

func TestRefuseThenCloseEndsTheConnection(t *testing.T) {
	response, body, err := refused(t, azuremltest.RefuseThenClose)
	if err != nil || response.StatusCode != http.StatusUnauthorized || !response.Close || body.taken.Load() != 0 {
		t.Errorf("%v, %d bytes were taken", err, body.taken.Load())
	}
}

func TestCloseUnreadSaysNothing(t *testing.T) {
	response, _, err := refused(t, azuremltest.CloseUnread)
	if err == nil {
		t.Errorf("answered %s", response.Status)
	}
}

// TestAuthDelayMakesTheClientBegin: who waits for 100 Continue gives up waiting
// (RFC 9110, section 10.1.1), and then meets the 401.
func TestAuthDelayMakesTheClientBegin(t *testing.T) {
	clock := newHandClock()
	a := start(t, azuremltest.Options{Clock: clock})
	s := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Model: echo}))
	s.Behave(azuremltest.Behaviour{AuthDelay: 2 * time.Second, Refusal: azuremltest.ReadThenRefuse})
	c := client(t, a)
	c.Transport.(*http.Transport).ExpectContinueTimeout = time.Millisecond
	body := newWatched()
	r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(), body))
	r.Header.Set("Expect", "100-continue")
	answered := make(chan reply)
	go func() { answered <- send(t, c, r) }()
	if d := <-clock.asleep; d != 2*time.Second {
		t.Errorf("authenticates after %s", d)
	}
	<-body.began
	clock.advance(2 * time.Second)
	if got := <-answered; got.StatusCode != http.StatusUnauthorized {
		t.Error(got.Status)
	}
}

func TestLatencyDelaysEveryCall(t *testing.T) {
	clock := newHandClock()
	a := start(t, azuremltest.Options{Clock: clock})
	s := must[*azuremltest.Scoring](t)(a.AddService(azuremltest.Service{Name: "one", Compute: azuremltest.ACI, Model: echo}))
	s.Behave(azuremltest.Behaviour{Latency: time.Minute})
	c := client(t, a)
	answered := make(chan reply)
	go func() { answered <- do(t, c, http.MethodPost, s.URL(), "", "hi") }()
	<-clock.asleep
	if s.Posts() != 0 {
		t.Error("the model was called at once")
	}
	clock.advance(time.Minute)
	if got := <-answered; got.body != "hi" {
		t.Error(got.Status)
	}
}

// TestNewKeyDelay: the key is refused until three seconds after the workspace
// showed it, however long ago it was made.
func TestNewKeyDelay(t *testing.T) {
	clock := newHandClock()
	a := start(t, azuremltest.Options{Clock: clock})
	c := client(t, a)
	s := must[*azuremltest.Scoring](t)(a.AddService(azuremltest.Service{Name: "one", Compute: azuremltest.AKS, Model: echo}))
	base, token := services(t, c, a)
	s.Behave(azuremltest.Behaviour{NewKeyDelay: 3 * time.Second})
	old, secondary := s.Keys()
	s.RegenerateKey(azuremltest.Primary)
	score := func(key string) int { return do(t, c, http.MethodPost, s.URL(), key, "{}").StatusCode }

	clock.advance(time.Minute)
	primary, _ := s.Keys()
	if score(old) != 401 || score(primary) != 401 || score(secondary) != 200 {
		t.Error("before the new key was shown")
	}
	if shown := do(t, c, http.MethodPost, base+"/services/one/listkeys", token, "").field(t, "primaryKey"); shown != primary {
		t.Errorf("%q is shown", shown)
	}
	clock.advance(2 * time.Second)
	if score(primary) != 401 {
		t.Error("two seconds after it was shown")
	}
	clock.advance(time.Second)
	if score(primary) != 200 {
		t.Error("three seconds after it was shown")
	}
}

func TestKeysAreRegeneratedOneOrBoth(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	s := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Model: echo}))
	for which, want := range map[azuremltest.KeyType][2]int{
		azuremltest.Primary: {401, 200}, azuremltest.Secondary: {200, 401}, azuremltest.Both: {401, 401},
	} {
		primary, secondary := s.Keys()
		s.RegenerateKey(which)
		for i, key := range []string{primary, secondary} {
			if r := do(t, c, http.MethodPost, s.URL(), key, "{}"); r.StatusCode != want[i] {
				t.Errorf("%s: key %d: %s", which, i, r.Status)
			}
		}
		if primary, _ := s.Keys(); do(t, c, http.MethodPost, s.URL(), primary, "{}").StatusCode != http.StatusOK {
			t.Errorf("%s: the key there is now is refused", which)
		}
	}
}

func TestTokensAreRevoked(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	add := must[*azuremltest.Scoring](t)
	for s, token := range map[*azuremltest.Scoring]func() string{
		add(a.AddEndpoint(azuremltest.Endpoint{Name: "aml", Auth: azuremltest.Token, Model: echo})): func() string { return endpointToken(t, c, a, "aml") },
		add(a.AddEndpoint(azuremltest.Endpoint{Name: "aad", Auth: azuremltest.Entra, Model: echo})): func() string { return accessToken(t, c, a, a.MLScope()) },
	} {
		before := token()
		s.RevokeTokens()
		if r := do(t, c, http.MethodPost, s.URL(), before, "{}"); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: a revoked token: %s", s.Name(), r.Status)
		}
		if r := do(t, c, http.MethodPost, s.URL(), token(), "{}"); r.StatusCode != http.StatusOK {
			t.Errorf("%s: a new token: %s", s.Name(), r.Status)
		}
	}
}

func TestModelAnswers401Itself(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	s := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Model: echo}))
	s.Behave(azuremltest.Behaviour{ModelAnswers401: true})
	key, _ := s.Keys()
	if r := do(t, c, http.MethodPost, s.URL(), key, "{}"); r.StatusCode != http.StatusUnauthorized || s.Posts() != 1 || s.Refusals() != 0 {
		t.Errorf("%s, %d POSTs, %d refusals", r.Status, s.Posts(), s.Refusals())
	}
}

func TestAuthFlips(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	s := must[*azuremltest.Scoring](t)(a.AddEndpoint(azuremltest.Endpoint{Name: "fraud", Model: echo}))
	key, _ := s.Keys()
	arm := accessToken(t, c, a, a.ARMAudience()+"/.default")
	for auth, mode := range map[azuremltest.Auth]string{azuremltest.Token: "AMLToken", azuremltest.Entra: "AADToken"} {
		if err := s.SetAuth(auth); err != nil {
			t.Fatal(err)
		}
		r := do(t, c, http.MethodGet, workspace(a, a.ARMURL())+"/onlineEndpoints/fraud"+apiVersion, arm, "")
		if got := r.field(t, "properties", "authMode"); got != mode {
			t.Errorf("%s: ARM says %s", auth, got)
		}
		if r := do(t, c, http.MethodPost, s.URL(), key, "{}"); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: a key: %s", auth, r.Status)
		}
	}
	if s.SetAuth(azuremltest.None) == nil {
		t.Error("an online endpoint without authentication")
	}
	if err := s.SetAuth(azuremltest.Key); err != nil || do(t, c, http.MethodPost, s.URL(), key, "{}").StatusCode != http.StatusOK {
		t.Errorf("back to keys: %v", err)
	}
}

func TestAddressMoves(t *testing.T) {
	a := start(t, azuremltest.Options{})
	c := client(t, a)
	s := must[*azuremltest.Scoring](t)(a.AddService(azuremltest.Service{Name: "one", Compute: azuremltest.AKS, Model: echo}))
	base, token := services(t, c, a)
	key, _ := s.Keys()
	first := s.URL()
	if err := s.Move(); err != nil {
		t.Fatal(err)
	}
	second := s.URL()
	if r := do(t, c, http.MethodPost, first, key, "{}"); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("the old address: %s", r.Status)
	}
	if r := do(t, c, http.MethodPost, second, key, "{}"); r.StatusCode != http.StatusOK {
		t.Errorf("the new one: %s", r.Status)
	}
	if err := s.Vanish(); err != nil {
		t.Fatal(err)
	}
	c.CloseIdleConnections() // one that was open would end instead
	response, err := c.Post(second, "", strings.NewReader("{}"))
	if err == nil {
		response.Body.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the address that vanished: %v", err)
	}
	if got := do(t, c, http.MethodGet, base+"/services/one", token, "").field(t, "scoringUri"); got != s.URL() || got == second {
		t.Errorf("the workspace says %s, not %s", got, s.URL())
	}
}
