package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"amlproxy/internal/config"
)

// What a route's options are to each other. The § marks where the mistake is.
func TestRoutesThatAreRefused(t *testing.T) {
	const access, urlKey = "{name: a, service: a, access: ", "{name: a, url: https://h.example/score, auth: key, "
	tests := map[string]struct{ routes, what string }{
		"no name":                            {"[§{service: a}]", "without a name"},
		"nothing to call":                    {"[§{name: a}]", "exactly one"},
		"two things to call":                 {"[§{name: a, service: a, url: https://h.example, auth: none}]", "exactly one"},
		"a deployment of a service":          {"[{name: a, service: a, deployment: §blue}]", "without an endpoint"},
		"an address without auth":            {"[{name: a, url: §https://h.example/score}]", "without auth"},
		"an address that asks the workspace": {"[{name: a, url: https://h.example/score, auth: §auto}]", "none, key, entra"},
		"an address with a workspace token":  {"[{name: a, url: https://h.example/score, auth: §token}]", "none, key, entra"},
		"serverless with a token":            {"[{name: a, serverless: a, auth: §token}]", "auto, key"},
		"a key nobody gave":                  {"[{name: a, url: https://h.example/score, auth: §key}]", "there is no key"},
		"a secondary key alone":              {"[{name: a, url: https://h.example/score, auth: §key, secondary_key: k}]", "there is no key"},
		"a key that is not used":             {"[{name: a, url: https://h.example/score, auth: entra, key: §k}]", "does not use"},
		"a key of a service":                 {"[{name: a, service: a, key: §k}]", "the workspace has"},
		"a key file of an endpoint":          {"[{name: a, endpoint: a, key_file: §/etc/hostname}]", "the workspace has"},
		"a key and its file":                 {"[" + urlKey + "key: k, key_file: §/etc/hostname}]", "keep one"},
		"the same key twice":                 {"[" + urlKey + "key: k, secondary_key: §k}]", "same key"},
		"public with rules":                  {"[{name: a, service: a, public: §true, access: {groups: [a]}}]", "access rules"},
		"public with rules against someone":  {"[{name: a, service: a, public: §true, access: {none: {groups: [a]}}}]", "access rules"},
		"public inside, with rules":          {"[" + access + "{public: §true, groups: [a]}}]", "access rules"},
		"public with a rule that is broken":  {"[{name: a, service: a, public: true, access: {groups: §[]}}]", "empty list"},
		"access that says nothing":           {"[{name: a, service: a, access: §{}}]", "empty"},
		"access that only is not public":     {"[{name: a, service: a, access: §{public: false}}]", "no rule"},
		"public: who is told about":          {"[{name: a, service: a, public: true, identity_headers: §[user]}]", "does not know"},
		"all in all":                         {"[" + access + "{all: {§all: {groups: [a]}}}}]", "not a known key"},
		"public in none":                     {"[" + access + "{none: {§public: true}}}]", "not a known key"},
		"name twice":                         {"[{name: a, service: a}, {name: §a, service: b}]", "another route"},
		"path twice":                         {"[{name: a, service: a}, {name: b, path: §/models/a, service: b}]", "path of another"},
		"path twice on a host":               {"[{name: a, host: a.example, service: a}, {name: b, host: A.example, path: §/models/a, service: b}]", "same host"},
		"a description that nobody can read": {"[{name: a, service: a, methods: [POST], paths: [score, §swagger.json]}]", "only ever read"},
		"a route at a path of another":       {"[{name: a, service: a}, {name: b, path: §/models/a/score, service: b}]", "lies in"},
		"a route above a path of another":    {"[{name: a, service: a, paths: [v1/score]}, {name: b, path: §/models/a/v1, service: b}]", "lies in"},
		"a route below a route at /":         {"[{name: a, path: /, service: a, paths: [models/b/score]}, {name: §b, service: b}]", "lies in"},
		"all paths below /":                  {"[{name: a, path: /, service: a, paths: [§'*']}]", "own paths"},
		"the callback below /":               {"[{name: a, path: /, service: a, paths: [§oauth2/callback]}]", "own paths"},
		"* beside others":                    {"[{name: a, service: a, paths: [score, §'*']}]", "alone"},
		"a method twice":                     {"[{name: a, service: a, methods: [GET, §GET]}]", "twice"},
		"cors without origins":               {"[{name: a, service: a, cors: §{credentials: true}}]", "no origins"},
		"credentials for another site":       {"[{name: a, service: a, cors: {credentials: true, origins: [§https://app.example.org]}}]", "another site"},
		"credentials for another scheme":     {"[{name: a, service: a, cors: {credentials: true, origins: [§http://app.example.com]}}]", "another site"},
		"credentials for a like-named site":  {"[{name: a, service: a, cors: {credentials: true, origins: [§https://badexample.com]}}]", "another site"},
		"a limit without time":               {"[{name: a, service: a, rate_limit: §{requests: 60}}]", "both requests and per"},
		"a list where a route belongs":       {"[§[]]", "mapping"},
		"a text where a route belongs":       {"[§a]", "mapping"},
		"nothing where a route belongs":      {"[{name: a, service: a}, §~]", "mapping"},
		"no routes":                          {"§[]", "empty list"},
		"routes by name":                     {"§{a: {service: a}}", "list of routes"},
		"another key at the top":             {"[{name: a, service: a}]\n§common: {a: b}", "nearest is routes"},
		"another document":                   {"[{name: a, service: a}]\n---\n§routes: [{name: b, service: b}]", "second document"},
		"an alias of nothing":                {"[{name: a, service: §*nothing}]", "not above"},
		"an alias of itself":                 {"&r §[{name: a, service: a}, *r]", "mapping"},
		"a merge of itself":                  {"[&r {name: a, service: a, <<: §*r}]", "itself"},
		"a merge of a text":                  {"[{name: a, service: a, <<: §text}]", "mapping"},
		"a key twice":                        {"[{name: a, service: a, §name: b}]", "already"},
		"routes twice":                       {"[{name: a, service: a}]\n§routes: [{name: b, service: b, public: true}]", "already"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file, where := routesFile(t, "routes: "+test.routes+"\n")
			refused(t, login("AMLPROXY_ROUTES_FILE="+file), where, test.what)
		})
	}
}

