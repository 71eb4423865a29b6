package config_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"amlproxy/internal/config"
)

const canary = "c4n4ry-h0rse"

// secretSettings are all of them, as a test finds them in the table, with what
// must stand beside each.
func secretSettings(t *testing.T) map[string][]string {
	route := []string{"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_URL=https://h.example", "AMLPROXY_ROUTES_0_AUTH=key"}
	pfx := filepath.Join(t.TempDir(), "principal.pfx")
	write(t, pfx, "\x30\x82")
	out := map[string][]string{}
	for _, row := range config.Table() {
		if !row.Secret {
			continue
		}
		name := strings.Replace(row.Name, "_n_", "_0_", 1)
		switch base := oneRoute(); {
		case strings.HasSuffix(name, "SECONDARY_KEY"):
			out[name] = login(append(route, "AMLPROXY_ROUTES_0_KEY=first")...)
		case strings.HasPrefix(name, "AMLPROXY_ROUTES"):
			out[name] = login(route...)
		case name == "AML_PRINCIPAL_CERT_PASSWORD":
			out[name] = append(base, "AML_TENANT_ID=t", "AML_PRINCIPAL_ID=c", "AML_PRINCIPAL_CERT_FILE="+pfx)
		case strings.HasPrefix(name, "AML_"):
			out[name] = append(base, "AML_TENANT_ID=t", "AML_PRINCIPAL_ID=c")
		default:
			out[name] = base
		}
	}
	return out
}

func TestSecretsCanBeFiles(t *testing.T) {
	if len(secretSettings(t)) != 7 {
		t.Error("another secret: see that this test knows how to set it")
	}
	for name, base := range secretSettings(t) {
		value := canary
		switch name {
		case "AMLPROXY_COOKIE_SECRET":
			value = cookieSecret
		case "AMLPROXY_REDIS_URL":
			value = "redis://:" + canary + "@cache"
		}
		file := filepath.Join(t.TempDir(), "secret")
		direct := show(load(t, set(base, name+"="+value)))
		for _, end := range []string{"", "\n", "\r\n"} {
			write(t, file, value+end)
			if got := show(load(t, set(base, name, name+"_FILE="+file))); got != direct {
				t.Errorf("%s_FILE with %q at its end is not the same as %s", name, end, name)
			}
		}
		for _, end := range []string{"\n\n", "\r", "\n\r\n", " ", "\nsecond"} {
			write(t, file, value+end)
			refused(t, set(base, name, name+"_FILE="+file), name+"_FILE", "")
		}
		for _, empty := range []string{"", "\n", "  \n"} {
			write(t, file, empty)
			refused(t, set(base, name, name+"_FILE="+file), name+"_FILE", "empty")
		}
		write(t, file, strings.Repeat("a", 1<<17))
		refused(t, set(base, name, name+"_FILE="+file), name+"_FILE", "larger than")
		refused(t, set(base, name, name+"_FILE="+file+"x"), name+"_FILE", "cannot be read")
		refused(t, set(base, name, name+"_FILE="), name+"_FILE", "set but empty")
		refused(t, set(base, name+"="+value, name+"_FILE="+file), name+"_FILE", "together with "+name)
	}
}

// show prints every secret of the settings: the opposite of what they do themselves.
func show(s *config.Settings) string {
	out := []string{s.OIDCClientSecret.Reveal(), s.Identity.ClientSecret.Reveal(), s.Identity.CertPassword.Reveal()}
	for _, c := range s.CookieSecrets {
		out = append(out, c.Reveal())
	}
	for _, r := range s.Routes {
		for _, b := range r.Backends {
			out = append(out, b.Key.Reveal(), b.SecondaryKey.Reveal())
		}
	}
	return fmt.Sprintf("%q", out)
}

