package config_test

import (
	"slices"
	"strings"
	"testing"
)

// What of a route another one answers is said when settings are read: as a mistake
// where somebody listed what never arrives, as a warning where other people may
// call than it looks, as a note where it is only worth knowing. The § marks where.
func TestConflicts(t *testing.T) {
	const public = ", service: s, public: true"
	tests := map[string]struct{ routes, mistake, warning, note string }{
		"nothing in common": {routes: "[{name: a" + public + "}, {name: b" + public + "}]"},
		"beside, not below": {routes: "[{name: a, paths: ['*']" + public + "}, {name: ab" + public + "}]"},
		"below, where nothing is allowed": {
			routes: "[{name: a, paths: [v1]" + public + "}, {name: b, path: /models/a/v1/b" + public + "}]",
		},
		"a listed path": {
			routes: "[{name: a, paths: [v1/score]" + public + "}, {name: b, path: §/models/a/v1" + public + "}]", mistake: "which lists v1/score",
		},
		"the scoring address by its other name": {
			routes: "[{name: a" + public + "}, {name: b, path: §/models/a/score" + public + "}]", mistake: "which lists score",
		},
		"a part of everything": {
			routes: "[{name: a, paths: ['*']" + public + "}, {name: b, path: §/models/a/b" + public + "}]", note: "longer path wins",
		},
		"a part of everything, with another rule": {
			routes: "[{name: a, paths: ['*'], service: s, access: {groups: [g]}}, {name: b, path: §/models/a/b" + public + "}]", warning: "other people may call it",
		},
		"a part of everything, for others": {
			routes: "[{name: a, paths: ['*'], service: s, access: {groups: [g]}}, {name: b, path: §/models/a/b, service: s, access: {groups: [h]}}]", warning: "other people may call it",
		},
		"a part of everything, for the same": {
			routes: "[{name: a, paths: ['*'], service: s, access: {groups: [g]}}, {name: b, path: §/models/a/b, service: s, access: {groups: [g]}}]", note: "longer path wins",
		},
		"in two": {
			routes: "[{name: a, path: /m, paths: ['*']" + public + "}, {name: b, path: §/m/n, paths: ['*']" + public + "}, {name: c, path: /m/n/o" + public + "}]", note: "longer path wins",
		},
		"one path on two hosts": {
			routes: "[{name: a, host: a.example" + public + "}, {name: b, host: b.example, path: /models/a" + public + "}]",
		},
		"one path on a host and everywhere": {
			routes: "[{name: a" + public + "}, {name: b, host: b.example, path: §/models/a" + public + "}]", note: "on b.example, this route answers instead",
		},
		"one path on a host and everywhere, with another rule": {
			routes: "[{name: a, service: s}, {name: b, host: b.example, path: §/models/a" + public + "}]", warning: "callers choose the host",
		},
		"one path on a port and its host": {
			routes: "[{name: a, host: b.example" + public + "}, {name: b, host: b.example:8443, path: §/models/a" + public + "}]", note: "on b.example:8443",
		},
		"on a host, below what is everywhere and not allowed": {
			routes: "[{name: a" + public + "}, {name: b, host: b.example, path: /models/a/b" + public + "}]",
		},
		"everywhere, below a route of a host": {
			routes: "[{name: a, host: a.example, path: /models" + public + "}, {name: b, path: §/models/b" + public + "}]", warning: "is not reached on a.example",
		},
		"the same but for case": {
			routes: "[{name: a" + public + "}, {name: b, path: §/models/A" + public + "}]", warning: "upper and lower case",
		},
		"where nobody is signed in": {
			routes: "[{name: a, service: s, host: §other.example.com}]", warning: "for programs with a bearer token",
		},
		"where people are signed in": {routes: "[{name: a, service: s, host: models.example.com:8443}]"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file, where := routesFile(t, "routes: "+test.routes+"\n")
			environ := login("AMLPROXY_ROUTES_FILE=" + file)
			if test.mistake != "" {
				refused(t, environ, where, test.mistake)
				return
			}
			s := load(t, environ)
			said := func(all []string, what string) {
				t.Helper()
				all = slices.DeleteFunc(slices.Clone(all), func(text string) bool { return strings.HasPrefix(text, "AMLPROXY_REDIS_URL") })
				if what == "" && len(all) == 0 {
					return
				}
				if what == "" || !slices.ContainsFunc(all, func(text string) bool {
					return strings.HasPrefix(text, where+": ") && strings.Contains(text, what)
				}) {
					t.Errorf("not %q at %s, but %q", what, where, all)
				}
			}
			said(s.Warnings, test.warning)
			said(s.Notes, test.note)
		})
	}
}