func TestRoutesFileThatIsNone(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "comment": "# nothing\n", "text": "routes\n", "list": "- a\n", "number": "7", "not YAML": "routes: [", "tab": "routes:\n\t- a",
		"NUL": "routes: \x00", "not UTF-8": "routes: \xff", "null": "routes:\n", "directive": "%YAML 1.2\n---\nroutes: [{name: a, service: a}]",
	} {
		t.Run(name, func(t *testing.T) {
			file, _ := routesFile(t, text)
			for _, p := range problems(t, login("AMLPROXY_ROUTES_FILE="+file)) {
				if !near(p.Where+":", file+":") {
					t.Errorf("at %s: %s", p.Where, p.What)
				}
			}
		})
	}
	for _, opening := range []string{"[", "{a: ", "- ", "? "} { // the parser would take gigabytes
		deep, _ := routesFile(t, "routes:\n  "+strings.Repeat(opening, 100_000))
		refused(t, login("AMLPROXY_ROUTES_FILE="+deep), deep+":1:1", "nested deeper")
	}
	// The parser would take a quarter of a minute for the first, and we for the others.
	for _, many := range []string{
		"routes:\n  - name: a\n" + strings.Repeat("    service: a\n", 65_000),
		"routes:\n" + strings.Repeat("  - name: a\n    service: a\n", 30_000),
		"routes: [{name: a, methods: [" + strings.Repeat("a,", 200_000) + "]}]",
	} {
		file, _ := routesFile(t, many)
		started := time.Now()
		refused(t, login("AMLPROXY_ROUTES_FILE="+file), file+":1:1", "more words")
		if took := time.Since(started); took > 5*time.Second {
			t.Errorf("refused after %s", took)
		}
	}
	file, where := routesFile(t, "routes: [\n"+strings.Repeat("{name: a, service: a},\n", 1000)+"§{name: a, service: a}]")
	refused(t, login("AMLPROXY_ROUTES_FILE="+file), where, "too many")
	big, _ := routesFile(t, "routes: [{name: a, service: a}]\n#"+string(make([]byte, 2<<20)))
	refused(t, login("AMLPROXY_ROUTES_FILE="+big), "AMLPROXY_ROUTES_FILE", "larger than")
}

