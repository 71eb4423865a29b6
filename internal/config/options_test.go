package config_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"amlproxy/internal/config"
)

// An option is one thing that a route can say, in the two places where it can be
// said, with values that are wrong for it. CVE-2021-21411 is why every one is
// here: a rule that was silently ignored let everybody in.
type option struct {
	key  string   // in the file; a dot goes into a mapping
	env  string   // behind ROUTES_n_, "" when only the file can say it
	with []string // what else the route (or the workspace) says
	top  string   // what else the file says
	good string   // a value, as the file has it
	// wrong are values that are not of its type, as the file has them, and
	// malformed are values of its type that mean nothing.
	wrong, malformed []string
	envWrong         []string
}

func options() []option {
	anyText := []string{"[a]", "{a: b}", "7", "true", "!!str x"}
	noList := []string{"a", "{a: b}", "7", "true"}
	badList := []string{"[7]", "[[a]]", "['']", "[~]", "['a ']", "['a\x01']"}
	envList := []string{"a,,b", ",", "a,"}
	name := []string{"'a/b'", "'..'", "'a b'", "'a%2fb'", "'a?b'", "'a#b'"}
	envName := []string{"a/b", "..", "a b", "a%2fb", "a?b", "a;b"}
	rule := func(key, env string, more ...string) option {
		return option{
			key: "access." + key, env: env, good: "[a.example]", wrong: noList,
			malformed: append(slices.Clone(badList), more...), envWrong: envList,
		}
	}
	all := []option{
		{
			key: "name", env: "NAME", with: []string{"service: svc"}, good: "other", wrong: anyText,
			malformed: []string{"Model", "'a b'", "a_b", "a.b", "'a/b'", "ä"}, envWrong: []string{"Model", "a b", "a_b", "a/b", "ä"},
		},
		{
			key: "path", env: "PATH", good: "/m", wrong: anyText,
			malformed: []string{"m", "/m/", "//m", "/m//n", "/m/../n", "/./m", "/m%2f", "/m;x", "'/m?x'", "'/m#x'", "/oauth2", "/oauth2/start", "/OAuth2/x", "/livez", "/readyz/x", "/.well-known/x"},
			envWrong:  []string{"m", "/m/", "//m", "/m/../n", "/m%2fn", "/m;x", "/oauth2", "/livez", "/readyz", "/.well-known", "/oauth2/callback"},
		},
		{
			key: "host", good: "models.example.com", wrong: anyText,
			malformed: []string{"https://models.example.com", "models.example.com/x", "'*.example.com'", "models.example.com.", "'models.example.com:'", "models.example.com:443", "models.example.com:80", "models.example.com:0", "u@models.example.com", "'a b'", "'a,b'", "ä.example"},
		},
		{key: "service", env: "SERVICE", with: []string{"name: model"}, good: "svc", wrong: anyText, malformed: name, envWrong: envName},
		{key: "endpoint", env: "ENDPOINT", with: []string{"name: model"}, good: "ep", wrong: anyText, malformed: name, envWrong: envName},
		{key: "deployment", env: "DEPLOYMENT", with: []string{"name: model", "endpoint: ep"}, good: "blue", wrong: anyText, malformed: name, envWrong: envName},
		{key: "serverless", env: "SERVERLESS", with: []string{"name: model"}, good: "llama", wrong: anyText, malformed: name, envWrong: envName},
		{
			key: "url", env: "URL", with: []string{"name: model", "auth: none"}, good: "https://h.example/score", wrong: anyText,
			malformed: []string{"h.example/score", "ftp://h.example/", "https://", "https://u:p@h.example/", "https://h.example:0/", "https://h.example:x/", "https://h.example/#x", "HTTPS://h.example/", `https:\\h.example`},
			envWrong:  []string{"h.example/score", "ftp://h.example", "https://u:p@h.example/", "https://h.example/#x", "//h.example"},
		},
		{key: "auth", env: "AUTH", good: "key", wrong: anyText, malformed: []string{"Key", "basic", "keys"}, envWrong: []string{"Key", "basic", "keys"}},
		{key: "key", env: "KEY", with: withURL(), good: "k1", wrong: anyText, malformed: []string{`"a\nb"`, `"a\0b"`}, envWrong: []string{"a\nb", "a\rb"}},
		{key: "key_file", with: withURL(), wrong: anyText, malformed: []string{"/nonexistent/key", "/"}},
		{
			key: "secondary_key", env: "SECONDARY_KEY", with: append(withURL(), "key: k1"), good: "k2", wrong: anyText,
			malformed: []string{`"a\nb"`, "k1"}, envWrong: []string{"a\nb", "k1"},
		},
		{key: "secondary_key_file", with: append(withURL(), "key: k1"), wrong: anyText, malformed: []string{"/nonexistent/key", "/"}},
		{key: "public", env: "PUBLIC", good: "true", wrong: []string{"[true]", "{a: b}", "1", "'true'", "yes", "on"}, envWrong: []string{"yes", "1", "TRUE", "on"}},
		{key: "access", good: "{groups: [a]}", wrong: []string{"a", "[a]", "7", "true"}},
		{key: "access.public", good: "true", wrong: []string{"[true]", "1", "'true'", "yes"}},
		{key: "access.all", good: "{groups: [a]}", wrong: []string{"a", "[a]", "true"}},
		{key: "access.none", good: "{groups: [a]}", wrong: []string{"a", "[a]", "true"}},
		{key: "methods", env: "METHODS", good: "[GET]", wrong: noList, malformed: append(badList, "[get]", "[OPTIONS]", "[CONNECT]", "[TRACE]", "['*']", "[FROB]"), envWrong: append(envList, "get", "OPTIONS", "CONNECT", "TRACE", "*")},
		{
			key: "paths", env: "PATHS", good: "[score]", wrong: noList, malformed: append(badList, "[/score]", "[score/]", "[a//b]", "['../x']", "[a/./b]", "['a%2fb']", "['a;b']", "['a?b']", "['a*']"),
			envWrong: append(envList, "/score", "score/", "../x", "a%2fb", "*,score"),
		},
		{key: "cors", good: "{origins: [https://app.example.com]}", wrong: []string{"a", "[a]", "true", "'*'"}},
		{
			key: "cors.origins", env: "CORS_ORIGINS", good: "[https://app.example.com]", wrong: append(noList, "'*'"),
			malformed: append(badList, "['*']", "['null']", "[https://app.example.com/]", "['https://*.example.com']", "[https://App.example.com]", "[https://app.example.com:443]", "[app.example.com]", "[https://u@app.example.com]"),
			envWrong:  append(envList, "*", "null", "https://app.example.com/", "https://*.example.com", "https://app.example.com:443", "app.example.com"),
		},
		{key: "cors.credentials", good: "true", with: []string{"name: model", "service: svc", "cors.origins: [https://app.example.com]"}, wrong: []string{"[true]", "1", "'true'"}},
		{key: "rate_limit", good: "{requests: 1, per: 1s}", wrong: []string{"60", "[60]", "60/m"}},
		{key: "rate_limit.requests", good: "1", with: limited("per: 1m"), wrong: []string{"'60'", "[60]", "1.5", "true"}, malformed: []string{"0", "-1", "99999999999999999999"}},
		{key: "rate_limit.per", good: "1s", with: limited("requests: 1"), wrong: []string{"60", "[1m]", "true"}, malformed: []string{"0s", "-1m", "minute", "1 m"}},
		{key: "rate_limit.burst", good: "1", with: limited("requests: 1", "per: 1m"), wrong: []string{"'60'", "[60]"}, malformed: []string{"0", "-1"}},
		{key: "rate_limit.by", good: "user", with: limited("requests: 1", "per: 1m"), wrong: anyText, malformed: []string{"User", "ip", "session"}},
		{key: "max_concurrent", good: "1", wrong: []string{"'60'", "[60]", "1.5", "true"}, malformed: []string{"0", "-1"}},
		{key: "max_body", env: "MAX_BODY", good: "1MiB", wrong: []string{"[1MiB]", "true", "1.5"}, malformed: []string{"0", "-1", "64M", "1 MiB", "99999999999GiB", "mib", "+1"}, envWrong: []string{"0", "-1", "64M", "1 MiB", "99999999999GiB", "unlimited"}},
		{key: "timeout", env: "TIMEOUT", good: "5s", wrong: []string{"60", "[1m]", "true"}, malformed: []string{"0s", "-1m", "minute"}, envWrong: []string{"0s", "-1m", "60", "1 m"}},
		{key: "identity_headers", good: "[user]", wrong: noList, malformed: append(badList, "[User]", "[name]", "[user, user]")},
		rule("groups", "GROUPS", "['*']"), rule("roles", "ROLES", "['*']"),
		rule("scopes", "SCOPES", "['*']", "['a b']", `['a"b']`),
		rule("emails", "EMAILS", "['*']", "[a]", "['a@b@c.example']", "['@b.example']", "['a@']", "['<a@b.example>']", "['a@*.example']"),
		rule("domains", "DOMAINS", "['*']", "['a@b.example']", "['.b.example']", "['*.b.example']", "['b.example.']"),
		rule("subjects", "", "['*']"), rule("clients", "", "['*']"),
		{key: "access.claims", good: "{dept: [a]}", wrong: []string{"a", "[a]", "true"}, malformed: []string{"{dept: a}", "{dept: []}", "{dept: [7]}", "{7: [a]}", "{'': [a]}", "{dept: ['*']}"}},
	}
	for i := range all {
		switch all[i].key {
		case "access.emails":
			all[i].good = "[a@b.example]"
			all[i].envWrong = append(all[i].envWrong, "a", "a@b@c.example", "@b.example", "*")
		case "access.domains":
			all[i].envWrong = append(all[i].envWrong, "a@b.example", ".b.example", "*")
		case "access.groups", "access.roles", "access.scopes":
			all[i].envWrong = append(all[i].envWrong, "*")
		}
	}
	for _, o := range slices.Clone(all) { // the lists of all and none are those of access
		if list, ok := strings.CutPrefix(o.key, "access."); ok && list != "public" && list != "all" && list != "none" {
			o.env, o.envWrong = "", nil
			for _, part := range []string{"all", "none"} {
				o.key = "access." + part + "." + list
				all = append(all, o)
			}
		}
	}
	return append(all, targetOptions(all)...)
}

