package app_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"amlproxy/internal/app"
	"amlproxy/internal/config"
	"amlproxy/proxy"
)

// read returns the status of path and what its body says.
func read(t *testing.T, url string) (int, proxy.Readiness) {
	t.Helper()
	status, body := get(t, http.DefaultClient, url)
	var reading proxy.Readiness
	if status != 0 {
		if err := json.Unmarshal([]byte(body), &reading); err != nil {
			t.Fatalf("%s: %d %q: %v", url, status, body, err)
		}
	}
	return status, reading
}

// The three questions of a platform, from before the first request until after the
// last: callers may ask two of them, and learn no cause.
func TestHealthFromTheStartToTheEnd(t *testing.T) {
	reached, release := make(chan struct{}), make(chan struct{})
	model := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, _ *http.Request) {
		close(reached)
		<-release
	}))
	defer model.Close()
	settings, err := config.Load(append(public(model.URL+"/score"),
		"AMLPROXY_ROUTES_1_NAME=gone", "AMLPROXY_ROUTES_1_SERVICE=s", "AMLPROXY_ROUTES_1_PUBLIC=true",
		"AMLPROXY_SUBSCRIPTION_ID=s", "AMLPROXY_RESOURCE_GROUP=g", "AMLPROXY_WORKSPACE_NAME=w",
		"AML_TENANT_ID=t", "AML_PRINCIPAL_ID=p", "AML_PRINCIPAL_PASS=canary-secret",
		"AZURE_AUTHORITY_HOST=https://127.0.0.1:1/", "AMLPROXY_AZURE_ARM_URL=https://127.0.0.1:1",
		"AMLPROXY_AZURE_ARM_AUDIENCE=https://arm.test", "AMLPROXY_AZURE_DISABLE_INSTANCE_DISCOVERY=true"))
	if err != nil {
		t.Fatal(err)
	}
	callers, operators := listen(t), listen(t)
	url, admin := "http://"+callers.Addr().String(), "http://"+operators.Addr().String()
	a, err := app.New(settings, app.Options{Log: io.Discard, Listener: callers, AdminListener: operators})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()

	until(t, "the other route was asked about", func() bool {
		_, reading := read(t, admin+"/readyz")
		return len(reading.Routes) == 2 && strings.Contains(reading.Routes[1].Reason, "127.0.0.1:1")
	})
	for path, want := range map[string]int{
		admin + "/livez": 200, admin + "/readyz": 200, admin + "/startupz": 200, admin + "/healthz": 404,
		url + "/livez": 200, url + "/readyz": 200, url + "/startupz": 404,
	} {
		if status, body := get(t, http.DefaultClient, path); status != want || strings.Contains(body, "canary") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if _, reading := read(t, url+"/readyz"); !reading.Ready || reading.Routes[0].State != "ready" || reading.Routes[1].State != "missing" ||
		strings.Contains(reading.Routes[1].Reason, "127.0.0.1") {
		t.Errorf("callers are told %+v", reading)
	}

	go func() { _, _ = get(t, http.DefaultClient, url+"/models/m") }()
	<-reached
	stop()
	until(t, "readiness goes first", func() bool { status, _ := read(t, admin+"/readyz"); return status == 503 })
	if _, reading := read(t, admin+"/readyz"); reading.Ready || reading.Reason != "draining" || len(reading.Routes) != 2 {
		t.Errorf("%+v", reading)
	}
	if status, reading := read(t, admin+"/startupz"); status != 200 || !reading.Ready {
		t.Errorf("a stop took the start back: %d", status)
	}
	if status, _ := get(t, http.DefaultClient, admin+"/livez"); status != 200 {
		t.Errorf("live while draining: %d", status)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
