package main_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"amlproxy/internal/soak"
)

// rolling is two replicas behind nginx, and callers who never stop.
type rolling struct {
	t        *testing.T
	dir      string
	model    string
	at       [2]string
	replicas [2]*process

	answered, failed atomic.Int64
}

// TestRollingRestartBehindNginx replaces both replicas, their settings and their
// certificate under load, behind the nginx that people have: it knows no health
// checks, and sends no POST twice once a byte of it went out. No request fails.
func TestRollingRestartBehindNginx(t *testing.T) {
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "scored")
	}))
	t.Cleanup(model.Close)
	r := &rolling{t: t, dir: t.TempDir(), model: model.URL + "/score", at: [2]string{"127.0.0.1:" + freePort(t), "127.0.0.1:" + freePort(t)}}
	r.certificate(1)
	r.routes(180)
	for i := range r.replicas {
		r.replace(i)
	}
	front := r.nginx()
	stop := r.load(front)
	for i := range r.replicas {
		r.replace(i)
		r.settled()
	}
	r.routes(90)
	r.certificate(2)
	for i, p := range r.replicas {
		_ = p.cmd.Process.Signal(syscall.SIGHUP)
		await(t, "the settings are taken over", func() bool { return strings.Contains(p.err.String(), "the settings were taken over") })
		await(t, "the certificate is taken over", func() bool { return r.serial(i) == 2 })
	}
	r.settled()
	stop()
	soak.Note(t, "F36", "two replicas, their settings and their certificate are replaced behind nginx", "0 lost",
		fmt.Sprintf("%d requests, %d failed", r.answered.Load(), r.failed.Load()))
}

// TestASecondSignalEndsAtOnce: whoever does not want to wait signals again.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	at := "127.0.0.1:" + freePort(t)
	p := start(t, []string{
		"AMLPROXY_LISTEN=" + at, "AMLPROXY_ADMIN_LISTEN=127.0.0.1:0", "AMLPROXY_DRAIN_DELAY=10m",
		"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_URL=http://127.0.0.1:1/score", "AMLPROXY_ROUTES_0_AUTH=none", "AMLPROXY_ROUTES_0_PUBLIC=true",
	}, "serve")
	ready(t, http.DefaultClient, "http://"+at+"/readyz")
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	await(t, "it drains", func() bool { return strings.Contains(p.err.String(), "still serving") })
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	err := <-p.done
	p.done <- nil // for the end of the test
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", err)
	}
}

// put replaces a file whole.
func (r *rolling) put(name string, content []byte) string {
	r.t.Helper()
	file := filepath.Join(r.dir, name)
	if err := os.WriteFile(file+".next", content, 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(file+".next", file); err != nil {
		r.t.Fatal(err)
	}
	return file
}

func (r *rolling) routes(timeout int) {
	r.t.Helper()
	r.put("routes.yaml", fmt.Appendf(nil, "routes: [{name: m, url: %q, auth: none, public: true, timeout: %ds}]\n", r.model, timeout))
}

// certificate makes one for both replicas.
func (r *rolling) certificate(serial int64) {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "replica"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		r.t.Fatal(err)
	}
	r.put("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	r.put("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (r *rolling) serial(i int) int64 {
	conn, err := tls.Dial("tcp", r.at[i], &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return 0
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// replace stops a replica as an orchestrator does, and starts another in its place.
func (r *rolling) replace(i int) {
	r.t.Helper()
	if p := r.replicas[i]; p != nil {
		if err := p.stop(); err != nil {
			r.t.Fatal(err)
		}
	}
	r.replicas[i] = start(r.t, []string{
		"AMLPROXY_LISTEN=" + r.at[i], "AMLPROXY_ADMIN_LISTEN=127.0.0.1:0", "AMLPROXY_ROUTES_FILE=" + filepath.Join(r.dir, "routes.yaml"),
		"AMLPROXY_TLS_CERT_FILE=" + filepath.Join(r.dir, "cert.pem"), "AMLPROXY_TLS_KEY_FILE=" + filepath.Join(r.dir, "key.pem"),
		"AMLPROXY_DRAIN_DELAY=500ms", "AMLPROXY_LOG_LEVEL=info",
	}, "serve")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	ready(r.t, client, "https://"+r.at[i]+"/readyz")
}

// nginx returns where it listens.
func (r *rolling) nginx() string {
	r.t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		r.t.Fatalf("make deps installs nginx: %v", err)
	}
	front := "127.0.0.1:" + freePort(r.t)
	conf := strings.NewReplacer("DIR", r.dir, "FRONT", front, "ONE", r.at[0], "TWO", r.at[1]).Replace(`
daemon off;
user root;
pid DIR/nginx.pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path DIR; proxy_temp_path DIR; fastcgi_temp_path DIR; uwsgi_temp_path DIR; scgi_temp_path DIR;
	upstream replicas {
		server ONE max_fails=0; # or a replica that was away is left out for 10 s, while the other is replaced
		server TWO max_fails=0;
		keepalive 16;
	}
	server {
		listen FRONT;
		location / {
			proxy_pass https://replicas;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
		}
	}
}
`)
	file := r.put("nginx.conf", []byte(conf))
	beside(r.t, program, "-c", file)
	ready(r.t, http.DefaultClient, "http://"+front+"/readyz")
	return "http://" + front
}

// load calls until it is stopped: most with POST, as models are called, and some on
// a connection of their own.
func (r *rolling) load(front string) (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	var all sync.WaitGroup
	for i := range 8 {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: i%4 == 0}}
		method := http.MethodPost
		if i%4 == 1 {
			method = http.MethodGet
		}
		all.Go(func() {
			for ctx.Err() == nil {
				req, _ := http.NewRequestWithContext(r.t.Context(), method, front+"/models/m", strings.NewReader("{}"))
				resp, err := client.Do(req)
				if err != nil {
					r.t.Errorf("after %d answers: %v", r.answered.Load(), err)
					r.failed.Add(1)
					continue
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || string(body) != "scored" {
					r.t.Errorf("after %d answers: %s %s %q %v", r.answered.Load(), method, resp.Status, body, err)
					r.failed.Add(1)
				}
				r.answered.Add(1)
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// settled waits until there was load for a while.
func (r *rolling) settled() {
	r.t.Helper()
	enough := r.answered.Load() + 500
	await(r.t, "callers go on", func() bool { return r.answered.Load() > enough || r.t.Failed() })
}
