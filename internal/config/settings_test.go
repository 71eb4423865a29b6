package config_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"amlproxy/internal/config"
)

// malformed has values of every setting that is not any text, which must be
// refused there. "text" settings without a form of their own are not in it.
func malformed() map[string][]string {
	url := []string{"example.com", "ftp://example.com", "https://", "https://u:p@example.com", "https://example.com/#x", "https://example.com:x", "https://exa%6dple.com", `https://example.com\@evil.example`}
	duration := []string{"5", "-5s", "0s", "five", "1 m"}
	size := []string{"-1", "0", "1.5MiB", "64k", "1 MiB", "99999999999GiB"}
	origin := []string{"*", "null", "https://a.example/", "https://A.example", "https://a.example:443", "http://a.example:80", "a.example", "https://*.a.example", "https://a.example,https://a.example"}
	word := []string{"x", "INFO", "json ", "true"}
	file := []string{"/nonexistent/file", "/"}
	list := []string{",", "a,,b", "a,"}
	return map[string][]string{
		"LISTEN": {"8080", "localhost", ":99999", ":x", "a b:1", ":080"}, "ADMIN_LISTEN": {"9090", "::1:9090", ":-1", ":8080"},
		"PUBLIC_URL":    append(url, "https://example.com/x", "https://example.com/?q", "https://example.com?"),
		"TLS_CERT_FILE": file, "TLS_KEY_FILE": file, "CA_FILE": file, "AUDIT_FILE": file, "CLIENT_CA_FILE": file,
		"TRUSTED_PROXIES": {"x", "10.0.0.0/33", "10.0.0.1/8", "0.0.0.0/0", "::/0", "10.0.0.0/8,", "fe80::1%eth0", "::ffff:10.0.0.0/104"},
		"DRAIN_DELAY":     {"x", "5", "-1s", "1 s", "s"},
		"DRAIN_TIMEOUT":   duration, "READ_HEADER_TIMEOUT": duration, "IDLE_TIMEOUT": duration,
		"MAX_HEADER_BYTES": append(size, "1KiB", "1GiB"), "REPLAY_LIMIT": append(size, "2GiB"),
		"LOG_LEVEL": word, "LOG_FORMAT": word,
		"OIDC_ISSUER": append(url, "https://example.com/?tenant=x"),
		"OIDC_SCOPES": append(list, "profile", `openid,a"b`, "openid,a b"), "OIDC_AUDIENCES": list, "OIDC_TENANTS": list,
		"COOKIE_SECRET": {
			"x", "c2hvcnQ=", strings.Repeat("A", 43) + "=", cookieSecret + "," + cookieSecret, cookieSecret + ",", "!" + cookieSecret,
			"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", strings.Repeat("AAEC", 10) + "AAE", cookieSecret[:40], cookieSecret + "AAAA",
		},
		"SESSION_IDLE": append(duration, "13h"), "SESSION_MAX": duration, "SESSION_REFRESH": append(duration, "1h", "2h"),
		"SESSION_GROUPS":   list,
		"RETURN_ORIGINS":   origin,
		"REDIS_URL":        {"x", "cache:6379", "http://cache", "redis://", "redis://cache:0", "redis://cache/x", "redis://cache?db=1"},
		"WORKSPACE_CONFIG": file, "SUBSCRIPTION_ID": {"a/b", "..", "a?b", "a#b"}, "RESOURCE_GROUP": {"a/b", ".", `a\b`}, "WORKSPACE_NAME": {"a/b", "..", "a%2fb"},
		"AZURE_CLOUD": {"x", "Public"}, "AZURE_ARM_URL": append(url, "https://management.chinacloudapi.cn"), "AZURE_ARM_AUDIENCE": url, "AZURE_ML_SCOPE": {"https://ml.azure.com", "a b/.default"},
		"AZURE_DISABLE_INSTANCE_DISCOVERY": {"yes", "1", "TRUE"}, "AZURE_LOGIN": {"x", "Browser"}, "SDK_AUTH_FILE": file,
		"ROUTES_FILE":          file,
		"BEARER_ISSUERS_n_URL": url, "BEARER_ISSUERS_n_AUDIENCES": list, "BEARER_ISSUERS_n_TENANTS": list,
		"OIDC_ALGORITHMS": append(list, "none", "HS256", "rs256", "RSA-OAEP"), "BEARER_ISSUERS_n_ALGORITHMS": append(list, "none", "HS256", "RS256,dir"),
		"OIDC_CLIENT_AUTH": append(word, "basic", "none", "client_secret_jwt"), "OIDC_RESPONSE_MODE": append(word, "fragment", "query.jwt"),
		"OIDC_CLIENT_KEY_FILE": file, "OIDC_CLIENT_ASSERTION_FILE": file,
		"OIDC_CLIENT_CERT_FILE": file, "OIDC_CLIENT_KEY_ID": {"k"}, "OIDC_CLIENT_ASSERTION_AUDIENCE": {"a"}, // without a key
		"OIDC_AUTHORIZATION_URL": append(url, "http://example.com"), "OIDC_TOKEN_URL": append(url, "http://example.com"), "OIDC_JWKS_URL": append(url, "http://example.com"),
		"OIDC_END_SESSION_URL": append(url, "http://example.com"), "OIDC_USERINFO_URL": append(url, "http://example.com"),
		"OIDC_PARAMETERS":         append(list, "prompt", "prompt=", "prompt=now", "prompt=none login", "max_age=-1", "max_age=1h", "nonce=x", "redirect_uri=https://evil.example", "max_age=1,max_age=2"),
		"OIDC_START_PARAMETERS":   append(list, "nonce", "Prompt", "none,prompt"),
		"AZURE_AUTHORITY_HOST":    append(url, "http://login.example.com", "http://127.0.0.1:1", "https://login.microsoftonline.us"),
		"AML_PRINCIPAL_CERT_FILE": file,
	}
}

