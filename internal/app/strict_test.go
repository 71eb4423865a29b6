package app_test

import (
	"io"
	"strings"
	"testing"

	"amlproxy/authn"
	"amlproxy/internal/app"
	"amlproxy/internal/config"
)

// TestCheckIsAsStrictAsAuthn: what amlproxy check lets pass can be built, so that no
// mistake waits for the start, where it has no name.
func TestCheckIsAsStrictAsAuthn(t *testing.T) {
	usual := []string{
		"ROUTES_0_NAME=m", "ROUTES_0_URL=http://127.0.0.1:1/score", "ROUTES_0_AUTH=none", "PUBLIC_URL=https://models.example.com",
		"OIDC_ISSUER=https://idp.example.com", "OIDC_CLIENT_ID=web", "OIDC_CLIENT_SECRET=s", "COOKIE_SECRET=" + newCookieSecret(),
	}
	build := func(t *testing.T, setting string) (loaded, built error) {
		t.Helper()
		name, _, _ := strings.Cut(setting, "=")
		environ := []string{"AMLPROXY_" + setting}
		if name == "BEARER_ISSUERS_0_URL" {
			environ = append(environ, "AMLPROXY_BEARER_ISSUERS_0_AUDIENCES=a")
		}
		for _, s := range usual {
			if !strings.HasPrefix(s, name+"=") {
				environ = append(environ, "AMLPROXY_"+s)
			}
		}
		settings, err := config.Load(environ)
		if err != nil {
			if family, _, _ := strings.Cut(name, "_"); !strings.Contains(err.Error(), "AMLPROXY_"+family) {
				t.Errorf("%q is refused without its name: %v", setting, err)
			}
			return err, nil
		}
		_, err = app.New(settings, app.Options{Log: io.Discard})
		return nil, err
	}
	for _, value := range []string{
		"prompt=login", "prompt=login login", "prompt=none login", "prompt=now", "prompt= login", "prompt=", "max_age=0", "max_age=01", "max_age=+1",
		"max_age=31536001", "max_age=1e3", "acr_values=a b", "acr_values=a  b", "acr_values=é", "acr_values= a", "acr_values=a\tb", "acr_values=" + strings.Repeat("a", 301),
		"domain_hint=example.com", "domain_hint=example.com/", "domain_hint=é.example", "domain_hint=a b", "domain_hint=https://x",
		"login_hint=a@b", "login_hint=é", "login_hint=\xff", "login_hint=a\x01", "nonce=a",
	} {
		name, hint, _ := strings.Cut(value, "=")
		loaded, built := build(t, "OIDC_PARAMETERS="+value)
		if judged := authn.CheckLoginParameter(name, hint); (loaded == nil) != (judged == nil) || built != nil {
			t.Errorf("%q: check says %v, authn %v, built %v", value, loaded, judged, built)
		}
	}
	for name, values := range map[string][]string{
		"PUBLIC_URL":           {"https://Models.Example.com", "https://models.example.com:443", "https://models.example.com/", "https://models.example.com:8443", "https://[::1]:8443", "https://models_1.example.com", "https://münchen.example", "https://xn--mnchen-3ya.example", "https://*.example.com"},
		"RETURN_ORIGINS":       {"https://app.example.com", "https://App.example.com", "https://app.example.com/", "https://*.example.com", "https://app.example.com:443", "http://localhost:3000", "https://[::1]", "null", "https://u@app.example.com", "https://app.example.com,https://app.example.com"},
		"OIDC_ISSUER":          {"https://idp.example.com/", "https://IdP.example.com", "https://idp.example.com/a?b", "https://idp.example.com/a#b", "https://u@idp.example.com", "https://login.microsoftonline.com/common/v2.0", "https://login.microsoftonline.com/common", "https://login.microsoftonline.com/Common/v2.0", "https://login.microsoftonline.com/t/v2.0", "https://login.chinacloudapi.cn/common/v2.0", "http://127.0.0.1:1"},
		"BEARER_ISSUERS_0_URL": {"https://other.example", "https://idp.example.com", "https://other.example?x", "ftp://other.example", "https://login.microsoftonline.com/organizations/v2.0"},
		"OIDC_AUDIENCES":       {"a", "a,b", "a,", ",", "api://x", "https://ml.azure.com"},
		"OIDC_TENANTS":         {"a", "a,", "A b"},
		"OIDC_ALGORITHMS":      {"RS256", "HS256", "none", "rs256", "RS256,RS256"},
		"OIDC_SCOPES":          {"openid", "profile", "openid,a b", "openid,\""},
		"OIDC_START_PARAMETERS": {
			"none", "none,prompt", "prompt,prompt", "nonce", "prompt,max_age",
		},
		"OIDC_CLIENT_ID":     {"web", " ", "a b", "é"},
		"OIDC_RESPONSE_MODE": {"query", "form_post", "fragment"},
		"SESSION_IDLE":       {"1h", "0s", "-1h", "13h", "1s", "15m"},
		"SESSION_MAX":        {"12h", "0s", "30m", "1h"},
		"SESSION_REFRESH":    {"15m", "0s", "-1s", "1h", "2h"},
		"REDIS_URL":          {"redis://cache", "redis://", "unix:///tmp/x", "redis://:p%zz@x", "rediss://a:b@c:1/2", "redis://cache/70000", "redis://cache?db=1", "redis://a,b"},
		"COOKIE_SECRET":      {newCookieSecret(), newCookieSecret() + "," + newCookieSecret(), "AAAA", strings.Repeat("A", 43) + "="},
		"OIDC_CLIENT_SECRET": {"s", "é", "a b", " "},
	} {
		for _, value := range values {
			if loaded, built := build(t, name+"="+value); loaded == nil && built != nil {
				t.Errorf("%s=%s passes check, and then: %v", name, value, built)
			}
		}
	}
}