// Secrets are put in the wrong place, in the wrong form and under the wrong name;
// what is said about it goes to logs.
func TestNoMistakeShowsASecret(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	var environs [][]string
	for name, base := range secretSettings(t) {
		for _, value := range []string{canary + "\n" + canary, canary + "\x00", " " + canary, canary, canary + "," + canary, canary + strings.Repeat("A", 43-len(canary)), canary + "="} {
			environs = append(environs, set(base, name+"="+value, "AMLPROXY_LISTEN=x"), append(set(base, name+"="+value), name+"="+canary),
				set(base, name, name+"_FILE="+value), set(base, name+"="+value, name+"_FILE="+value), set(base, name+"X="+value))
		}
	}
	for name := range everySetting { // one secret under the name of another setting
		environs = append(environs, set(oneRoute(), name+"="+canary), set(oneRoute(), name+"=https://u:"+canary+"@h.example/"), set(oneRoute(), name+"=https://"+canary+" h"), set(oneRoute(), name+"="+canary+":"+canary))
	}
	for name := range config.RouteKeys() {
		environs = append(environs, oneRoute("AMLPROXY_ROUTES_0_"+strings.ToUpper(name)+"="+canary))
	}
	for i, text := range []string{
		`key: [CANARY]`, `key: {CANARY: CANARY}`, `key: {k: CANARY}`, "key: \"CANARY\\nCANARY\"", `key: !!CANARY CANARY`, `key: *CANARY`, `key: "CANARY`, `key: 'CANARY`,
		`key: CANARY: CANARY`, `key: "CANARY" CANARY`, "key: |\n      CANARY\n      CANARY\n", "key: CANARY\n    key: CANARY", "key: CANARY\n    secondary_key: CANARY",
		"key: CANARY\n   CANARY", "key:\n  CANARY", "key: `CANARY", "key: @CANARY", "key: %CANARY", "key: [CANARY", "key: {CANARY", "key: &CANARY", "key: \"\\CANARY\"", "key: CANARY\n\tCANARY: CANARY",
		"key_file: CANARY", "key_file: [CANARY]", "key_file: /CANARY", "auth: CANARY", "timeout: CANARY", "max_body: CANARY", "methods: [CANARY]", "paths: [/CANARY]", "url: https://u:CANARY@h.example/", "public: CANARY", "identity_headers: [CANARY]",
		"cors: {origins: [CANARY]}", "cors: {origins: CANARY}", "access: {emails: [CANARY]}", "access: {claims: {dept: CANARY}}", "rate_limit: {requests: CANARY}", "rate_limit: CANARY", "path: CANARY", "service: CANARY", "%YAML CANARY", "--- CANARY", "- CANARY",
		"backends: [{key: [CANARY]}]", "backends: [{service: a, key: CANARY}]", "backends: [{a: CANARY}]", "backends: CANARY", "backends: [CANARY]", "workspace: CANARY",
		"backends: [{url: https://h.example, auth: key, key: CANARY, secondary_key: CANARY}]", "backends: [{url: \"https://u:CANARY@h.example\", auth: CANARY}]", "backends: [{service: a, workspace: CANARY}]",
		"public: true\nworkspaces: {n: CANARY}", "public: true\nworkspaces: {n: {config: CANARY}}", "public: true\nworkspaces: {n: {subscription_id: CANARY/, config: CANARY}}",
	} {
		f, _ := routesFile(t, "routes:\n  - name: m\n    url: https://h.example\n    auth: key\n    "+strings.ReplaceAll(text, "CANARY", canary)+"\n")
		environs = append(environs, login("AMLPROXY_ROUTES_FILE="+f, "AMLPROXY_LISTEN=x", fmt.Sprintf("N=%d", i)))
	}
	for i, text := range []string{
		canary, `"CANARY"`, `{"clientSecret": CANARY}`, `{"clientSecret": ["CANARY"]}`, `{"clientSecret": "CANARY"}`, `{"clientSecret":"CANARY\n","clientId":"c","tenantId":"t"}`, `{"CANARY`,
		`{"clientId":"c","tenantId":"t","clientCertificate":"CANARY","clientSecret":"CANARY"}`, `{"clientId":"c","tenantId":"t","clientSecret":"s","resourceManagerEndpointUrl":"https://u:CANARY@h.example/"}`,
	} {
		f := filepath.Join(dir, fmt.Sprint("sdk", i))
		write(t, f, strings.ReplaceAll(text, "CANARY", canary))
		environs = append(environs, oneRoute("AMLPROXY_SDK_AUTH_FILE="+f), oneRoute("AMLPROXY_WORKSPACE_CONFIG="+f, "AMLPROXY_LISTEN=x"), oneRoute("AMLPROXY_CA_FILE="+f), oneRoute("AML_PRINCIPAL_CERT_FILE="+f), oneRoute("AMLPROXY_TLS_CERT_FILE="+f, "AMLPROXY_TLS_KEY_FILE="+f))
	}
	write(t, file, canary+"\n"+canary)
	for name, base := range secretSettings(t) {
		environs = append(environs, set(base, name, name+"_FILE="+file))
	}
	failed := 0
	for _, environ := range environs {
		s, err := config.Load(environ)
		if err != nil {
			failed++
		} else {
			err = fmt.Errorf("%v", s.Warnings)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
			if strings.Contains(fmt.Sprintf(verb, err), canary) {
				i := slices.IndexFunc(environ, func(e string) bool { return strings.Contains(e, canary) || strings.Contains(e, "FILE") })
				t.Fatalf("%q leads to %v", environ[max(i, 0)], err)
			}
		}
	}
	if failed < len(environs)*2/3 {
		t.Errorf("only %d of %d environments were refused: the test misses its point", failed, len(environs))
	}
}
