package config

import (
	"reflect"
	"strings"
)

// A TableRow shows tests one row of the table of settings.
type TableRow struct {
	Name   string
	Secret bool
	Type   string
}

// Table returns the settings, so that a test can prove that it misses none.
func Table() []TableRow {
	var out []TableRow
	for _, s := range table() {
		out = append(out, TableRow{s.name, s.secret, typeName(s.typ)})
	}
	return out
}

// RouteKeys returns every key of a route in the file, those in mappings with
// dots, and the name in the environment behind ROUTES_n_ ("" when there is none).
func RouteKeys() map[string]string { return routeKeys("", reflect.TypeFor[rawRoute]()) }

func routeKeys(prefix string, t reflect.Type) map[string]string {
	keys := map[string]string{}
	for f := range fields(t) {
		key := prefix + f.Tag.Get("yaml")
		keys[key] = strings.Trim(f.Tag.Get("env"), "-")
		if isSection(f.Type) {
			for k, env := range routeKeys(key+".", f.Type.Elem()) {
				if f.Tag.Get("env") == "-" {
					env = ""
				}
				keys[k] = env
			}
		}
	}
	return keys
}
