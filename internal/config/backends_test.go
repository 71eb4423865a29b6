package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"amlproxy/internal/config"
)

// What backends and workspaces are to each other. The § marks where the mistake is.
func TestBackendsThatAreRefused(t *testing.T) {
	const north, south = "north: {subscription_id: s, resource_group: g, workspace_name: w}", "south: {subscription_id: s, resource_group: g, workspace_name: w2}"
	const same = "also: {subscription_id: S, resource_group: G, workspace_name: W}"
	tests := map[string]struct{ text, what string }{
		"a service beside backends":          {"routes: [{name: a, service: §a, backends: [{service: b}]}]", "beside backends"},
		"an address beside backends":         {"routes: [{name: a, url: §https://h.example, backends: [{service: b}]}]", "beside backends"},
		"auth beside backends":               {"routes: [{name: a, auth: §key, backends: [{service: b}]}]", "beside backends"},
		"a key beside backends":              {"routes: [{name: a, key: §k, backends: [{service: b}]}]", "beside backends"},
		"a key file beside backends":         {"routes: [{name: a, key_file: §k, backends: [{service: b}]}]", "beside backends"},
		"a deployment beside backends":       {"routes: [{name: a, deployment: §blue, backends: [{endpoint: b}]}]", "beside backends"},
		"a workspace beside backends":        {"workspaces: {" + north + "}\nroutes: [{name: a, workspace: §north, backends: [{service: b}]}]", "beside backends"},
		"a target that was merged in":        {"routes: [&a {name: a, service: §a}, {<<: *a, name: b, backends: [{service: b}]}]", "beside backends"},
		"no backends":                        {"routes: [{name: a, backends: §[]}]", "empty list"},
		"backends by name":                   {"routes: [{name: a, backends: §{service: a}}]", "list of backends"},
		"a backend that is nothing":          {"routes: [{name: a, backends: [{service: b}, §{}]}]", "empty mapping"},
		"a backend without a target":         {"routes: [{name: a, backends: [{service: b}, §{auth: key}]}]", "exactly one"},
		"a backend with two targets":         {"routes: [{name: a, backends: [§{service: b, endpoint: b}]}]", "has 2"},
		"a backend with a name":              {"routes: [{name: a, backends: [{§name: b, service: b}]}]", "not a known key"},
		"a backend with rules":               {"routes: [{name: a, backends: [{service: b, §access: {groups: [a]}}]}]", "not a known key"},
		"a public backend":                   {"routes: [{name: a, backends: [{service: b, §public: true}]}]", "not a known key"},
		"backends in backends":               {"routes: [{name: a, backends: [{service: b, §backends: [{service: c}]}]}]", "not a known key"},
		"an address without auth":            {"routes: [{name: a, backends: [{url: §https://h.example/score}]}]", "without auth"},
		"a key nobody gave":                  {"routes: [{name: a, backends: [{url: https://h.example/score, auth: §key}]}]", "there is no key"},
		"a key of a service":                 {"routes: [{name: a, backends: [{service: a, key: §k}]}]", "the workspace has"},
		"a deployment of a service":          {"routes: [{name: a, backends: [{service: a, deployment: §blue}]}]", "without an endpoint"},
		"a backend twice":                    {"routes: [{name: a, backends: [{service: b}, §{service: b}]}]", "again"},
		"a backend twice, otherwise":         {"routes: [{name: a, backends: [{service: b}, §{service: b, auth: key}]}]", "again"},
		"an address twice":                   {"routes: [{name: a, backends: [{url: https://h.example/, auth: none}, §{url: https://h.example/, auth: entra}]}]", "again"},
		"the same in a workspace":            {"workspaces: {" + north + "}\nroutes: [{name: a, backends: [{service: b, workspace: north}, §{service: b, workspace: north}]}]", "again"},
		"the same under two names":           {"workspaces: {" + north + ", " + same + "}\nroutes: [{name: a, backends: [{service: b, workspace: north}, §{service: b, workspace: also}]}]", "again"},
		"a workspace that is not there":      {"routes: [{name: a, service: a, workspace: §north}]", "not here"},
		"another workspace than there is":    {"workspaces: {" + north + "}\nroutes: [{name: a, service: a, workspace: §nroth}]", "nearest is north"},
		"a workspace of an address":          {"workspaces: {" + north + "}\nroutes: [{name: a, url: https://h.example, auth: entra, workspace: §north}]", "asked nothing"},
		"a workspace of an address, unknown": {"routes: [{name: a, url: https://h.example, auth: none, workspace: §north}]", "asked nothing"},
		"a workspace with half a name":       {"workspaces: {§north: {subscription_id: s, workspace_name: w}}\nroutes: [{name: a, service: a, workspace: north}]", "without resource_group:"},
		"a workspace without a name":         {"workspaces: {north: §{}}\nroutes: [{name: a, service: a, workspace: north}]", "empty mapping"},
		"a workspace in both forms":          {"workspaces: {north: {subscription_id: s, resource_group: g, workspace_name: w, config: §routes.yaml}}\nroutes: [{name: a, service: a, workspace: north}]", "keep one"},
		"a file and half a name":             {"workspaces: {north: {subscription_id: s, config: §routes.yaml}}\nroutes: [{name: a, service: a, workspace: north}]", "keep one"},
		"a file that is not there":           {"workspaces: {north: {config: §nowhere.json}}\nroutes: [{name: a, service: a, workspace: north}]", "cannot be read"},
		"a workspace that climbs":            {"workspaces: {north: {subscription_id: s, resource_group: §.., workspace_name: w}}\nroutes: [{name: a, service: a, workspace: north}]", "no separators"},
		"a workspace twice":                  {"workspaces: {" + north + ", §" + north + "}\nroutes: [{name: a, service: a, workspace: north}]", "already"},
		"workspaces twice":                   {"workspaces: {" + north + "}\n§workspaces: {" + south + "}\nroutes: [{name: a, service: a, workspace: north}]", "already"},
		"workspaces in a list":               {"workspaces: §[{" + north + "}]\nroutes: [{name: a, service: a, workspace: north}]", "a mapping of names"},
		"no workspaces":                      {"workspaces: §{}\nroutes: [{name: a, service: a}]", "empty mapping"},
		"workspaces and no routes":           {"workspaces: {" + north + "}\n", "has no routes"},
		"a workspace with a badly cased key": {"workspaces: {north: {§Subscription_id: s, resource_group: g, workspace_name: w}}\nroutes: [{name: a, service: a, workspace: north}]", "nearest is subscription_id"},
		"a route with workspaces":            {"routes: [{name: a, service: a, §workspaces: {" + north + "}}]", "nearest is workspace"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file, where := routesFile(t, test.text)
			if where == "" {
				where = file + ":1:1"
			}
			refused(t, login("AMLPROXY_ROUTES_FILE="+file), where, test.what)
		})
	}
}

