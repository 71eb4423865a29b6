package config

import (
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"amlproxy/internal/secret"
)

var (
	errNothing   = errors.New("is empty: give it a value, or leave the key out")
	errEmptyList = errors.New("is an empty list: name what belongs into it, or leave the key out")
)

// kind names what was found, for someone who expected something else.
func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.NullNode:
		return "nothing"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	}
	return "something else"
}

// wrong says that a value has another type than it must.
func wrong(n ast.Node, want string) error {
	if n.Type() == ast.NullType {
		return errNothing
	}
	return errors.New("is " + kind(n) + ": " + want + " belongs here")
}

func plain(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

func (f *routesFile) text(n ast.Node) (string, error) {
	s, ok := plain(n)
	switch {
	case !ok:
		return "", wrong(n, "text (in quotes, if it looks like something else)")
	case strings.TrimSpace(s) == "":
		return "", errNothing
	}
	return s, plainText(s)
}

func (f *routesFile) secret(n ast.Node) (secret.Value, error) {
	s, ok := plain(n)
	switch {
	case !ok:
		return secret.Value{}, wrong(n, "text (in quotes, if it looks like something else)")
	case strings.TrimSpace(s) == "":
		return secret.Value{}, errNothing
	}
	return secret.New(s), plainText(s)
}

func (f *routesFile) boolean(n ast.Node) (bool, error) {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		return false, wrong(n, "true or false (without quotes)")
	}
	return b.Value, nil
}

func (f *routesFile) integer(n ast.Node) (int, error) {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return 0, wrong(n, "a whole number")
	}
	const most = 1 << 30
	switch v := i.Value.(type) {
	case int64:
		if v >= -most && v <= most {
			return int(v), nil
		}
	case uint64:
		if v <= most {
			return int(v), nil
		}
	}
	return 0, errors.New("is a number that is too large")
}

func (f *routesFile) size(n ast.Node) (Size, error) {
	if i, ok := n.(*ast.IntegerNode); ok {
		return parseSize(i.GetToken().Value)
	}
	s, err := f.text(n)
	if err != nil {
		return 0, err
	}
	return parseSize(s)
}

func (f *routesFile) duration(n ast.Node) (time.Duration, error) {
	if n.Type() == ast.IntegerType {
		return 0, errDuration
	}
	s, err := f.text(n)
	if err != nil {
		return 0, err
	}
	return parseDuration(s)
}

// list reads a list of texts, each with its place. Elements that cannot be read
// are reported there, and the list is bad as a whole.
func (f *routesFile) list(n ast.Node) ([]item, error) {
	seq, ok := n.(*ast.SequenceNode)
	switch {
	case !ok:
		return nil, wrong(n, "a list")
	case len(seq.Values) == 0:
		return nil, errEmptyList
	}
	var items []item
	for _, e := range seq.Values {
		v := f.resolve(e)
		if v == nil {
			continue
		}
		s, err := f.text(v)
		if err != nil {
			f.add(f.pos(v), err.Error())
			continue
		}
		items = append(items, item{s, f.pos(v)})
	}
	return items, nil
}

func (f *routesFile) claims(n ast.Node) (map[string][]item, error) {
	if n.Type() == ast.NullType {
		return nil, errNothing
	}
	pairs, _ := f.pairs(n)
	claims := map[string][]item{}
	for _, p := range pairs {
		var l leaf[[]item]
		if readNode(f, &l, p, f.resolve(p.value), f.list); l.good() {
			claims[p.key] = l.v
		}
	}
	if len(pairs) == 0 && n.Type() == ast.MappingType {
		return nil, errors.New("is an empty mapping: name a claim in it, or leave the key out")
	}
	return claims, nil
}

func (f *routesFile) routes(n ast.Node) ([]rawRoute, error) {
	return sections[rawRoute](f, n, "a list of routes")
}

func (f *routesFile) backends(n ast.Node) ([]rawBackend, error) {
	return sections[rawBackend](f, n, "a list of backends")
}

// sections reads a list of mappings. One that cannot be read is left out: it was
// reported there, and nothing is served after a report.
func sections[T any](f *routesFile, n ast.Node, want string) ([]T, error) {
	seq, ok := n.(*ast.SequenceNode)
	switch {
	case !ok:
		return nil, wrong(n, want)
	case len(seq.Values) == 0:
		return nil, errEmptyList
	}
	var all []T
	for _, e := range seq.Values {
		var v T
		if f.section(e, reflect.ValueOf(&v).Elem()) {
			all = append(all, v)
		}
	}
	return all, nil
}

// workspaces reads a mapping of names to workspaces.
func (f *routesFile) workspaces(n ast.Node) ([]rawWorkspace, error) {
	if _, ok := n.(ast.MapNode); !ok {
		return nil, wrong(n, "a mapping of names to workspaces")
	}
	pairs, _ := f.pairs(n)
	if len(pairs) == 0 {
		return nil, errors.New("is an empty mapping: name a workspace in it, or leave the key out")
	}
	var all []rawWorkspace
	for _, p := range pairs {
		var w rawWorkspace
		w.bad = !f.section(p.value, reflect.ValueOf(&w).Elem())
		w.name, w.at = p.key, p.at
		all = append(all, w)
	}
	return all, nil
}