func limited(lines ...string) []string {
	out := []string{"name: model", "service: svc"}
	for _, l := range lines {
		out = append(out, "rate_limit."+l)
	}
	return out
}

func TestEveryRouteOptionIsInTheTable(t *testing.T) {
	tested := map[string]string{}
	for _, o := range options() {
		tested[o.key] = o.env
	}
	for key, env := range config.RouteKeys() {
		if got, ok := tested[key]; !ok || got != env {
			t.Errorf("%s (environment: %q) is not in the table, or with %q", key, env, got)
		}
	}
	if len(tested) != len(config.RouteKeys()) {
		t.Errorf("the table has options that are no more: %v", slices.Sorted(maps.Keys(tested)))
	}
}

func TestGoodRouteOptionIsTaken(t *testing.T) {
	for _, o := range options() {
		if o.good == "" {
			continue
		}
		text := o.document(o.key, o.good)
		if o.key == "auth" || o.key == "access.public" {
			continue // good only with others; see the rules
		}
		if o.key == "secondary_key" || o.key == "key" {
			text = strings.Replace(text, "auth: none", "auth: key", 1)
		}
		file, _ := routesFile(t, text)
		if _, err := config.Load(login("AMLPROXY_ROUTES_FILE=" + file)); err != nil {
			t.Errorf("%s: %v\n%s", o.key, err, text)
		}
	}
}