// A mistake in a workspace is said once, where it is, and not again by each route.
func TestOneMistakeInAWorkspaceIsSaidOnce(t *testing.T) {
	for name, text := range map[string]string{
		"none at all":    "workspaces: §a\nroutes: [{name: a, service: a, workspace: north}]",
		"a broken one":   "workspaces: {north: §a}\nroutes: [{name: a, service: a, workspace: north}, {name: b, service: b, workspace: north}]",
		"half a name":    "workspaces: {§north: {subscription_id: s}}\nroutes: [{name: a, backends: [{service: a, workspace: north}]}]",
		"a broken alias": "workspaces: {north: §*a}\nroutes: [{name: a, service: a, workspace: north}]",
	} {
		t.Run(name, func(t *testing.T) {
			file, where := routesFile(t, text)
			all := problems(t, login("AMLPROXY_ROUTES_FILE="+file))
			if len(all) != 1 || all[0].Where != where {
				t.Errorf("want one at %s: %v", where, all)
			}
		})
	}
}

func TestBackendsAreWhatWasWritten(t *testing.T) {
	file, _ := routesFile(t, `
workspaces:
  north: {subscription_id: s1, resource_group: g1, workspace_name: w1}
  south: {config: south/config.json}
routes:
  - name: fraud
    backends:
      - {service: fraud, workspace: north}
      - {endpoint: fraud, deployment: blue, workspace: south, auth: token}
      - {endpoint: fraud, deployment: green, workspace: south}
      - {url: "https://h.example/score", auth: key, key_file: primary}
      - {serverless: fraud}
  - {name: one, service: one, workspace: south}
  - {name: own, service: own}
`)
	dir := filepath.Dir(file)
	if err := os.Mkdir(filepath.Join(dir, "south"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "south", "config.json"), "{}")
	write(t, filepath.Join(dir, "primary"), "k\n")
	s := load(t, login("AMLPROXY_ROUTES_FILE="+file, "AMLPROXY_SUBSCRIPTION_ID=s", "AMLPROXY_RESOURCE_GROUP=g", "AMLPROXY_WORKSPACE_NAME=w"))
	want := map[string]config.Workspace{
		"":      {Where: "AMLPROXY_SUBSCRIPTION_ID", SubscriptionID: "s", ResourceGroup: "g", WorkspaceName: "w"},
		"north": {Name: "north", Where: file + ":3:3", SubscriptionID: "s1", ResourceGroup: "g1", WorkspaceName: "w1"},
		"south": {Name: "south", Where: file + ":4:3", Config: filepath.Join(dir, "south", "config.json")},
	}
	if diff := cmp.Diff(want, s.Workspaces); diff != "" {
		t.Error(diff)
	}
	var got []string
	for _, r := range s.Routes {
		for _, b := range r.Backends {
			address := ""
			if b.URL != nil {
				address = b.URL.String()
			}
			got = append(got, strings.Join([]string{
				r.Name, b.Workspace, b.Service, b.Endpoint, b.Deployment, b.Serverless, address, b.Auth, b.Key.Reveal(), strings.TrimPrefix(b.Where, file),
			}, " "))
		}
	}
	if diff := cmp.Diff([]string{
		"fraud north fraud     auto  :8:9",
		"fraud south  fraud blue   token  :9:9",
		"fraud south  fraud green   auto  :10:9",
		"fraud      https://h.example/score key k :11:9",
		"fraud     fraud  auto  :12:9",
		"one south one     auto  :13:5",
		"own  own     auto  :14:5",
	}, got); diff != "" {
		t.Error(diff)
	}
	if len(s.Warnings) != 0 || !s.Routes[0].NeedsWorkspace() || s.Routes[0].Backends[3].NeedsWorkspace() {
		t.Errorf("%v", s.Warnings)
	}
}

