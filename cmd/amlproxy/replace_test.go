package main_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"amlproxy/authn/authntest"
	"amlproxy/internal/demo"
)

// A balancer stands in front of replicas and takes the next one when one does not
// answer a GET, as load balancers do.
type balancer struct {
	replicas []string // host:port
	turn     atomic.Int64
}

func (b *balancer) dial(ctx context.Context, network, _ string) (conn net.Conn, err error) {
	turn := int(b.turn.Add(1))
	for i := range b.replicas {
		var d net.Dialer
		if conn, err = d.DialContext(ctx, network, b.replicas[(turn+i)%len(b.replicas)]); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// serve answers on l until the test ends. Connections to replicas are used once,
// so that every request finds out anew who is there.
func (b *balancer) serve(t *testing.T, l net.Listener) {
	t.Helper()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: r.In.Host})
			r.Out.Host = r.In.Host
		},
		Transport: again{&http.Transport{DialContext: b.dial, DisableKeepAlives: true}},
	}
	s := &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
}

// again sends a GET once more that got no answer: a connection may have been made
// to a replica that stopped listening before it took it.
type again struct{ http.RoundTripper }

func (a again) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.RoundTripper.RoundTrip(r)
	if err != nil && r.Method == http.MethodGet {
		return a.RoundTripper.RoundTrip(r)
	}
	return resp, err
}

// TestReplicasAreReplacedWithoutASignIn replaces two replicas one after the other
// under load, and with them the secret that sessions are sealed with, step by step
// as an operator does it. Nobody has to sign in again.
func TestReplicasAreReplacedWithoutASignIn(t *testing.T) {
	front := listen(t)
	public := "http://" + front.Addr().String()
	w, err := demo.NewWorld(demo.Place{PublicURL: public})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	b := &balancer{replicas: []string{"127.0.0.1:" + freePort(t), "127.0.0.1:" + freePort(t)}}
	b.serve(t, front)
	older, newer := cookieSecret(t), cookieSecret(t)
	replicas := make([]*process, len(b.replicas))
	replace := func(at int, secrets string) {
		t.Helper()
		if replicas[at] != nil {
			if err := replicas[at].stop(); err != nil {
				t.Fatal(err)
			}
		}
		environ := append(without(w.Environ(), "AMLPROXY_COOKIE_SECRET="), "AMLPROXY_COOKIE_SECRET="+secrets,
			"AMLPROXY_LISTEN="+b.replicas[at], "AMLPROXY_ADMIN_LISTEN=127.0.0.1:0", "AMLPROXY_SESSION_REFRESH=1s")
		replicas[at] = start(t, environ, "serve")
		ready(t, http.DefaultClient, "http://"+b.replicas[at]+"/readyz")
	}
	for at := range replicas {
		replace(at, older)
	}

	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var answered atomic.Int64
	for range 4 {
		person := signedIn(t, public, w.People[0])
		all.Go(func() {
			for ctx.Err() == nil {
				if status, body := userinfo(t, person, public); status != http.StatusOK {
					t.Errorf("after %d answers: %d %s", answered.Load(), status, body)
					return
				}
				answered.Add(1)
			}
		})
	}
	for _, secrets := range []string{
		older,               // the same again: a mere restart
		older + "," + newer, // all replicas know the new one before any seals with it
		newer + "," + older,
		newer,
	} {
		for at := range replicas {
			replace(at, secrets)
		}
		settled := answered.Load() + 400 // sessions are sealed anew every second
		await(t, "people go on", func() bool { return answered.Load() > settled || t.Failed() })
		time.Sleep(2 * time.Second)
	}
	cancel()
	all.Wait()
	t.Logf("%d answers, 8 replacements", answered.Load())
}

func cookieSecret(t *testing.T) string {
	t.Helper()
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(key)
}

func without(environ []string, prefix string) []string {
	var kept []string
	for _, setting := range environ {
		if !strings.HasPrefix(setting, prefix) {
			kept = append(kept, setting)
		}
	}
	return kept
}

func signedIn(t *testing.T, at string, who demo.Account) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	resp, err := authntest.SignIn(t.Context(), client, at+"/oauth2/start?rd=/livez", who.Name, who.Secret)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	return client
}

func userinfo(t *testing.T, client *http.Client, at string) (int, string) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+"/oauth2/userinfo", http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := client.Do(req)
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
