package azureml_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
	"amlproxy/upstream/azuremltest"
)

// rotated is what a secret was before it was rotated.
func rotated(s string) secret.Value { return secret.New(s + "-old") }

func TestAMistakenConfigurationIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*azureml.Config)
		says   string
	}{
		"no client":                  {func(c *azureml.Config) { c.Client = nil }, "HTTP client"},
		"half a workspace":           {func(c *azureml.Config) { c.ResourceGroup, c.Workspace = "", "" }, "resource group is missing\nthe workspace name is missing"},
		"a workspace that climbs":    {func(c *azureml.Config) { c.Workspace = ".." }, "cannot be a name"},
		"an unknown cloud":           {func(c *azureml.Config) { c.Cloud = "mars" }, "usgovernment"},
		"ARM that is no address":     {func(c *azureml.Config) { c.ARMURL = "management.azure.com" }, "Azure Resource Manager"},
		"ARM with a user":            {func(c *azureml.Config) { c.ARMURL = "https://u:p4ss@arm.test" }, "user"},
		"an authority in clear":      {func(c *azureml.Config) { c.Identity.AuthorityHost = "http://login.test" }, "https"},
		"a secret without client ID": {func(c *azureml.Config) { c.Identity.ClientID = "" }, "client ID"},
		"a client ID without secret": {func(c *azureml.Config) { c.Identity.ClientSecret = secret.Value{} }, "client secret"},
		"a login and a secret":       {func(c *azureml.Config) { c.Identity.Login = azureml.LoginBrowser }, "exclude"},
		"an unknown login":           {func(c *azureml.Config) { c.Identity.Login = "carrier-pigeon" }, "device-code"},
		"a device code unseen": {func(c *azureml.Config) {
			c.Identity.Login, c.Identity.ClientSecret = azureml.LoginDeviceCode, secret.Value{}
		}, "show"},
	} {
		cfg := stubbed(stub)
		c.change(&cfg)
		_, err := azureml.New(cfg)
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		wantText(t, err, c.says)
		if strings.Contains(err.Error(), "p4ss") {
			t.Errorf("a password in: %v", err)
		}
	}
}

func TestEachCloudHasItsOwnHostsAndScopes(t *testing.T) {
	for cloud, want := range map[azureml.Cloud][]string{
		"":                   {"login.microsoftonline.com", "management.azure.com", "https://ml.azure.com/.default", "https://management.core.windows.net//.default"},
		azureml.USGovernment: {"login.microsoftonline.us", "management.usgovcloudapi.net", "https://ml.azure.us/.default", "https://management.core.usgovcloudapi.net//.default"},
		azureml.China:        {"login.chinacloudapi.cn", "management.chinacloudapi.cn", "https://ml.azure.cn/.default", "https://management.core.chinacloudapi.cn//.default"},
	} {
		var mu sync.Mutex
		seen := map[string]bool{}
		note := func(r *http.Request) *http.Response {
			mu.Lock()
			defer mu.Unlock()
			seen[r.URL.Host] = true
			if r.Body != nil {
				raw, _ := io.ReadAll(r.Body)
				form, _ := url.ParseQuery(string(raw))
				for _, scope := range strings.Fields(form.Get("scope")) {
					seen[scope] = true
				}
			}
			return nil
		}
		cfg := stubbed(answers{
			"GET /tenant/v2.0/.well-known/openid-configuration": func(r *http.Request) *http.Response {
				note(r)
				return reply(http.StatusOK, strings.ReplaceAll(`{"issuer":"https://HOST/tenant/v2.0","authorization_endpoint":"https://HOST/a",
					"token_endpoint":"https://HOST/tenant/oauth2/v2.0/token"}`, "HOST", r.URL.Host))(r)
			},
			"POST /tenant/oauth2/v2.0/token": func(r *http.Request) *http.Response {
				note(r)
				return stub["POST /tenant/oauth2/v2.0/token"](r)
			},
			"GET " + stubID + "/onlineEndpoints/m": func(r *http.Request) *http.Response {
				note(r)
				return reply(http.StatusOK, `{"properties":{"authMode":"AADToken","scoringUri":"https://m.test/score"}}`)(r)
			},
		})
		cfg.Cloud, cfg.ARMURL, cfg.Identity.AuthorityHost = cloud, "", ""
		fetch(t, open(t, cfg).Endpoint("m", "", azureml.Auto), nil)
		for _, name := range want {
			if !seen[name] {
				t.Errorf("%s: %s was not asked: %v", cloud, name, seen)
			}
		}
	}
}