// anyText are the settings that are what they are.
var anyText = []string{
	"OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_GROUPS_CLAIM", "OIDC_ROLES_CLAIM",
	"BEARER_ISSUERS_n_GROUPS_CLAIM", "BEARER_ISSUERS_n_ROLES_CLAIM", "AML_TENANT_ID", "AML_PRINCIPAL_ID", "AML_PRINCIPAL_PASS", "AML_PRINCIPAL_CERT_PASSWORD",
}

// everySetting yields the settings that are not of a route, by full name with
// the number 0.
func everySetting(yield func(name string, row config.TableRow) bool) {
	for _, row := range config.Table() {
		if strings.HasPrefix(row.Name, "AMLPROXY_ROUTES_n_") {
			continue // see the options
		}
		if !yield(strings.Replace(row.Name, "_n_", "_0_", 1), row) {
			return
		}
	}
}

func TestEverySettingIsRefusedWhenWrong(t *testing.T) {
	wrong := malformed()
	for name, row := range everySetting {
		short := strings.TrimPrefix(row.Name, "AMLPROXY_")
		base := oneRoute()
		if strings.HasPrefix(short, "BEARER") {
			base = append(base, "AMLPROXY_BEARER_ISSUERS_0_URL=https://b.example", "AMLPROXY_BEARER_ISSUERS_0_AUDIENCES=api")
		}
		for _, empty := range []string{"", "  ", "\n"} {
			refused(t, set(base, name+"="+empty), name, "set but empty")
		}
		for _, bad := range []string{"a\nb", "a\x00b", " a", "a\t"} {
			refused(t, set(base, name+"="+bad), name, "")
		}
		refused(t, append(set(base, name+"=a"), name+"=b"), name, "set twice")
		if strings.HasPrefix(name, "AMLPROXY_") {
			refused(t, set(base, name+"X=a"), name+"X", "nearest is AMLPROXY_")
			misspelt := name[:len(name)-2] + name[len(name)-1:]
			refused(t, set(base, misspelt+"=a"), misspelt, "nearest is "+name)
		}
		if _, ok := wrong[short]; !ok && !slices.Contains(anyText, short) {
			t.Errorf("%s is in no table of this test", short)
		}
		for _, v := range wrong[short] {
			refused(t, set(base, name+"="+v), name, "")
		}
	}
}

func TestNumbersWithoutGap(t *testing.T) {
	for _, n := range []string{"1", "7", "2000000000"} {
		name := "AMLPROXY_BEARER_ISSUERS_" + n + "_URL"
		refused(t, oneRoute(name+"=https://b.example"), name, "after a gap: there is no AMLPROXY_BEARER_ISSUERS_0_")
	}
}