func TestRouteOptionInFileIsRefused(t *testing.T) {
	for _, o := range options() {
		refuse := func(form, text, what string) {
			t.Helper()
			file, where := routesFile(t, text)
			all := problems(t, login("AMLPROXY_ROUTES_FILE="+file))
			if !slices.ContainsFunc(all, func(p config.Problem) bool {
				return near(p.Where, where) && strings.Contains(p.What, what)
			}) {
				t.Errorf("%s, %s: no mistake at %s with %q, but %v\n%s", o.key, form, where, what, all, text)
			}
		}
		for _, empty := range []string{"", "~", "null", "''", "[]", "{}", "'  '"} {
			refuse("empty", o.document(o.key, "§"+empty), "")
		}
		key, last := "", o.key
		if i := strings.LastIndexByte(o.key, '.'); i >= 0 {
			key, last = o.key[:i+1], o.key[i+1:]
		}
		for _, misspelt := range []string{last + "x", strings.ToUpper(last[:1]) + last[1:], "x" + last} {
			refuse("misspelt", o.document(key+"§"+misspelt, o.good+" # "), "nearest is "+last)
		}
		refuse("twice", o.document(o.key, "a\n"+strings.Repeat(" ", o.indent())+"§"+last+": b"), "already")
		for _, w := range append(slices.Clone(o.wrong), o.malformed...) {
			refuse("wrong: "+w, o.document(o.key, "§"+w), "")
		}
	}
}