func TestARejectedEntraTokenIsReplacedOnceForAllRoutes(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	one := must(a.AddEndpoint(azuremltest.Endpoint{Name: "one", Auth: azuremltest.Entra, Model: model}))(t)
	two := must(a.AddEndpoint(azuremltest.Endpoint{Name: "two", Auth: azuremltest.Entra, Model: model}))(t)
	cfg := config(t, a)
	w := open(t, cfg)
	sources := []upstream.Source{w.Endpoint("one", "", azureml.Auto), w.Endpoint("two", "", azureml.Auto)}
	for _, s := range sources {
		fetch(t, s, nil)
	}
	wantCalls(t, a, map[string]int{authorityToken: 2, "get endpoint/one": 1, "get endpoint/two": 1})
	one.RevokeTokens()
	two.RevokeTokens()
	for _, s := range sources {
		if lease := fetch(t, s, nil); score(t, cfg.Client, lease) != http.StatusOK {
			t.Error("the token is still the rejected one")
		}
	}
	wantCalls(t, a, map[string]int{authorityToken: 1, "get endpoint/one": 1, "get endpoint/two": 1})
}

func TestATokenThatARMRejectsIsReplacedAtOnce(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	must(a.AddEndpoint(azuremltest.Endpoint{Name: "m", Model: model}))(t)
	s := open(t, config(t, a)).Endpoint("m", "", azureml.Auto)
	fetch(t, s, nil)
	a.ResetCalls()
	a.Fail("listkeys", azuremltest.Fault{Times: 1, Status: http.StatusUnauthorized})
	fetch(t, s, nil)
	wantCalls(t, a, map[string]int{authorityToken: 1, "get endpoint/m": 1, "listkeys endpoint/m": 2})
	a.Fail("listkeys", azuremltest.Fault{Status: http.StatusUnauthorized})
	_ = failure(t, s)
	wantCalls(t, a, map[string]int{authorityToken: 1, "get endpoint/m": 1, "listkeys endpoint/m": 2}) // never a third time
}

func TestTheAuthorityMayBeDownWhileATokenIsHeld(t *testing.T) {
	hourly(t, azuremltest.Options{EntraLifetime: 2 * time.Hour, EntraRefresh: time.Hour}, func(t *testing.T, a *azuremltest.Azure, clock *bubbleClock, out outside) {
		out.add(t, func() (*azuremltest.Scoring, error) {
			return a.AddEndpoint(azuremltest.Endpoint{Name: "m", Model: model})
		})
		s := open(t, config(t, a)).Endpoint("m", "", azureml.Auto)
		fetch(t, s, nil)
		a.Fail("authority", azuremltest.Fault{Status: http.StatusServiceUnavailable})
		clock.pass(90 * time.Minute)
		fetch(t, s, nil)
		clock.pass(time.Hour)
		wantText(t, failure(t, s), "asking Entra ID")
		a.Mend("authority")
		fetch(t, s, nil)
	})
}

// fakeAz puts an az in the path that counts how often it is started.
func fakeAz(t *testing.T, a *azuremltest.Azure, token string) (count func() int) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	script := "#!/bin/sh\necho started >> '" + log + "'\necho '" + object(map[string]any{
		"accessToken": token, "expires_on": time.Now().Add(time.Hour).Unix(), "tokenType": "Bearer", "tenant": a.Tenant(),
	}) + "'\n"
	if err := os.WriteFile(filepath.Join(dir, "az"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "AzureCLICredential")
	return func() int {
		raw, err := os.ReadFile(log)
		if err != nil {
			return 0
		}
		return strings.Count(string(raw), "started")
	}
}