func TestWhatNothingReadsIsRefused(t *testing.T) {
	for name, nearest := range map[string]string{
		"AMLPROXY_LISTN":                     "AMLPROXY_LISTEN",
		"AMLPROXY_OIDC_CLIENT_SECRE":         "AMLPROXY_OIDC_CLIENT_SECRET",
		"AMLPROXY_COOKIE_SECRET_FIL":         "AMLPROXY_COOKIE_SECRET_FILE",
		"AMLPROXY_ROUTES_0_GRUOPS":           "AMLPROXY_ROUTES_0_GROUPS",
		"AMLPROXY_ROUTES_17_KEYFILE":         "AMLPROXY_ROUTES_17_KEY_FILE",
		"AMLPROXY_":                          "AMLPROXY_",
		"AMLPROXY_LISTEN_PORT":               "AMLPROXY_LISTEN",
		"AMLPROXY_ADMIN_SERVICE_HOST":        "AMLPROXY_",
		"AMLPROXY_PORT_x_TCP":                "AMLPROXY_",
		"AMLPROXY_BEARER_ISSUERS_0_ADIENCES": "AMLPROXY_BEARER_ISSUERS_0_AUDIENCES",
	} {
		refused(t, oneRoute(name+"=a"), name, "nearest is "+nearest)
	}
}

func TestWhatKubernetesInjectsIsIgnored(t *testing.T) {
	load(t, oneRoute(
		"AMLPROXY_SERVICE_HOST=10.0.0.1", "AMLPROXY_SERVICE_PORT=80", "AMLPROXY_SERVICE_PORT_HTTP=80", "AMLPROXY_PORT=tcp://10.0.0.1:80",
		"AMLPROXY_PORT_80_TCP=tcp://10.0.0.1:80", "AMLPROXY_PORT_80_TCP_PROTO=tcp", "AMLPROXY_PORT_80_TCP_PORT=80", "AMLPROXY_PORT_80_TCP_ADDR=10.0.0.1",
	))
}

