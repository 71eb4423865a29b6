package azureml_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
	"amlproxy/upstream/azuremltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// model answers every call that was admitted.
var model = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "scored") })

// startAzure runs an Azure for one test.
func startAzure(t *testing.T, o azuremltest.Options) *azuremltest.Azure {
	t.Helper()
	a, err := azuremltest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// trusting returns a client that trusts a alone. It keeps no connection: an idle
// one would stop the time of a synctest bubble.
func trusting(t *testing.T, a *azuremltest.Azure) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.CAPEM()) {
		t.Fatal("no certificate in CAPEM")
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
}

// config points at a.
func config(t *testing.T, a *azuremltest.Azure) azureml.Config {
	t.Helper()
	return azureml.Config{
		SubscriptionID: a.SubscriptionID(), ResourceGroup: a.ResourceGroup(), Workspace: a.WorkspaceName(),
		ARMURL: a.ARMURL(), ARMAudience: a.ARMAudience(), MLScope: a.MLScope(),
		Identity: azureml.Identity{
			TenantID: a.Tenant(), ClientID: a.ClientID(), ClientSecret: secret.New(a.ClientSecret()),
			AuthorityHost: a.AuthorityURL(), DisableInstanceDiscovery: true,
		},
		Client: trusting(t, a),
	}
}

// open makes a Workspace for one test.
func open(t *testing.T, cfg azureml.Config) *azureml.Workspace {
	t.Helper()
	w, err := azureml.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func fetch(t *testing.T, s upstream.Source, held *upstream.Lease) *upstream.Lease {
	t.Helper()
	return must(s.Fetch(t.Context(), held))(t)
}

// score calls the endpoint as the lease says and returns the status.
func score(t *testing.T, c *http.Client, l *upstream.Lease) int {
	t.Helper()
	r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, l.Scoring.String(), strings.NewReader("{}")))(t)
	if l.Kind != upstream.None {
		r.Header.Set("Authorization", "Bearer "+l.Primary.Reveal())
	}
	if l.Deployment != "" {
		r.Header.Set("azureml-model-deployment", l.Deployment)
	}
	resp := must(c.Do(r))(t)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// wantCalls compares what the workspace was asked since the last time, without
// the authority's metadata, which depends on MSAL.
func wantCalls(t *testing.T, a *azuremltest.Azure, want map[string]int) {
	t.Helper()
	got := a.Calls()
	maps.DeleteFunc(got, func(op string, _ int) bool { return op == "authority discovery" || op == "authority keys" })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	a.ResetCalls()
}

// A bubbleClock is the time of an Azure whose hosts run outside of the synctest
// bubble of their client: the client tells it the time.
type bubbleClock struct{ at atomic.Int64 }

// newBubbleClock starts where the time of every bubble does.
func newBubbleClock() *bubbleClock {
	c := &bubbleClock{}
	c.at.Store(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *bubbleClock) Now() time.Time { return time.Unix(0, c.at.Load()) }

func (c *bubbleClock) Sleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// pass lets time pass in the bubble and in the Azure.
func (c *bubbleClock) pass(d time.Duration) {
	time.Sleep(d) // of the bubble: takes no time
	c.at.Store(time.Now().UnixNano())
}

// answers is a network in memory, for answers that no Azure gives: it maps
// "METHOD path" of any host to an answer. Entra answers by itself.
type answers map[string]func(*http.Request) *http.Response

const (
	entraToken = "header.entra-token.signature"
	stubARM    = "https://arm.test"
	stubMM     = "https://mm.test"
	stubID     = "/subscriptions/sub/resourceGroups/group/providers/Microsoft.MachineLearningServices/workspaces/ws"
	stubV1     = "/modelmanagement/v1.0" + stubID
)

// RoundTrip implements http.RoundTripper.
func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	answer, ok := a[r.Method+" "+r.URL.EscapedPath()]
	if !ok {
		answer, ok = stub[r.Method+" "+r.URL.EscapedPath()]
	}
	if !ok {
		answer = reply(http.StatusNotFound, `{"error":{"code":"NotFound","message":"`+r.URL.EscapedPath()+`"}}`)
	}
	resp := answer(r)
	if resp == nil {
		return nil, io.ErrUnexpectedEOF
	}
	resp.Request = r
	return resp, nil
}

// stub is what a bare Entra and a bare workspace answer.
var stub = answers{
	"GET /tenant/v2.0/.well-known/openid-configuration": reply(http.StatusOK, `{
		"issuer": "https://login.test/tenant/v2.0",
		"authorization_endpoint": "https://login.test/tenant/oauth2/v2.0/authorize",
		"device_authorization_endpoint": "https://login.test/tenant/oauth2/v2.0/devicecode",
		"token_endpoint": "https://login.test/tenant/oauth2/v2.0/token"}`),
	"POST /tenant/oauth2/v2.0/token": reply(http.StatusOK, `{"token_type":"Bearer","access_token":"`+entraToken+`","expires_in":3599}`),
	"GET " + stubID:                  reply(http.StatusOK, `{"properties":{"discoveryUrl":"https://mm.test/discovery"}}`),
	"GET /discovery":                 reply(http.StatusOK, `{"api":"`+stubMM+`"}`),
}

// reply answers with a status, a body and header fields given as name, value.
func reply(status int, body string, fields ...string) func(*http.Request) *http.Response {
	return func(*http.Request) *http.Response {
		h := http.Header{}
		for i := 0; i+1 < len(fields); i += 2 {
			h.Set(fields[i], fields[i+1])
		}
		return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: h, Body: io.NopCloser(bytes.NewReader([]byte(body)))}
	}
}

// with returns a with some answers replaced.
func (a answers) with(more answers) answers {
	all := maps.Clone(a)
	maps.Copy(all, more)
	return all
}

// stubbed is a configuration that reaches nothing but a.
func stubbed(a http.RoundTripper) azureml.Config {
	return azureml.Config{
		SubscriptionID: "sub", ResourceGroup: "group", Workspace: "ws", ARMURL: stubARM,
		Identity: azureml.Identity{
			TenantID: "tenant", ClientID: "client", ClientSecret: secret.New("s3cret+/="),
			AuthorityHost: "https://login.test/", DisableInstanceDiscovery: true,
		},
		Client: &http.Client{Transport: a},
	}
}

// object marshals a JSON object.
func object(fields map[string]any) string {
	text, err := json.Marshal(fields)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
