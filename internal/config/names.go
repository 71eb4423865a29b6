package config

import (
	"cmp"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"amlproxy/internal/secret"
)

// A setting is a row of the one table that names, messages and the reference
// come from. It is read off the tags of [Settings] and of what is in it.
type setting struct {
	name   string // as in the environment; the n of a numbered one is literally n
	field  string // the Go field, which is how the env library names it in errors
	secret bool   // may come from …_FILE
	zero   bool   // may be 0
	typ    reflect.Type
	def    string
	oneof  []string
	group  string
	doc    string
}

// The two lists that are numbered, from 0 and without a gap.
const (
	routesFamily  = Prefix + "ROUTES_"
	issuersFamily = Prefix + "BEARER_ISSUERS_"
)

// table returns every setting there is, in the order of the reference.
func table() []setting {
	t := rows(reflect.TypeFor[Settings](), Prefix)
	t = append(t, rows(reflect.TypeFor[BearerIssuer](), issuersFamily+"n_")...)
	t = append(t, rows(reflect.TypeFor[Identity](), "")...)
	return append(t, rows(reflect.TypeFor[rawRoute](), routesFamily+"n_")...)
}

// rows lists the tagged fields of a struct and of the sections in it.
func rows(t reflect.Type, prefix string) []setting {
	var out []setting
	for f := range fields(t) {
		name := f.Tag.Get("env")
		if name == "" && isSection(f.Type) {
			out = append(out, rows(f.Type.Elem(), prefix)...)
		}
		if name == "" || name == "-" {
			continue
		}
		s := setting{
			name: prefix + name, field: f.Name, typ: f.Type, secret: isSecret(f.Type), zero: f.Tag.Get("zero") == "true",
			def: f.Tag.Get("envDefault"), group: f.Tag.Get("group"), doc: f.Tag.Get("doc"),
		}
		if o := f.Tag.Get("oneof"); o != "" {
			s.oneof = strings.Split(o, ",")
		}
		out = append(out, s)
	}
	return out
}

// fields yields the fields of a struct, those of embedded structs in their place.
func fields(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for _, f := range reflect.VisibleFields(t) {
			if f.Anonymous || !f.IsExported() {
				continue
			}
			if !yield(f) {
				return
			}
		}
	}
}

// isSection reports whether a field of a route holds further fields.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct
}

func isSecret(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[secret.Value](), reflect.TypeFor[[]secret.Value](), reflect.TypeFor[leaf[secret.Value]]():
		return true
	}
	return false
}

// injected are the names that Kubernetes gives to every container beside a
// Service called amlproxy. They are not settings, and are ignored.
var injected = regexp.MustCompile(`^AMLPROXY_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_TCP(_(PROTO|PORT|ADDR))?)$`)

// numbered splits the name of a numbered setting: its family, its number, its key.
var numbered = regexp.MustCompile(`^(AMLPROXY_ROUTES_|AMLPROXY_BEARER_ISSUERS_)([0-9]+)_(.+)$`)

// nearest returns the known name that takes the fewest edits to reach. A
// numbered name is compared at the number that was written.
func nearest(name string, known []string) string {
	n := "0"
	if m := numbered.FindStringSubmatch(name); m != nil {
		n = cmp.Or(strings.TrimLeft(m[2], "0"), "0")
	}
	candidates := make([]string, len(known))
	for i, k := range known {
		for _, family := range []string{routesFamily, issuersFamily} {
			if key, ok := strings.CutPrefix(k, family+"n_"); ok {
				k = family + n + "_" + key
			}
		}
		candidates[i] = k
	}
	return closest(name, candidates)
}

// closest returns the candidate with the least edit distance, the first of several.
func closest(s string, candidates []string) string {
	return slices.MinFunc(candidates, func(a, b string) int {
		return cmp.Compare(distance(s, a), distance(s, b))
	})
}

// distance is Levenshtein's, on bytes: names are ASCII. What is longer than any
// name is cut, so that a huge one costs nothing.
func distance(a, b string) int {
	a = a[:min(len(a), 100)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := diagonal
			if a[i] != b[j] {
				d = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
