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
		{key: "workspaces.config", good: "routes.yaml", wrong: text, malformed: []string{"/nonexistent/config.json", "/"}},
	}
	for _, o := range append(slices.Clone(all), simple...) {
		switch o.key {
		case "service", "endpoint", "deployment", "serverless", "workspace", "url", "auth", "key", "key_file", "secondary_key", "secondary_key_file":
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
	within := strings.Join(append(slices.Clone(parents), ""), ".")
	var inside []string
	for _, l := range orElse(o.with, "name: model", "service: svc") {
		if in, ok := strings.CutPrefix(l, within); ok && within != "" {
			inside = append(inside, in)
			continue
		}
		line(4, l)
	}
	for i, p := range parents {
		line(4+2*i, p+":")
	}
	if within == "backends." {
		line(6, "- # a backend")
	}
	for _, l := range inside {
		line(o.indent(), l)
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
		return 8
	}
	return 4 + 2*depth
}
