package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"amlproxy/upstream/azuremltest"
)

// Sleep implements azuremltest.Clock.
func (o off) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func scorings() map[string]broken {
	answering := func(status int) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/swagger.json" && r.Header.Get("Authorization") != "" {
					http.Redirect(rw, r, "https://login.test/", status) // the address means nothing with other statuses
				}
			}))
			t.Cleanup(s.Close)
			w.only("byhand", "URL="+s.URL+"/score", "AUTH=key", "KEY=k3y")
		}
	}
	return map[string]broken{
		"scoring host down": {sabotage: func(t *testing.T, w *world) {
			w.says(t, "get endpoint/fraud", v2("Key", "https://"+nowhere(t)+"/score"))
		}, wants: []want{{"FAIL", "route fraud: address", "refuses the connection", "the workspace"}}},
		"scoring host does not resolve": {sabotage: func(t *testing.T, w *world) {
			w.says(t, "get endpoint/fraud", v2("Key", "https://fraud.westeurope.inference.test/score"))
		}, wants: []want{{"FAIL", "route fraud: address", "does not resolve", "private endpoint"}}},
		"scoring certificate untrusted": {sabotage: func(t *testing.T, w *world) {
			other := newWorld(t, azuremltest.Options{})
			w.says(t, "get endpoint/fraud", v2("Key", other.fraud.URL()))
		}, wants: []want{{"FAIL", "route fraud: address", "not trusted here", "AMLPROXY_CA_FILE"}}},
		"scoring certificate expired": {sabotage: func(t *testing.T, w *world) {
			w.only("byhand", "URL="+w.certified(t, time.Now().Add(-time.Hour), "127.0.0.1")+"/score", "AUTH=none")
		}, wants: []want{{"FAIL", "route byhand: address", "and here it is ", "renew its certificate"}}},
		"scoring certificate for another name": {sabotage: func(t *testing.T, w *world) {
			w.only("byhand", "URL="+w.certified(t, time.Now().Add(time.Hour), "models.test")+"/score", "AUTH=none")
		}, wants: []want{{"FAIL", "route byhand: address", "is for models.test alone", "AMLPROXY_ROUTES_0_URL"}}},
		"scoring in clear": {sabotage: func(t *testing.T, w *world) {
			host := strings.TrimSuffix(strings.TrimPrefix(w.diabetes.URL(), "http://"), "/api/v1/service/diabetes-aks/score")
			w.names["models.test"] = host
			w.says(t, "get service/diabetes-aks", map[string]any{
				"computeType": "AKS", "state": "Healthy", "location": "westeurope", "authEnabled": true,
				"scoringUri": "http://models.test/api/v1/service/diabetes-aks/score",
			})
		}, wants: []want{{"warn", "route diabetes: address", "over plain http: its credential", "TLS"}}},
		"scoring in clear, without a credential": {sabotage: func(_ *testing.T, w *world) {
			w.names["models.test"] = strings.TrimPrefix(w.diabetes.URL(), "http://")
			w.names["models.test"], _, _ = strings.Cut(w.names["models.test"], "/")
			w.only("byhand", "URL=http://models.test/elsewhere/score", "AUTH=none")
		}, wants: []want{
			{"warn", "route byhand: address", "what is sent there can be read", "TLS"},
			{"FAIL", "route byhand: scoring", "wants a credential (401)", "AMLPROXY_ROUTES_0_AUTH"},
		}},
		"the address is somebody else's": {sabotage: func(t *testing.T, w *world) {
			old := w.fraud.URL()
			if err := w.fraud.Move(); err != nil {
				t.Fatal(err)
			}
			w.says(t, "get endpoint/fraud", v2("Key", old))
		}, wants: []want{{"FAIL", "route fraud: scoring", "refuses the credential (401), which the workspace gave a moment ago", "deploy it again"}}},
		"scoring forbidden": {sabotage: func(_ *testing.T, w *world) {
			w.Deny(ml + "onlineEndpoints/score/action")
		}, wants: []want{{"FAIL", "route churn: scoring", "the action " + ml + "onlineEndpoints/score/action on /subscriptions/", "az role assignment create --assignee "}}},
		"the key of the settings is refused": {sabotage: func(_ *testing.T, w *world) {
			w.route("byhand", "URL="+w.fraud.URL(), "AUTH=key", "KEY=hunter2hunter2")
			w.secrets = append(w.secrets, "hunter2hunter2")
		}, wants: []want{{"FAIL", "route byhand: scoring", "refuses the credential (401)", "set the current one in AMLPROXY_ROUTES_6_KEY"}}},
		"the second key of the settings is refused": {sabotage: func(_ *testing.T, w *world) {
			w.diabetes.RegenerateKey(azuremltest.Secondary)
		}, wants: []want{{"warn", "route byhand: scoring", "accepts the first key, and refuses the second", "AMLPROXY_ROUTES_6_KEY"}}},
		"scoring scope that nobody knows": {sabotage: func(_ *testing.T, w *world) {
			w.settings["AMLPROXY_AZURE_ML_SCOPE"] = "https://ml.azure.example/.default"
		}, wants: []want{{"FAIL", "route churn: credential", "AADSTS500011", "AMLPROXY_AZURE_ML_SCOPE"}}},
		"scoring redirects": {
			sabotage: answering(http.StatusFound),
			wants:    []want{{"warn", "route byhand: scoring", "answers 302 and sends calls elsewhere", "sign-in"}},
		},
		"scoring is busy": {
			sabotage: answering(http.StatusTooManyRequests),
			wants:    []want{{"warn", "route byhand: scoring", "answers 429, which does not tell", "logs"}},
		},
		"scoring behind a firewall": {
			sabotage: answering(http.StatusForbidden),
			wants:    []want{{"FAIL", "route byhand: scoring", "accepts nobody from here (403)", "public network access"}},
		},
	}
}

// certified runs a server whose certificate, of a CA that the world trusts, ends
// at some time and is for one name or address. It returns its address.
func (w *world) certified(t *testing.T, until time.Time, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a test"},
		NotBefore: until.Add(-24 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(name); ip != nil {
		certificate.IPAddresses = []net.IP{ip}
	} else {
		certificate.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	w.roots = append(w.roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}