// Whoever names a workspace expects it to be asked.
func TestWorkspacesThatNobodyNeeds(t *testing.T) {
	file, where := routesFile(t, "workspaces:\n  north: {config: routes.yaml}\n  §south: {config: routes.yaml}\nroutes: [{name: a, service: a, workspace: north}]")
	s := load(t, login("AMLPROXY_ROUTES_FILE="+file))
	if _, own := s.Workspaces[""]; own || len(s.Workspaces) != 2 {
		t.Errorf("%v", s.Workspaces)
	}
	if !slices.Equal(s.Warnings, []string{where + ": is a workspace that no route is in"}) {
		t.Errorf("%q", s.Warnings)
	}
	s = load(t, login("AMLPROXY_ROUTES_FILE="+file, "AMLPROXY_WORKSPACE_CONFIG="+file))
	if s.Workspaces[""].Config != file || len(s.Warnings) != 2 || !strings.HasPrefix(s.Warnings[1], "AMLPROXY_WORKSPACE_CONFIG: ") {
		t.Errorf("%v, %q", s.Workspaces, s.Warnings)
	}
	if s = load(t, oneRoute()); len(s.Workspaces) != 1 || s.Workspaces[""] != (config.Workspace{}) {
		t.Errorf("the one that the SDK would find: %v", s.Workspaces)
	}
	none := set(oneRoute("AMLPROXY_ROUTES_0_URL=https://h.example", "AMLPROXY_ROUTES_0_AUTH=entra"), "AMLPROXY_ROUTES_0_SERVICE")
	if s = load(t, none); len(s.Workspaces) != 0 {
		t.Errorf("nobody needs one: %v", s.Workspaces)
	}
}
