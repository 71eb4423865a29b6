package demo_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync"
	"testing"
	"time"

	"amlproxy/authn/authntest"
	"amlproxy/internal/app"
	"amlproxy/internal/config"
	"amlproxy/internal/demo"
	"amlproxy/proxy"
)

// serve runs a proxy in front of w on l, as the demo does, until the test ends.
func serve(t *testing.T, w *demo.World, l net.Listener, observe func(*proxy.Record)) {
	t.Helper()
	settings, err := config.Load(append(w.Environ(), "AMLPROXY_ADMIN_LISTEN=127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(settings, app.Options{Log: io.Discard, Listener: l, Observe: observe})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func newWorld(t *testing.T) (*demo.World, net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := "http://" + l.Addr().String()
	w, err := demo.NewWorld(demo.Place{PublicURL: at})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, l, at
}

// signIn returns a client that has walked through the provider's form.
func signIn(t *testing.T, at string, a demo.Account) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	resp, err := authntest.SignIn(t.Context(), client, at+"/oauth2/start?rd=/livez", a.Name, a.Secret)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Request.URL.String() != at+"/livez" {
		t.Fatalf("signing in ended at %s: %s", resp.Request.URL, resp.Status)
	}
	return client
}

// TestChaosIsNoticedByNobody takes credentials away while eight callers, with
// sessions and with bearer tokens, call every model: all answers are 200, and
// the workspace is asked once for each credential taken.
func TestChaosIsNoticedByNobody(t *testing.T) {
	const rounds = 4 // below the bucket of five, which a rotation every few seconds never empties
	w, l, at := newWorld(t)
	serve(t, w, l, nil)
	token, err := w.Provider.AccessToken(demo.ClientJob, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	calls := make([]int, 8)
	for i := range calls {
		client, bearer := http.DefaultClient, token
		if i%2 == 0 {
			client, bearer = signIn(t, at, w.People[0]), ""
		}
		callers.Go(func() {
			for ctx.Err() == nil {
				if err := call(t.Context(), client, at, bearer, w.Models[calls[i]%3]); err != nil {
					t.Error(err)
					return
				}
				calls[i]++
			}
		})
	}
	until(t, "every model was called", func() bool { return posts(w) > 30 })
	w.Azure.ResetCalls()
	for round := range rounds {
		for _, m := range w.Models {
			before := m.Scoring.Refusals()
			demo.Rotate(m.Scoring, round)
			until(t, m.Name()+" refused the old credential", func() bool { return m.Scoring.Refusals() > before })
			settled := m.Scoring.Posts() + 20
			until(t, m.Name()+" is served again", func() bool { return m.Scoring.Posts() > settled })
		}
	}
	cancel()
	callers.Wait()
	asked := w.Azure.Calls()
	for _, operation := range []string{"listkeys service/diabetes-aci", "token service/digits-aks", "get endpoint/iris-online"} {
		if asked[operation] != rounds {
			t.Errorf("%s: %d calls for %d rotations", operation, asked[operation], rounds)
		}
	}
	t.Logf("calls by caller: %v; asked: %v", calls, asked)
}

func call(ctx context.Context, client *http.Client, at, bearer string, m demo.Served) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at+"/models/"+m.Name(), strings.NewReader(string(m.Sample())))
	if err != nil {
		return err
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || strings.TrimSpace(string(body)) != string(m.Expected()) {
		return fmt.Errorf("%s: %s %s", m.Name(), resp.Status, body)
	}
	return nil
}

func posts(w *demo.World) (n int) {
	for _, m := range w.Models {
		n += m.Scoring.Posts()
	}
	return n
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}