func TestRoutesAreWhatWasWritten(t *testing.T) {
	file, _ := routesFile(t, `
routes:
  - name: diabetes
    service: diabetes-aks
    access: &team
      groups: [ml-users, "a,b"]
      all:
        domains: [Example.com]
        claims: {dept: [x, y]}
      none: {emails: [Mallory@Example.com]}
    cors: {origins: ["https://app.example.com", "https://example.com:8443"], credentials: true}
    rate_limit: {requests: 60, per: 1m, burst: 10, by: client}
    max_concurrent: 64
    max_body: 1KiB
    timeout: 5s
    identity_headers: [user, email, groups]
    methods: [GET, DELETE]
    paths: ["*"]
  - &fraud
    name: fraud
    endpoint: fraud
    deployment: blue
    access: *team
    rate_limit: {requests: 6, per: 1s}
  - <<: *fraud
    name: fraud-green
    deployment: green
    path: /fraud/green
  - {name: open, url: "https://h.example/score?x=1", auth: key, key: 'a b', public: true}
  - {name: shut, serverless: llama, access: {public: true}}
`)
	s := load(t, login("AMLPROXY_ROUTES_FILE="+file))
	team := &config.Access{
		Any:  config.Rules{Groups: []string{"ml-users", "a,b"}},
		All:  config.Rules{Domains: []string{"example.com"}, Claims: map[string][]string{"dept": {"x", "y"}}},
		None: config.Rules{Emails: []string{"Mallory@example.com"}},
	}
	r := s.Routes
	got := []any{
		r[0].Access, r[0].CORS, r[0].RateLimit, r[0].MaxConcurrent, r[0].MaxBody, r[0].Timeout.String(), r[0].IdentityHeaders, r[0].Methods, r[0].Paths, r[0].Backends[0].Auth,
		r[1].Access, r[1].RateLimit, r[1].Path, r[1].Methods, r[1].Paths, r[1].MaxBody, r[1].Timeout.String(), r[1].Where,
		r[2].Name, r[2].Backends[0].Endpoint, r[2].Backends[0].Deployment, r[2].Path, r[2].Access,
		r[3].Backends[0].URL.String(), r[3].Backends[0].Key.Reveal(), r[3].Public, r[3].Access, r[3].NeedsWorkspace(),
		r[4].Public, r[4].Access, r[4].NeedsWorkspace(),
	}
	var none *config.Access
	want := []any{
		team, &config.CORS{Origins: []string{"https://app.example.com", "https://example.com:8443"}, Credentials: true},
		&config.RateLimit{Requests: 60, Per: 60e9, Burst: 10, By: "client"}, 64, int64(1024), "5s",
		[]string{"user", "email", "groups"},
		[]string{"GET", "DELETE"},
		[]string{"*"},
		"auto",
		team, &config.RateLimit{Requests: 6, Per: 1e9, Burst: 6, By: "user"}, "/models/fraud",
		[]string{"GET", "POST"},
		[]string{"score", "swagger.json"},
		int64(64 << 20), "3m0s", file + ":20:5",
		"fraud-green", "fraud", "green", "/fraud/green", team,
		"https://h.example/score?x=1", "a b", true, none, false,
		true, none, true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The environment's lists become the same rules as the file's.
func TestRoutesInTheEnvironment(t *testing.T) {
	s := load(t, oneRoute(
		"AMLPROXY_ROUTES_0_GROUPS=a, b", "AMLPROXY_ROUTES_0_DOMAINS=example.com", "AMLPROXY_ROUTES_0_CORS_ORIGINS=https://a.example",
		"AMLPROXY_ROUTES_0_MAX_BODY=1KB", "AMLPROXY_ROUTES_0_TIMEOUT=1s", "AMLPROXY_ROUTES_0_METHODS=POST",
		"AMLPROXY_ROUTES_1_NAME=open", "AMLPROXY_ROUTES_1_URL=https://h.example/score", "AMLPROXY_ROUTES_1_AUTH=none", "AMLPROXY_ROUTES_1_PUBLIC=true",
	))
	a := s.Routes[0]
	if diff := cmp.Diff(&config.Access{Any: config.Rules{Groups: []string{"a", "b"}, Domains: []string{"example.com"}}}, a.Access); diff != "" {
		t.Error(diff)
	}
	if a.CORS == nil || a.CORS.Credentials || a.MaxBody != 1000 || a.Timeout != 1e9 || len(a.Methods) != 1 || a.Public || !s.Routes[1].Public {
		t.Errorf("%+v", s.Routes)
	}
}

// TestRoutesWithAByteOrderMark: what an editor on Windows writes is read, and its
// mistakes are where they are seen.
func TestRoutesWithAByteOrderMark(t *testing.T) {
	file, _ := routesFile(t, "\ufeffroutes:\n  - name: a\n    service: b\n")
	if s, err := config.Load(login("AMLPROXY_ROUTES_FILE=" + file)); err != nil || len(s.Routes) != 1 {
		t.Error(err)
	}
	file, _ = routesFile(t, "\ufeffruotes: []\n")
	refused(t, login("AMLPROXY_ROUTES_FILE="+file), file+":1:1", "nearest is routes")
}
