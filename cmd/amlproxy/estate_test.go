package main_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"amlproxy/internal/demo"
)

// The two names are on different registrable domains, as a company's proxy and
// its identity provider usually are; two ports of one host would be one site to
// a browser. Neither resolves anywhere.
const (
	proxyName    = "models.proxy.test"
	providerName = "login.provider.example"
)

// An estate is a World on those names over https, and the built binary serving
// in front of it.
type estate struct {
	*demo.World
	proxy  *process
	url    string // of the proxy
	admin  string // URL of its admin listener
	client *http.Client
	pin    string // of the server certificates' key, for a browser

	certificate *certificate // of both names
	environ     []string     // of the proxy
}

func newEstate(t *testing.T, environ ...string) *estate {
	t.Helper()
	e := newGrounds(t)
	e.serve(t, environ...)
	return e
}

// newGrounds is an estate before serve is called.
func newGrounds(t *testing.T) *estate {
	t.Helper()
	certificate := issue(t, proxyName, providerName)
	provider, proxyPort := listen(t), freePort(t)
	e := &estate{
		url:   "https://" + net.JoinHostPort(proxyName, proxyPort),
		admin: "http://127.0.0.1:" + freePort(t),
		pin:   certificate.pin,

		certificate: certificate,
	}
	var err error
	e.World, err = demo.NewWorld(demo.Place{
		PublicURL: e.url, ProviderListener: provider, Issuer: "https://" + providerName + ":0",
		ProviderTLS: &tls.Config{Certificates: []tls.Certificate{certificate.pair}}, CA: certificate.ca,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.World.Close(); err != nil {
			t.Error(err)
		}
	})
	toLoopback := tunnels(t)
	e.environ = append(e.Environ(),
		"AMLPROXY_LISTEN=127.0.0.1:"+proxyPort, "AMLPROXY_ADMIN_LISTEN="+strings.TrimPrefix(e.admin, "http://"),
		"AMLPROXY_TLS_CERT_FILE="+certificate.certFile, "AMLPROXY_TLS_KEY_FILE="+certificate.keyFile,
		"HTTPS_PROXY=http://"+toLoopback.String())
	e.client = &http.Client{
		Transport: &http.Transport{
			Proxy:           http.ProxyURL(mustURL(t, "http://"+toLoopback.String())),
			TLSClientConfig: &tls.Config{RootCAs: certificate.pool},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       30 * time.Second,
	}
	t.Cleanup(e.client.CloseIdleConnections)
	return e
}

// serve starts the proxy, with environ besides the settings of the World; of two
// with one name the last counts.
func (e *estate) serve(t *testing.T, environ ...string) {
	t.Helper()
	e.proxy = start(t, append(e.environ, environ...), "serve")
	ready(t, e.client, e.url+"/readyz")
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// freePort returns a port for another process to listen on. It lies below those
// that systems give out by themselves, to connections too, so nobody else gets it
// in the meantime.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		n, err := rand.Int(rand.Reader, big.NewInt(10_000))
		if err != nil {
			t.Fatal(err)
		}
		port := strconv.FormatInt(20_000+n.Int64(), 10)
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free between 20000 and 30000")
	return ""
}

// tunnels is a forward proxy that takes every name to loopback: what a resolver
// would do if it knew the names of the estate.
func tunnels(t *testing.T) net.Addr {
	t.Helper()
	l := listen(t)
	s := &http.Server{Handler: http.HandlerFunc(tunnel), ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr()
}

func tunnel(w http.ResponseWriter, r *http.Request) {
	_, port, err := net.SplitHostPort(r.Host)
	if r.Method != http.MethodConnect || err != nil {
		http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
		return
	}
	there, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	if _, err := io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() { _, _ = io.Copy(there, buffered); _ = there.Close() }()
	_, _ = io.Copy(here, there)
}

// A certificate is a server's key pair under a CA made for the test.
type certificate struct {
	pair              tls.Certificate
	ca                []byte // PEM
	pool              *x509.CertPool
	certFile, keyFile string
	pin               string // base64 of the SHA-256 of the public key
}

func issue(t *testing.T, names ...string) *certificate {
	t.Helper()
	caKey, key := newKey(t), newKey(t)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "estate"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: root.NotBefore, NotAfter: root.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caDER := sign(t, root, root, caKey, caKey)
	der := sign(t, leaf, root, key, caKey)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := &certificate{ca: encode("CERTIFICATE", caDER), pool: x509.NewCertPool()}
	c.pool.AppendCertsFromPEM(c.ca)
	certPEM, keyPEM := encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER)
	if c.pair, err = tls.X509KeyPair(certPEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c.certFile, c.keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, content := range map[string][]byte{c.certFile: certPEM, c.keyFile: keyPEM} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(public)
	c.pin = base64.StdEncoding.EncodeToString(sum[:])
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, cert, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, by, key.Public(), byKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
