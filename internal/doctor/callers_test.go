package doctor_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"amlproxy/authn/authntest"
)

func TestHealthyProvidersAreOKInEveryLine(t *testing.T) {
	w := newTown(t)
	failed, lines := w.examine(t)
	if failed != 0 || len(lines) != 17 {
		t.Errorf("%d failed of %d", failed, len(lines))
	}
	for _, l := range lines {
		if l.state != "ok" {
			t.Errorf("%+v", l)
		}
	}
}

// TestEveryBrokenProviderIsDiagnosed: as for what the proxy calls.
func TestEveryBrokenProviderIsDiagnosed(t *testing.T) {
	type sabotage func(*testing.T, *town)
	set := func(pairs ...string) sabotage {
		return func(_ *testing.T, w *town) {
			for i := 0; i < len(pairs); i += 2 {
				w.settings[pairs[i]] = pairs[i+1]
			}
		}
	}
	misbehave := func(f authntest.Fault) sabotage { return func(_ *testing.T, w *town) { w.login.Misbehave(f) } }
	says := func(name string, value any) sabotage {
		return misbehave(authntest.AlterJSON(authntest.Discovery, func(o map[string]any) { o[name] = value }))
	}
	page := func(e authntest.Endpoint, status int, body string) sabotage {
		return misbehave(authntest.Answer(e, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}))
	}
	late := func(by time.Duration) sabotage {
		return func(_ *testing.T, w *town) {
			w.login.Misbehave(authntest.Wrap(authntest.Any, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(a http.ResponseWriter, r *http.Request) {
					a.Header().Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
					next.ServeHTTP(a, r)
				})
			}))
		}
	}
	for name, c := range map[string]struct {
		sabotage sabotage
		wants    []want
	}{
		"provider down": {func(t *testing.T, w *town) { w.settings["AMLPROXY_OIDC_ISSUER"] = "https://" + nowhere(t) }, []want{
			{"FAIL", "login: connection", "refuses the connection", "AMLPROXY_OIDC_ISSUER"},
		}},
		"provider that does not resolve": {set("AMLPROXY_OIDC_ISSUER", "https://idp.test"), []want{{"FAIL", "login: dns", "idp.test does not resolve", "AMLPROXY_OIDC_ISSUER"}}},
		"provider of an unknown CA": {func(_ *testing.T, w *town) { w.roots = nil }, []want{
			{"FAIL", "login: connection", "not trusted here", "AMLPROXY_CA_FILE"}, {"FAIL", "bearer 0: connection", "not trusted here", "AMLPROXY_CA_FILE"},
		}},
		"provider that never answers": {func(_ *testing.T, w *town) {
			w.options.Limit = 300 * time.Millisecond
			w.login.Misbehave(authntest.Hang(authntest.Any))
			w.login.Misbehave(authntest.Hang(authntest.Discovery))
		}, []want{{"FAIL", "login: discovery", "no answer within 300ms", "firewall"}}},
		"discovery is not there":    {misbehave(authntest.Status(authntest.Discovery, 404, "")), []want{{"FAIL", "login: discovery", "answers 404", "Keycloak: …/realms/REALM"}}},
		"discovery is a page":       {misbehave(authntest.Body(authntest.Discovery, "text/html", []byte("<html>"))), []want{{"FAIL", "login: discovery", "is no discovery document", "AMLPROXY_OIDC_ISSUER"}}},
		"discovery is elsewhere":    {page(authntest.Discovery, 302, ""), []want{{"FAIL", "login: discovery", "a redirect is not followed", "AMLPROXY_OIDC_ISSUER"}}},
		"discovery is endless":      {misbehave(authntest.Body(authntest.Discovery, "application/json", make([]byte, 2<<20))), []want{{"FAIL", "login: discovery", "longer than 1 MiB", ""}}},
		"issuer by another name":    {says("issuer", "https://login.example.com/"), []want{{"FAIL", "login: discovery", `calls itself "https://login.example.com/"`, "AMLPROXY_OIDC_ISSUER=https://login.example.com/"}}},
		"issuer with a slash":       {func(_ *testing.T, w *town) { w.settings["AMLPROXY_OIDC_ISSUER"] = w.login.Issuer() + "/" }, []want{{"FAIL", "login: discovery", "calls itself", "AMLPROXY_OIDC_ISSUER=https://127.0.0.1"}}},
		"endpoint in clear":         {says("token_endpoint", "http://login.example.com/token"), []want{{"FAIL", "login: discovery", "token_endpoint is http://login.example.com/token: not https", "KC_PROXY_HEADERS"}}},
		"no authorization":          {says("authorization_endpoint", ""), []want{{"FAIL", "login: discovery", "names no authorization_endpoint", "AMLPROXY_OIDC_ISSUER"}}},
		"no keys named":             {says("jwks_uri", nil), []want{{"FAIL", "login: discovery", "names no jwks_uri", "AMLPROXY_OIDC_ISSUER"}}},
		"other algorithms":          {set("AMLPROXY_OIDC_ALGORITHMS", "PS512"), []want{{"FAIL", "login: discovery", "it signs with ES256, and allowed is PS512", "AMLPROXY_OIDC_ALGORITHMS"}}},
		"a symmetric algorithm":     {says("id_token_signing_alg_values_supported", []string{"HS256"}), []want{{"FAIL", "login: discovery", "it signs with HS256", "AMLPROXY_OIDC_ALGORITHMS"}}},
		"no code flow":              {says("response_types_supported", []string{"id_token"}), []want{{"FAIL", "login: flow", "without code", "PKCE"}}},
		"no PKCE":                   {says("code_challenge_methods_supported", []string{"plain"}), []want{{"FAIL", "login: flow", "code_challenge_methods_supported is plain, without S256", "PKCE"}}},
		"keys refused":              {misbehave(authntest.Status(authntest.Keys, 500, "")), []want{{"FAIL", "login: keys", "answers 500", "no token can be checked"}}},
		"no usable key":             {misbehave(authntest.Body(authntest.Keys, "application/json", []byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))), []want{{"FAIL", "login: keys", "none of 2 keys is usable", "RS256"}}},
		"keys are no set":           {misbehave(authntest.Body(authntest.Keys, "application/json", []byte(`[]`))), []want{{"FAIL", "login: keys", "it is no key set", "no token"}}},
		"clock 10 minutes slow":     {late(10 * time.Minute), []want{{"FAIL", "callers: clock", "10m0s behind 127.0.0.1", "timedatectl"}}},
		"clock a minute fast":       {late(-time.Minute), []want{{"warn", "callers: clock", "1m0s ahead of 127.0.0.1", "timedatectl"}}},
		"redirect URI unknown":      {set("AMLPROXY_PUBLIC_URL", "https://www.example.com"), []want{{"FAIL", "login: redirect URI", "not registered", "https://www.example.com/oauth2/callback"}}},
		"redirect URI of another":   {set("AMLPROXY_OIDC_CLIENT_ID", "elsewhere"), []want{{"FAIL", "login: redirect URI", "not registered", callback}}},
		"redirect URI, Entra":       {page(authntest.Authorization, 200, "Sorry, AADSTS50011: The redirect URI does not match"), []want{{"FAIL", "login: redirect URI", "AADSTS50011", "az ad app update --id web --web-redirect-uris " + callback}}},
		"client unknown, Entra":     {page(authntest.Authorization, 400, "AADSTS700016: Application not found"), []want{{"FAIL", "login: redirect URI", "does not know the client: AADSTS700016", "AMLPROXY_OIDC_CLIENT_ID"}}},
		"a login page all the same": {page(authntest.Authorization, 200, "<form>"), []want{{"warn", "login: redirect URI", "cannot be told", callback}}},
		"client unknown":            {set("AMLPROXY_OIDC_CLIENT_ID", "nobody"), []want{{"FAIL", "login: redirect URI", "does not know the client", "AMLPROXY_OIDC_CLIENT_ID"}, {"FAIL", "login: client", "does not accept the client nobody", "AMLPROXY_OIDC_CLIENT_SECRET"}}},
		"wrong secret":              {set("AMLPROXY_OIDC_CLIENT_SECRET", "another-secret"), []want{{"FAIL", "login: client", "does not accept the client web", "not its ID"}}},
		"secret expired, Entra":     {page(authntest.TokenEndpoint, 401, `{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys are expired."}`), []want{{"FAIL", "login: client", "has expired", "az ad app credential reset --append --id web"}}},
		"no secret, Entra":          {page(authntest.TokenEndpoint, 401, `{"error":"invalid_client","error_description":"AADSTS7000218: The request body must contain client_assertion or client_secret."}`), []want{{"FAIL", "login: client", "has no secret", "public client"}}},
		"token endpoint broken":     {misbehave(authntest.Status(authntest.TokenEndpoint, 502, "")), []want{{"FAIL", "login: client", "", "token_endpoint"}}},
		"scope unknown":             {set("AMLPROXY_OIDC_SCOPES", "openid,profil"), []want{{"warn", "login: scopes", "does not list profil", "AMLPROXY_OIDC_SCOPES"}}},
		"scope refused": {misbehave(authntest.Answer(authntest.Authorization, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, callback+"?error=invalid_scope&error_description=no+such+scope", http.StatusFound)
		})), []want{{"FAIL", "login: redirect URI", "refuses the scopes: no such scope", "AMLPROXY_OIDC_SCOPES"}}},
		"callers in clear": {set("AMLPROXY_PUBLIC_URL", "http://models.example.com"), []want{
			{"warn", "login: cookie", "not Secure", "AMLPROXY_TLS_CERT_FILE"}, {"FAIL", "login: redirect URI", "not registered", "http://models.example.com/oauth2/callback"},
		}},
		"Redis down": {func(t *testing.T, w *town) {
			w.secrets = append(w.secrets, "hunter2")
			w.settings["AMLPROXY_REDIS_URL"] = "redis://u:hunter2@" + nowhere(t)
		}, []want{{"FAIL", "login: sessions", "Redis does not answer", "AMLPROXY_REDIS_URL"}}},
		"the other issuer's name": {func(_ *testing.T, w *town) {
			w.bearer.Misbehave(authntest.AlterJSON(authntest.Discovery, func(o map[string]any) { o["issuer"] = "https://b.example" }))
		}, []want{{"FAIL", "bearer 0: discovery", "https://b.example", "AMLPROXY_BEARER_ISSUERS_0_URL=https://b.example"}}},
		"the other issuer's keys": {func(_ *testing.T, w *town) {
			w.bearer.Misbehave(authntest.Status(authntest.Keys, 404, ""))
		}, []want{{"FAIL", "bearer 0: keys", "answers 404", "no token"}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			c.sabotage(t, w)
			failed, lines := w.examine(t)
			wantLines(t, failed, lines, c.wants...)
		})
	}
}

// TestEndpointsByHandAreAskedAsTheyAre: nothing is discovered, and the rest holds.
func TestEndpointsByHandAreAskedAsTheyAre(t *testing.T) {
	w := newTown(t)
	for name, path := range map[string]string{"AUTHORIZATION": "/authorize", "TOKEN": "/oauth/token", "JWKS": "/keys"} {
		w.settings["AMLPROXY_OIDC_"+name+"_URL"] = w.login.Issuer() + path
	}
	failed, lines := w.examine(t)
	wantLines(t, failed, lines)
	if w.login.Calls(authntest.Discovery) != 0 {
		t.Error("discovered all the same")
	}
}