// near accepts the place itself or, inside of a list or a mapping in one line, a
// place further on in the line.
func near(got, want string) bool {
	at := strings.LastIndexByte(want, ':')
	return strings.HasPrefix(got, want[:at+1])
}

func TestRouteOptionInEnvironmentIsRefused(t *testing.T) {
	for _, o := range options() {
		name := "AMLPROXY_ROUTES_0_" + o.env
		if o.env == "" {
			n := "AMLPROXY_ROUTES_0_" + strings.ToUpper(strings.ReplaceAll(o.key, ".", "_"))
			if o.key == "key_file" || o.key == "secondary_key_file" {
				refused(t, oneRoute(n+"=/nonexistent"), n, "cannot be read")
				continue
			}
			refused(t, oneRoute(n+"=a"), n, "is not a setting")
			continue
		}
		base := oneRoute()
		if len(o.with) > 0 {
			base = login()
			for _, l := range o.with {
				k, v, _ := strings.Cut(l, ": ")
				base = append(base, "AMLPROXY_ROUTES_0_"+strings.ToUpper(k)+"="+v)
			}
		}
		for _, empty := range []string{"", " ", "\t\n"} {
			refused(t, set(base, name+"="+empty), name, "set but empty")
		}
		refused(t, set(base, name+"X=a"), name+"X", "nearest is "+name)
		refused(t, set(base, strings.Replace(name, "_0_", "_2_", 1)+"=a"), strings.Replace(name, "_0_", "_2_", 1), "after a gap: there is no AMLPROXY_ROUTES_1_")
		refused(t, set(login(), strings.Replace(name, "_0_", "_1_", 1)+"=a"), strings.Replace(name, "_0_", "_1_", 1), "after a gap: there is no AMLPROXY_ROUTES_0_")
		for _, n := range []string{"_00_", "_01_", "_n_", "_-1_", "_", "_99999999999999999999_"} {
			odd := strings.Replace(name, "_0_", n, 1)
			refused(t, set(base, odd+"=a"), odd, "nearest is ")
		}
		for _, w := range append(slices.Clone(o.envWrong), "a ", " a") {
			refused(t, set(base, name+"="+w), name, "")
		}
	}
}

func TestRoutesInTwoPlacesAreRefused(t *testing.T) {
	file, _ := routesFile(t, "routes: [{name: a, service: a}]")
	refused(t, oneRoute("AMLPROXY_ROUTES_FILE="+file), "AMLPROXY_ROUTES_FILE", "together with")
	refused(t, login(), "AMLPROXY_ROUTES_FILE", "nothing to serve")
}
