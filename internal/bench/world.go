//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"amlproxy/authn/authntest"
	"amlproxy/upstream/azuremltest"
)

const (
	login    = "amlproxy"  // the client that people sign in to
	job      = "batch-job" // the client that calls by itself
	person   = "alice"
	audience = "api://amlproxy"
	group    = "ml-users"
)

// A world is what stands around the proxies.
type world struct {
	binary   string
	core     int // of the proxies
	dir      string
	provider *authntest.Provider
	azure    *azuremltest.Azure
	engine   *engine
	upstream *http.Server // the sample, for larger bodies and streams
	address  string       // of it
	key      string       // that it wants to see
	password string
	secret   string // of the login's client
	cookies  string // AMLPROXY_COOKIE_SECRET
	started  int
	running  []*process
}

func newWorld(_ context.Context, binary string, core int) (w *world, err error) {
	w = &world{binary: binary, core: core, password: rand.Text(), secret: rand.Text()}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, as crypto/rand documents
	w.cookies = base64.StdEncoding.EncodeToString(key)
	if w.dir, err = os.MkdirTemp("", "amlproxy-bench-"); err != nil {
		return nil, err
	}
	if w.azure, err = azuremltest.Start(azuremltest.Options{}); err != nil {
		return nil, err
	}
	_, err = w.azure.AddService(azuremltest.Service{Name: "model", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: http.HandlerFunc(model)})
	if err != nil {
		return nil, err
	}
	if err = w.startUpstream(); err != nil {
		return nil, err
	}
	return w, w.startProvider()
}

// startUpstream starts the sample upstream. A service of the pretended Azure does
// much besides, and would be what is measured.
func (w *world) startUpstream() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.key, w.address = rand.Text(), "http://"+l.Addr().String()+"/score"
	wanted := "Bearer " + w.key
	if w.engine, err = newEngine(w.key); err != nil {
		return err
	}
	w.upstream = &http.Server{ReadHeaderTimeout: headerTimeout, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != wanted {
			http.Error(rw, "that is not the key", http.StatusUnauthorized)
			return
		}
		model(rw, r)
	})}
	go func() { _ = w.upstream.Serve(l) }()
	return nil
}

func (w *world) startProvider() (err error) {
	w.provider, err = authntest.Start(authntest.Options{
		Algorithm: "RS256", // as Entra signs
		Users:     []authntest.User{{Name: person, Password: w.password, FullName: "Alice", Email: "alice@example.com", EmailVerified: true, Groups: []string{group, "staff"}}},
		Audiences: []string{audience},
		Clients: []authntest.Client{
			{ID: login, Secret: w.secret, RedirectURIs: []string{"http://" + publicHost + "/oauth2/callback"}},
			{ID: job, Secret: rand.Text(), ServiceAccount: true},
		},
	})
	return err
}

// model is the sample upstream: it reads what it is sent, and answers with as many
// bytes as the query says, or with a stream of events.
func model(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	query, _ := url.ParseQuery(r.URL.RawQuery)
	if query.Has("events") {
		stream(w, r)
		return
	}
	size := 1 << 10
	if n, err := strconv.Atoi(query.Get("size")); err == nil {
		size = min(n, len(answer))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(size))
	_, _ = w.Write(answer[:size])
}

var answer = bytes.Repeat([]byte{'1'}, 1<<20)

// stream sends an event every 100 ms.
func stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := io.WriteString(w, "data: {\"token\":\"word\"}\n\n"); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// publicHost is what the proxies take for their own name; each listens elsewhere.
const publicHost = "localhost:8080"

// A kind of amlproxy.
type kind struct {
	log    string // level
	limits bool   // rate limit and most requests at once
	tls    string // file of a certificate and its key
}

