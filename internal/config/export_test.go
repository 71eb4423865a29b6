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

// RouteKeys returns every key of a routes file: those of a route by themselves,
// those in mappings and lists of mappings with dots, and the name in the
// environment behind ROUTES_n_ ("" when there is none).
func RouteKeys() map[string]string {
	keys := routeKeys("", reflect.TypeFor[rawFile]())
	for key, env := range routeKeys("", reflect.TypeFor[rawRoute]()) {
		keys[key] = env
	}
	return keys
}

func routeKeys(prefix string, t reflect.Type) map[string]string {
	keys := map[string]string{}
	for f := range fields(t) {
		key := prefix + f.Tag.Get("yaml")
		keys[key] = strings.Trim(f.Tag.Get("env"), "-")
		inside, onlyFile := f.Type, f.Tag.Get("env") == "-"
		switch f.Type {
		case reflect.TypeFor[leaf[[]rawBackend]]():
			inside, onlyFile = reflect.TypeFor[*rawBackend](), true
		case reflect.TypeFor[leaf[[]rawWorkspace]]():
			inside = reflect.TypeFor[*rawWorkspace]()
		}
		if !isSection(inside) {
			continue
		}
		for k, env := range routeKeys(key+".", inside.Elem()) {
			if onlyFile {
				env = ""
			}
			keys[k] = env
		}
	}
	return keys
}