func TestSettingsTogether(t *testing.T) {
	dir := t.TempDir()
	sdk := filepath.Join(dir, "sdk.json")
	write(t, sdk, `{"clientId":"c","clientSecret":"s","tenantId":"t"}`)
	tests := map[string]struct {
		environ     []string
		where, what string
	}{
		"a route for signed-in callers without an issuer": {set(oneRoute(), "AMLPROXY_OIDC_ISSUER", "AMLPROXY_OIDC_CLIENT_ID"), "AMLPROXY_ROUTES_0_NAME", "callers must sign in"},
		"an issuer without a client":                      {set(oneRoute(), "AMLPROXY_OIDC_CLIENT_ID"), "AMLPROXY_OIDC_CLIENT_ID", "is missing"},
		"a login without a public URL":                    {set(oneRoute(), "AMLPROXY_PUBLIC_URL"), "AMLPROXY_PUBLIC_URL", "is missing"},
		"a login without a cookie secret":                 {set(oneRoute(), "AMLPROXY_COOKIE_SECRET"), "AMLPROXY_COOKIE_SECRET", "is missing"},
		"a client without an issuer":                      {set(oneRoute(), "AMLPROXY_OIDC_ISSUER"), "AMLPROXY_OIDC_CLIENT_ID", "no effect without"},
		"a tenant list without an issuer":                 {set(oneRoute("AMLPROXY_OIDC_TENANTS=t"), "AMLPROXY_OIDC_ISSUER"), "AMLPROXY_OIDC_TENANTS", "no effect without"},
		"every tenant of Entra":                           {set(oneRoute(), "AMLPROXY_OIDC_ISSUER=https://login.microsoftonline.com/common/v2.0"), "AMLPROXY_OIDC_TENANTS", "every tenant"},
		"a bearer issuer without audiences":               {oneRoute("AMLPROXY_BEARER_ISSUERS_0_URL=https://b.example"), "AMLPROXY_BEARER_ISSUERS_0_AUDIENCES", "is missing"},
		"an HMAC among the algorithms":                    {oneRoute("AMLPROXY_BEARER_ISSUERS_0_URL=https://b.example", "AMLPROXY_BEARER_ISSUERS_0_AUDIENCES=a", "AMLPROXY_BEARER_ISSUERS_0_ALGORITHMS=RS256,HS256"), "AMLPROXY_BEARER_ISSUERS_0_ALGORITHMS", "something else than RS256"},
		"no algorithm at all, for the login":              {oneRoute("AMLPROXY_OIDC_ALGORITHMS=none"), "AMLPROXY_OIDC_ALGORITHMS", "something else than RS256"},
		"the audience of Azure's own tokens":              {oneRoute("AMLPROXY_BEARER_ISSUERS_0_URL=https://b.example", "AMLPROXY_BEARER_ISSUERS_0_AUDIENCES=a,https://ml.azure.com"), "AMLPROXY_BEARER_ISSUERS_0_AUDIENCES", "a service of Azure itself"},
		"a secret and a federated assertion":              {oneRoute("AMLPROXY_OIDC_CLIENT_SECRET=s", "AMLPROXY_OIDC_CLIENT_ASSERTION_FILE="+sdk), "AMLPROXY_OIDC_CLIENT_ASSERTION_FILE", "in one way"},
		"a way to send a secret, and none":                {oneRoute("AMLPROXY_OIDC_CLIENT_AUTH=client_secret_post"), "AMLPROXY_OIDC_CLIENT_AUTH", "no effect without"},
		"a key that is none":                              {oneRoute("AMLPROXY_OIDC_CLIENT_KEY_FILE=" + sdk), "AMLPROXY_OIDC_CLIENT_KEY_FILE", "exactly one private key"},
		"a certificate without a key":                     {oneRoute("AMLPROXY_OIDC_CLIENT_CERT_FILE=" + sdk), "AMLPROXY_OIDC_CLIENT_CERT_FILE", "no effect without"},
		"half of the endpoints":                           {oneRoute("AMLPROXY_OIDC_TOKEN_URL=https://idp.example.com/token"), "AMLPROXY_OIDC_JWKS_URL", "is missing"},
		"a logout without the other endpoints":            {oneRoute("AMLPROXY_OIDC_END_SESSION_URL=https://idp.example.com/out"), "AMLPROXY_OIDC_AUTHORIZATION_URL", "is missing"},
		"form_post over http":                             {set(oneRoute("AMLPROXY_OIDC_RESPONSE_MODE=form_post"), "AMLPROXY_PUBLIC_URL=http://localhost:1"), "AMLPROXY_OIDC_RESPONSE_MODE", "needs https"},
		"a parameter fixed and free":                      {oneRoute("AMLPROXY_OIDC_PARAMETERS=prompt=login", "AMLPROXY_OIDC_START_PARAMETERS=prompt"), "AMLPROXY_OIDC_START_PARAMETERS", "fixes"},
		"a response mode without an issuer":               {set(oneRoute("AMLPROXY_OIDC_RESPONSE_MODE=query"), "AMLPROXY_OIDC_ISSUER"), "AMLPROXY_OIDC_RESPONSE_MODE", "no effect without"},
		"audiences without an issuer":                     {oneRoute("AMLPROXY_BEARER_ISSUERS_0_AUDIENCES=a"), "AMLPROXY_BEARER_ISSUERS_0_URL", "is missing"},
		"an issuer twice":                                 {oneRoute("AMLPROXY_BEARER_ISSUERS_0_URL=https://idp.example.com", "AMLPROXY_BEARER_ISSUERS_0_AUDIENCES=a"), "AMLPROXY_BEARER_ISSUERS_0_URL", "name each once"},
		"a session renewed after its end":                 {oneRoute("AMLPROXY_SESSION_IDLE=10m"), "AMLPROXY_SESSION_REFRESH", "not shorter"},
		"a session idle after its end":                    {oneRoute("AMLPROXY_SESSION_MAX=30m"), "AMLPROXY_SESSION_IDLE", "longer than"},
		"half of a workspace":                             {oneRoute("AMLPROXY_WORKSPACE_NAME=w"), "AMLPROXY_RESOURCE_GROUP", "is missing"},
		"a workspace in two places":                       {oneRoute("AMLPROXY_SUBSCRIPTION_ID=s", "AMLPROXY_RESOURCE_GROUP=g", "AMLPROXY_WORKSPACE_NAME=w", "AMLPROXY_WORKSPACE_CONFIG="+sdk), "AMLPROXY_WORKSPACE_CONFIG", "one place"},
		"half of a principal":                             {oneRoute("AML_TENANT_ID=t", "AML_PRINCIPAL_ID=c"), "AML_PRINCIPAL_PASS", "is missing"},
		"a principal in two places":                       {oneRoute("AML_TENANT_ID=t", "AML_PRINCIPAL_ID=c", "AML_PRINCIPAL_PASS=p", "AMLPROXY_SDK_AUTH_FILE="+sdk), "AMLPROXY_SDK_AUTH_FILE", "one place"},
		"an operator and a principal":                     {oneRoute("AMLPROXY_AZURE_LOGIN=browser", "AMLPROXY_SDK_AUTH_FILE="+sdk), "AMLPROXY_AZURE_LOGIN", "one place"},
		"two listeners at one address":                    {oneRoute("AMLPROXY_LISTEN=:1", "AMLPROXY_ADMIN_LISTEN=:1"), "AMLPROXY_ADMIN_LISTEN", "its own"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { refused(t, test.environ, test.where, test.what) })
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	file, _ := routesFile(t, "routes:\n  - namex: a\n    service: a/b\n  - name: B\n    endpoint: b\n    timeout: 5\n  - name: c\n    service: c\n"+strings.Repeat("# and\n", 3)+"    x: y\n")
	_, err := config.Load(login("AMLPROXY_ROUTES_FILE="+file, "AMLPROXY_OIDC_TENANTS=", "AMLPROXY_NOSUCH=1", "AMLPROXY_LOG_LEVEL=", "AMLPROXY_LISTEN=x"))
	at := 0
	for _, where := range []string{ // in this order
		"AMLPROXY_LISTEN: ", "AMLPROXY_LOG_LEVEL: ", "AMLPROXY_NOSUCH: ",
		"AMLPROXY_OIDC_TENANTS: ", file + ":2:5: ", file + ":3:14: ", file + ":4:11: ", file + ":6:14: ", file + ":12:5: ",
	} {
		i := strings.Index(fmt.Sprint(err)[at:], "\n  "+where)
		if i < 0 {
			t.Fatalf("nothing about %s in its place in:\n%v", where, err)
		}
		at += i + 1
	}
}

// An anchor's mistake is one, however often it is named.
func TestAMistakeIsSaidOnce(t *testing.T) {
	file, where := routesFile(t, "routes:\n  - {name: a, service: a, access: &x {groups: [§'*']}}\n  - {name: b, service: b, access: *x}\n")
	if all := problems(t, login("AMLPROXY_ROUTES_FILE="+file)); len(all) != 1 || all[0].Where != where {
		t.Errorf("%v", all)
	}
}

// Environments are not sorted, and neither are ten routes by their digits.
func TestMistakesAreInTheOrderOfTheirNumbers(t *testing.T) {
	var environ []string
	for i := range 12 {
		environ = append(environ, fmt.Sprintf("AMLPROXY_ROUTES_%d_NAME=A", i))
	}
	var got []string
	for _, p := range problems(t, login(environ...)) {
		if len(got) == 0 || got[len(got)-1] != p.Where {
			got = append(got, p.Where)
		}
	}
	want := strings.Split(strings.ReplaceAll(strings.Join(environ, ","), "=A", ""), ",")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSettingsAreWhatWasSet(t *testing.T) {
	dir := t.TempDir()
	sdk := filepath.Join(dir, "sdk.json")
	write(t, sdk, `{"clientId":"c","clientSecret":"s","tenantId":"t","subscriptionId":"sub","activeDirectoryEndpointUrl":"https://login.microsoftonline.us","resourceManagerEndpointUrl":"https://management.usgovcloudapi.net/"}`)
	s := load(t, set(oneRoute(),
		"AMLPROXY_TRUSTED_PROXIES=10.0.0.0/8, 192.0.2.1,2001:db8::/32,::ffff:10.1.2.3", "AMLPROXY_DRAIN_TIMEOUT=3m", "AMLPROXY_MAX_HEADER_BYTES=8KiB",
		"AMLPROXY_OIDC_SCOPES=openid, offline_access", "AMLPROXY_REDIS_URL=redis://cache", "AMLPROXY_RETURN_ORIGINS=https://app.example.com,http://localhost:3000",
		"AMLPROXY_BEARER_ISSUERS_0_URL=https://b.example/", "AMLPROXY_BEARER_ISSUERS_0_AUDIENCES=a,b", "AMLPROXY_BEARER_ISSUERS_0_ROLES_CLAIM=r",
		"AMLPROXY_SDK_AUTH_FILE="+sdk, "AMLPROXY_RESOURCE_GROUP=g", "AMLPROXY_WORKSPACE_NAME=w", "AMLPROXY_AZURE_DISABLE_INSTANCE_DISCOVERY=true",
		"AMLPROXY_PUBLIC_URL=https://Models.example.com:443/",
	))
	want := map[string][2]any{
		"listen":      {s.Listen, ":8080"},
		"trusted":     {fmt.Sprint(s.TrustedProxies), "[10.0.0.0/8 192.0.2.1/32 2001:db8::/32 10.1.2.3/32]"},
		"drain":       {s.DrainTimeout, 3 * time.Minute},
		"idle":        {s.IdleTimeout, 90 * time.Second},
		"header":      {s.MaxHeaderBytes, config.Size(8 << 10)},
		"replay":      {s.ReplayLimit, config.Size(1 << 20)},
		"public":      {s.PublicURL.String(), "https://models.example.com"},
		"scopes":      {s.OIDCScopes, []string{"openid", "offline_access"}},
		"audiences":   {s.OIDCAudiences, []string{"amlproxy"}},
		"return":      {s.ReturnOrigins, []string{"https://app.example.com", "http://localhost:3000"}},
		"issuers":     {s.BearerIssuers, []config.BearerIssuer{{URL: "https://b.example/", Audiences: []string{"a", "b"}, GroupsClaim: "groups", RolesClaim: "r"}}},
		"cookie":      {len(s.CookieSecrets[0].Reveal()), 32},
		"principal":   {s.Identity.TenantID + s.Identity.ClientID + s.Identity.ClientSecret.Reveal() + s.Identity.AuthorityHost, "tcshttps://login.microsoftonline.us"},
		"cloud":       {s.AzureCloud, "usgovernment"},
		"workspace":   {s.SubscriptionID + s.ResourceGroup + s.WorkspaceName, "subgw"},
		"discovery":   {s.AzureDisableInstanceDiscovery, true},
		"session":     {[]time.Duration{s.SessionRefresh, s.SessionIdle, s.SessionMax}, []time.Duration{15 * time.Minute, time.Hour, 12 * time.Hour}},
		"route":       {s.Routes[0].Path, "/models/model"},
		"no warnings": {len(s.Warnings), 0},
	}
	for name, w := range want {
		if diff := cmp.Diff(w[1], w[0]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if !slices.Contains(s.TrustedProxies, netip.MustParsePrefix("192.0.2.1/32")) {
		t.Error("an address alone is the network of that address")
	}
}

func TestPlainHTTPIsWarnedOf(t *testing.T) {
	s := load(t, set(oneRoute(), "AMLPROXY_OIDC_ISSUER=http://127.0.0.1:9999", "AMLPROXY_PUBLIC_URL=http://localhost:8080"))
	if len(s.Warnings) != 0 {
		t.Errorf("warned of loopback: %v", s.Warnings)
	}
	s = load(t, set(oneRoute(), "AMLPROXY_OIDC_ISSUER=http://idp.example.com", "AMLPROXY_PUBLIC_URL=http://models.example.com", "AMLPROXY_ROUTES_0_SERVICE",
		"AMLPROXY_ROUTES_0_URL=http://h.example/score", "AMLPROXY_ROUTES_0_AUTH=none"))
	for _, where := range []string{"AMLPROXY_OIDC_ISSUER", "AMLPROXY_PUBLIC_URL", "AMLPROXY_ROUTES_0_URL"} {
		if !slices.ContainsFunc(s.Warnings, func(w string) bool { return strings.HasPrefix(w, where+": ") }) {
			t.Errorf("no warning of %s in %v", where, s.Warnings)
		}
	}
}

func TestWithoutLogin(t *testing.T) {
	bearer := []string{
		"AMLPROXY_BEARER_ISSUERS_0_URL=https://b.example", "AMLPROXY_BEARER_ISSUERS_0_AUDIENCES=api",
		"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_SERVICE=m",
	}
	if s := load(t, bearer); s.Login() || s.PublicURL.URL != nil {
		t.Error("bearer tokens alone are not a login")
	}
	if s := load(t, []string{"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_SERVICE=m", "AMLPROXY_ROUTES_0_PUBLIC=true"}); !s.Routes[0].Public {
		t.Error("a public route needs nobody to vouch for callers")
	}
}

func Example() {
	_, err := config.Load([]string{"AMLPROXY_ROUTES_0_NAME=diabetes", "AMLPROXY_ROUTES_0_SERVCIE=diabetes-aks", "AMLPROXY_ROUTES_0_PUBLIC=true", "AMLPROXY_TIMEOUT="})
	fmt.Println(err)
	// Output:
	// 3 mistakes in the settings:
	//   AMLPROXY_ROUTES_0_NAME: needs exactly one of service, endpoint, serverless and url, and has 0
	//   AMLPROXY_ROUTES_0_SERVCIE: is not a setting: the nearest is AMLPROXY_ROUTES_0_SERVICE
	//   AMLPROXY_TIMEOUT: is not a setting: the nearest is AMLPROXY_IDLE_TIMEOUT
}