func (w *world) amlproxy(ctx context.Context, k kind) (*process, error) {
	w.started++
	at := filepath.Join(w.dir, strconv.Itoa(w.started))
	limits := ""
	if k.limits {
		limits = "    rate_limit: {requests: 1000000, per: 1s, by: user}\n    max_concurrent: 10000\n"
	}
	routes := `routes:
  - name: workspace
    service: model
    access: {groups: [` + group + `], clients: [` + job + `]}
  - name: model
    url: ` + w.address + `
    auth: key
    key: ` + w.key + `
    access: {groups: [` + group + `], clients: [` + job + `]}
    cors: {origins: ["https://app.example.com"]}
` + limits + `  - name: driven
    url: ` + w.engine.address + `
    auth: key
    key: ` + w.key + `
    access: {groups: [` + group + `], clients: [` + job + `]}
    cors: {origins: ["https://app.example.com"]}
` + limits
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	environ := append(w.azure.Environ(), "PATH="+os.Getenv("PATH"),
		"AMLPROXY_LISTEN="+address, "AMLPROXY_ADMIN_LISTEN="+admin, "AMLPROXY_LOG_LEVEL="+k.log,
		"AMLPROXY_CA_FILE="+at+".pem", "AMLPROXY_ROUTES_FILE="+at+".yaml",
		"AMLPROXY_PUBLIC_URL=http://"+publicHost, "AMLPROXY_COOKIE_SECRET="+w.cookies,
		"AMLPROXY_OIDC_ISSUER="+w.provider.Issuer(), "AMLPROXY_OIDC_CLIENT_ID="+login,
		"AMLPROXY_OIDC_CLIENT_SECRET="+w.secret, "AMLPROXY_OIDC_AUDIENCES="+audience)
	for _, name := range []string{"GOGC", "GOMEMLIMIT", "GODEBUG"} {
		if value := os.Getenv(name); value != "" {
			environ = append(environ, name+"="+value)
		}
	}
	if k.tls != "" {
		environ = append(environ, "AMLPROXY_TLS_CERT_FILE="+k.tls, "AMLPROXY_TLS_KEY_FILE="+k.tls)
	}
	err = errors.Join(os.WriteFile(at+".yaml", []byte(routes), 0o600), os.WriteFile(at+".pem", w.azure.CAPEM(), 0o600))
	if err != nil {
		return nil, err
	}
	return w.launch(ctx, address, admin, environ, w.binary, "serve")
}

// bare starts a bare proxy, with the same key for the same upstream.
func (w *world) bare(ctx context.Context, to, cert string) (*process, error) {
	w.started++
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return w.launch(ctx, address, admin, nil, self, bareRole, "-listen", address, "-admin", admin, "-to", to, "-key", w.key, "-cert", cert)
}

func (w *world) launch(ctx context.Context, address, admin string, environ []string, name string, args ...string) (*process, error) {
	p, err := launch(w.core, environ, filepath.Join(w.dir, strconv.Itoa(w.started)+".log"), name, args...)
	if err != nil {
		return nil, err
	}
	p.address, p.admin = address, admin
	w.running = append(w.running, p)
	if err := p.ready(ctx); err != nil {
		said, _ := os.ReadFile(filepath.Join(w.dir, strconv.Itoa(w.started)+".log"))
		return nil, fmt.Errorf("starting %s: %w\n%s", name, err, said)
	}
	return p, nil
}

// rest ends the processes, so that the next part begins alone.
func (w *world) rest() {
	for _, p := range w.running {
		p.stop()
	}
	w.running = nil
}

func (w *world) close() {
	w.rest()
	if w.provider != nil {
		_ = w.provider.Close()
	}
	if w.upstream != nil {
		_ = w.upstream.Close()
	}
	if w.azure != nil {
		_ = w.azure.Close()
	}
	_ = os.RemoveAll(w.dir)
}

// bearer returns the field of a header with a token of the person's.
func (w *world) bearer() (string, error) {
	token, err := w.provider.AccessToken(login, person)
	return "Authorization: Bearer " + token, err
}

// session signs the person in and returns the field of a header with the cookie.
func (w *world) session(ctx context.Context, p *process) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	dialer := &http.Transport{Proxy: nil}
	c := &http.Client{Jar: jar, Transport: named{dialer, p.address}}
	public := "http://" + publicHost
	form, err := get(ctx, c, public+"/oauth2/start")
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, form.String(),
		bytes.NewReader([]byte(url.Values{"username": {person}, "password": {w.password}}.Encode())))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	_ = resp.Body.Close()
	at, _ := url.Parse(public)
	for _, cookie := range jar.Cookies(at) {
		if cookie.Name == "amlproxy" {
			return "Cookie: amlproxy=" + cookie.Value, nil
		}
	}
	return "", fmt.Errorf("signing in ended at %s with %s and no session", resp.Request.URL, resp.Status)
}

// get returns where a page is, behind all redirects.
func get(ctx context.Context, c *http.Client, address string) (*url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	return resp.Request.URL, resp.Body.Close()
}

// named sends what is for the public name to one proxy.
type named struct {
	http.RoundTripper
	address string
}

// RoundTrip implements [http.RoundTripper].
func (n named) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == publicHost {
		r = r.Clone(r.Context())
		r.Host, r.URL.Host = publicHost, n.address
		resp, err := n.RoundTripper.RoundTrip(r)
		return resp, err
	}
	return n.RoundTripper.RoundTrip(r)
}
