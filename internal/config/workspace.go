package config

import (
	"slices"
	"strings"
)

// azureName refuses what cannot be a name in Azure: it becomes a segment of a path
// there, and must not be able to become more.
func azureName(v string) bool {
	return !strings.ContainsAny(v, "/\\?#%;") && strings.Trim(v, ".") != ""
}

const notAzureName = "is not a name that Azure gives: it has no separators"

// workspace judges how the environment names the workspace: by its three names
// or by its file. With neither, internal/app looks for the file as the SDK does.
func (c *checker) workspace() {
	given := map[string]string{
		"SUBSCRIPTION_ID": c.s.SubscriptionID, "RESOURCE_GROUP": c.s.ResourceGroup, "WORKSPACE_NAME": c.s.WorkspaceName,
	}
	some := c.has("SUBSCRIPTION_ID") || c.has("RESOURCE_GROUP") || c.has("WORKSPACE_NAME")
	for _, name := range []string{"SUBSCRIPTION_ID", "RESOURCE_GROUP", "WORKSPACE_NAME"} {
		v := given[name]
		switch {
		case some && v == "" && !c.has(name):
			c.mistake(name, "is missing: the workspace needs all of SUBSCRIPTION_ID, RESOURCE_GROUP and WORKSPACE_NAME")
		case v != "" && !azureName(v):
			c.mistake(name, notAzureName)
		}
	}
	if some && c.has("WORKSPACE_CONFIG") {
		c.mistake("WORKSPACE_CONFIG", "is set together with the workspace's names: say in one place which it is")
	}
	if file, ok := c.value("WORKSPACE_CONFIG"); ok {
		_, err := c.readFile(file, maxSecretFile)
		c.note("WORKSPACE_CONFIG", err)
	}
}

// workspaces judges the named ones, before the routes that name them.
func (c *checker) workspaces(all leaf[[]rawWorkspace]) {
	c.named = all
	c.s.Workspaces = map[string]Workspace{"": {
		Where:          firstOf(c.given("WORKSPACE_CONFIG", "SUBSCRIPTION_ID", "RESOURCE_GROUP", "WORKSPACE_NAME")...),
		SubscriptionID: c.s.SubscriptionID, ResourceGroup: c.s.ResourceGroup, WorkspaceName: c.s.WorkspaceName,
		Config: c.s.WorkspaceConfig,
	}}
	for i := range all.v {
		w := &all.v[i]
		if !plainName(w.name) {
			c.add(w.at, notPlainName)
		}
		c.s.Workspaces[w.name] = c.namedWorkspace(w)
	}
}

// given lists those settings that are there, by full name.
func (c *checker) given(names ...string) []string {
	var out []string
	for _, name := range names {
		if c.has(name) {
			out = append(out, Prefix+name)
		}
	}
	return out
}

func (c *checker) namedWorkspace(w *rawWorkspace) Workspace {
	out := Workspace{
		Name: w.name, Where: w.at,
		SubscriptionID: c.azureNameOf(w.SubscriptionID), ResourceGroup: c.azureNameOf(w.ResourceGroup), WorkspaceName: c.azureNameOf(w.WorkspaceName),
	}
	if w.Config.good() {
		out.Config = c.beside(w.Config.v)
		if _, err := c.readFile(out.Config, maxSecretFile); err != nil {
			c.add(w.Config.at, err.Error())
		}
	}
	var missing []string
	for _, part := range []struct {
		key string
		l   leaf[string]
	}{{"subscription_id", w.SubscriptionID}, {"resource_group", w.ResourceGroup}, {"workspace_name", w.WorkspaceName}} {
		if !part.l.set() {
			missing = append(missing, part.key)
		}
	}
	switch {
	case w.bad:
	case w.Config.set() && len(missing) < 3:
		c.add(w.Config.at, "is a file for a workspace whose names are also here: keep one of the two")
	case !w.Config.set() && len(missing) > 0:
		c.add(w.at, "is a workspace without "+strings.Join(missing, ", ")+": it needs subscription_id, resource_group and workspace_name, or config")
	}
	return out
}

func (c *checker) azureNameOf(l leaf[string]) string {
	if l.good() && !azureName(l.v) {
		c.add(l.at, notAzureName)
	}
	return l.v
}

// inWorkspace judges which workspace a target is in: one of those that are named,
// or, without a name, the environment's.
func (c *checker) inWorkspace(l leaf[string], kind string) string {
	switch _, known := c.s.Workspaces[l.v]; {
	case l.set() && kind == "url":
		c.add(l.at, "is a workspace for an address: it is asked nothing; remove it")
		return ""
	case l.good() && !known && !c.named.bad:
		c.add(l.at, c.unknownWorkspace(l.v))
	}
	return l.v
}

func (c *checker) unknownWorkspace(name string) string {
	var names []string
	for _, w := range c.named.v {
		if plainName(w.name) {
			names = append(names, w.name)
		}
	}
	if names == nil {
		return "is a workspace that is not here: name it under workspaces, at the top of the file"
	}
	return "is none of the workspaces at the top of the file: the nearest is " + closest(name, names)
}

// useless warns of workspaces that no route is in: whoever named one expects it
// to be asked. The environment's is kept only if it was set or is needed.
func (c *checker) useless() {
	used := map[string]bool{}
	for i := range c.s.Routes {
		for _, b := range c.s.Routes[i].Backends {
			used[b.Workspace] = used[b.Workspace] || b.NeedsWorkspace()
		}
	}
	for _, w := range c.named.v {
		if !used[w.name] {
			c.warn(w.at, "is a workspace that no route is in")
		}
	}
	switch own := c.s.Workspaces[""]; {
	case used[""]:
	case own.Where == "":
		delete(c.s.Workspaces, "")
	default:
		c.warn(own.Where, "names a workspace that no route is in")
	}
}

// adrift reports whether a route needs to be told which workspace it is in, and is
// not. A target that is itself mistaken needs nothing yet.
func (c *checker) adrift() bool {
	own, ok := c.s.Workspaces[""]
	return ok && own.Where == "" && slices.ContainsFunc(c.s.Routes, func(r Route) bool {
		return slices.ContainsFunc(r.Backends, func(b Backend) bool {
			return b.Workspace == "" && b.Service+b.Endpoint+b.Serverless != ""
		})
	})
}

// id says which workspace it is, so that two names for one are found out. Azure
// does not tell letters by case.
func (w Workspace) id() string {
	if w.Config != "" {
		return w.Config
	}
	return strings.ToLower(strings.Join([]string{w.SubscriptionID, w.ResourceGroup, w.WorkspaceName}, "/"))
}
