package config_test

import (
	"slices"
	"strings"
)

const northIsThere = "workspaces: {north: {subscription_id: s, resource_group: g, workspace_name: w}}\n"

// targetOptions are those of a file with several backends and workspaces. What a
// route can say of its one target, a backend can say of itself.
func targetOptions(simple []option) []option {
	noMapping := []string{"a", "[a]", "7", "true"}
	text := []string{"[a]", "{a: b}", "7", "true", "!!str x"}
	name := []string{"'a/b'", "'..'", "'a?b'", "'a#b'", `'a\b'`}
	all := []option{
		{key: "routes", good: "[{name: model, service: svc}]", wrong: []string{"a", "{a: b}", "7", "true"}, malformed: []string{"[a]", "[[]]", "[{}]", "[~]"}},
		{
			key: "backends", with: []string{"name: model"}, good: "[{service: a}, {endpoint: a}]", wrong: []string{"a", "{service: a}", "7", "true"},
			malformed: []string{"[a]", "[[]]", "[{}]", "[~]", "[{service: a}, {service: a}]", "[{service: a, endpoint: a}]", "[{auth: key}]", "[{name: a, service: a}]", "[{service: a}, ~]"},
		},
		{
			key: "workspace", with: []string{"name: model", "service: svc"}, top: northIsThere, good: "north", wrong: text,
			malformed: []string{"south", "North", "'north/x'"},
		},
		{
			key: "workspaces", good: "{north: {subscription_id: s, resource_group: g, workspace_name: w}}", wrong: noMapping,
			malformed: []string{
				"{north: a}", "{north: }", "{north: {}}", "{north: []}", "{7: {config: a}}", "{north: {subscription_id: s}}", "{north: {subscription_id: s, resource_group: g}}",
				"{North: {subscription_id: s, resource_group: g, workspace_name: w}}", "{'a b': {subscription_id: s, resource_group: g, workspace_name: w}}",
				"{'': {subscription_id: s, resource_group: g, workspace_name: w}}", "{north: {subscription_id: s, resource_group: g, workspace_name: w, config: a}}",
			},
		},
		{key: "workspaces.subscription_id", with: []string{"resource_group: g", "workspace_name: w"}, good: "s", wrong: text, malformed: name},
		{key: "workspaces.resource_group", with: []string{"subscription_id: s", "workspace_name: w"}, good: "g", wrong: text, malformed: name},
		{key: "workspaces.workspace_name", with: []string{"subscription_id: s", "resource_group: g"}, good: "w", wrong: text, malformed: name},
		{key: "tls", with: withTLS(), good: "{server_name: a.example}", wrong: noMapping},
		{key: "tls.ca_file", with: withTLS(), wrong: text, malformed: []string{"/nonexistent/ca.pem", "/", "routes.yaml"}},
		{key: "tls.cert_file", with: withTLS("tls.key_file: routes.yaml"), wrong: text, malformed: []string{"/nonexistent/cert.pem", "/", "routes.yaml"}},
		{key: "tls.key_file", with: withTLS("tls.cert_file: routes.yaml"), wrong: text, malformed: []string{"/nonexistent/key.pem", "/"}},
		{key: "tls.server_name", with: withTLS(), good: "a.example", wrong: text, malformed: []string{"'a.example:443'", "'*.example'", "'a b'", "https://a.example", "'.'"}},
		{key: "workspaces.config", good: "routes.yaml", wrong: text, malformed: []string{"/nonexistent/config.json", "/"}},
	}
	for _, o := range append(slices.Clone(all), simple...) {
		if strings.HasPrefix(o.key, "backends") {
			continue
		}
		switch o.key {
		case "tls", "tls.ca_file", "tls.cert_file", "tls.key_file", "tls.server_name",
			"service", "endpoint", "deployment", "serverless", "workspace", "url", "auth", "key", "key_file", "secondary_key", "secondary_key_file":
			with := []string{"name: model"}
			for _, l := range orElse(o.with, "service: svc") {
				if !strings.HasPrefix(l, "name: ") {
					with = append(with, "backends."+l)
				}
			}
			o.key, o.with, o.env, o.envWrong = "backends."+o.key, with, "", nil
			all = append(all, o)
		}
	}
	return all
}

func orElse(with []string, absent ...string) []string {
	if with == nil {
		return absent
	}
	return with
}

func withTLS(more ...string) []string {
	return append([]string{"name: model", "url: https://h.example/score", "auth: none"}, more...)
}

func withURL() []string { return []string{"name: model", "url: https://h.example/score", "auth: key"} }

// document writes a file with an option, whose value or key may be marked with §.
func (o option) document(key, value string) string {
	last := key[strings.LastIndexByte(key, '.')+1:]
	var b strings.Builder
	line := func(indent int, text string) { b.WriteString(strings.Repeat(" ", indent) + text + "\n") }
	this := func(indent int) { line(indent, last+": "+value) }
	if m, ok := strings.CutPrefix(last, "§"); ok {
		this = func(indent int) { line(indent, "§"+m+": "+value) }
	}
	parents := strings.Split(o.key, ".")
	parents = parents[:len(parents)-1]
	switch {
	case o.key == "routes":
		this(0)
		return b.String()
	case strings.HasPrefix(o.key, "workspaces"):
		line(0, "routes: [{name: model, service: svc, workspace: north}]")
		for _, p := range parents {
			line(0, p+":")
			line(2, "north:")
		}
		for _, l := range o.with {
			line(4, l)
		}
		this(4 * len(parents))
		return b.String()
	}
	o.route(line, parents)
	this(o.indent())
	b.WriteString(o.top)
	return b.String()
}

// route writes all of a route but the option itself, which comes below its end.
func (o option) route(line func(int, string), parents []string) {
	line(0, "routes:")
	line(2, "- # a route")
	with := slices.Clone(orElse(o.with, "name: model", "service: svc"))
	// Of what begins with the names of mappings, each is written where it belongs.
	take := func(indent int, prefix string, but ...string) {
		with = slices.DeleteFunc(with, func(l string) bool {
			in, ok := strings.CutPrefix(l, prefix)
			if ok = ok && !slices.ContainsFunc(but, func(p string) bool { return strings.HasPrefix(in, p+".") }); ok {
				line(indent, in)
			}
			return ok
		})
	}
	take(4, "", parents...)
	indent, prefix := 4, ""
	for i, p := range parents {
		line(indent, p+":")
		indent, prefix = indent+2, prefix+p+"."
		if p == "backends" {
			line(indent, "- # a backend")
			indent += 2
		}
		take(indent, prefix, parents[i+1:]...)
	}
}

// indent is where the option begins in the document.
func (o option) indent() int {
	depth := strings.Count(o.key, ".")
	switch {
	case o.key == "routes":
		return 0
	case strings.HasPrefix(o.key, "workspaces"):
		return 4 * depth
	case strings.HasPrefix(o.key, "backends."):
		return 6 + 2*depth
	}
	return 4 + 2*depth
}