func TestTheAzureCLIIsNotStartedForEachCall(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	scoring := must(url.Parse("https://m.test/score"))(t)
	count := fakeAz(t, a, "cli-token")
	cfg := config(t, a)
	cfg.Identity = azureml.Identity{TenantID: a.Tenant()}
	w := open(t, cfg)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			lease, err := w.Entra(scoring, "").Fetch(t.Context(), nil)
			if err != nil || lease.Primary.Reveal() != "cli-token" {
				t.Error(lease, err)
			}
		})
	}
	wg.Wait()
	fetch(t, w.Entra(scoring, ""), nil)
	if n := count(); n != 1 {
		t.Errorf("az was started %d times", n)
	}
}

// deviceLogin is an Entra that waits for an operator until signedIn is closed.
func deviceLogin(signedIn <-chan struct{}) answers {
	return stub.with(answers{
		"POST /tenant/oauth2/v2.0/devicecode": reply(http.StatusOK, `{"user_code":"ABC-DEF","device_code":"dev","verification_uri":"https://login.test/device",
			"expires_in":900,"interval":1,"message":"open https://login.test/device and enter ABC-DEF"}`),
		"POST /tenant/oauth2/v2.0/token": func(r *http.Request) *http.Response {
			select {
			case <-signedIn:
				return reply(http.StatusOK, `{"token_type":"Bearer","access_token":"operator-token","expires_in":3599,"scope":"https://ml.azure.com/.default",
					"client_info":"eyJ1aWQiOiJ1IiwidXRpZCI6InQifQ","id_token":"e30.eyJzdWIiOiJvcGVyYXRvciIsInRpZCI6InRlbmFudCJ9."}`)(r)
			default:
				return reply(http.StatusBadRequest, `{"error":"authorization_pending","error_description":"AADSTS70016: pending"}`)(r)
			}
		},
		"GET " + stubID + "/onlineEndpoints/m": reply(http.StatusOK, `{"properties":{"authMode":"AADToken","scoringUri":"https://m.test/score"}}`),
	})
}

func TestADeviceCodeIsShownAndTheSignInOutlivesTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signedIn := make(chan struct{})
		cfg := stubbed(deviceLogin(signedIn))
		cfg.Identity.Login, cfg.Identity.ClientSecret = azureml.LoginDeviceCode, secret.Value{}
		var mu sync.Mutex
		var shown []string
		cfg.Prompt = func(message string) {
			mu.Lock()
			defer mu.Unlock()
			shown = append(shown, message)
		}
		s := open(t, cfg).Entra(must(url.Parse("https://m.test/score"))(t), "https://ml.azure.com/.default")
		held := make(chan *upstream.Lease)
		go func() {
			lease, err := s.Fetch(t.Context(), nil)
			if err != nil {
				t.Error(err)
			}
			held <- lease
		}()
		time.Sleep(5 * time.Minute) // of the operator's life
		close(signedIn)
		if lease := <-held; lease == nil || lease.Primary.Reveal() != "operator-token" {
			t.Errorf("%+v", lease)
		}
		if len(shown) != 1 || !strings.Contains(shown[0], "ABC-DEF") {
			t.Errorf("shown: %q", shown)
		}
	})
}

func TestCloseEndsASignInThatNobodyFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := stubbed(deviceLogin(nil))
		cfg.Identity.Login, cfg.Identity.ClientSecret = azureml.LoginDeviceCode, secret.Value{}
		cfg.Prompt = func(string) {}
		w := open(t, cfg)
		s := w.Endpoint("m", "", azureml.Auto)
		if e := failure(t, s); !strings.Contains(e.Error(), "no answer within 15s") {
			t.Error(e)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if _, err := s.Fetch(t.Context(), nil); err == nil {
			t.Error("a closed workspace answers")
		}
	})
}

func TestNothingPrintsTheIdentity(t *testing.T) {
	cfg := stubbed(stub.with(answers{
		"GET " + stubID + "/onlineEndpoints/m": reply(http.StatusOK, `{"properties":{"authMode":"AADToken","scoringUri":"https://m.test/score"}}`),
	}))
	w := open(t, cfg)
	s := w.Endpoint("m", "", azureml.Auto)
	lease := fetch(t, s, nil)
	for _, v := range []any{cfg, w, s, lease, *lease} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, "s3cret") || strings.Contains(text, entraToken) ||
				strings.Contains(text, fmt.Sprintf("%x", entraToken)) {
				t.Errorf("%T under %s: %s", v, verb, text)
			}
		}
	}
}
