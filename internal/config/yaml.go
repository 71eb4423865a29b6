package config

import (
	"fmt"
	"reflect"
	"regexp"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"amlproxy/internal/secret"
)

// The parser's time grows by the square of the lines of a mapping, and some of
// ours by that of the routes: a file of 1 MiB that takes a quarter of a minute
// would stop a proxy that reads its routes again while it serves.
const (
	maxRoutesFile = 1 << 20
	maxTokens     = 50_000 // words and signs; a long route has 100
	// maxNodes bounds what aliases can blow a file up to.
	maxNodes  = 200_000
	maxMerges = 10
)

// A routesFile turns the tree that goccy/go-yaml parses into raw routes. The
// library's own decoder is not used: it stops at the first mistake and its errors
// quote the source, which may hold a key. This one goes on, keeps the place of
// every value, and is strict: a key that is unknown, twice or of another type
// is a mistake.
type routesFile struct {
	*report
	name    string
	anchors map[string]ast.Node
	nodes   int // resolved so far
	depth   int // of merges
}

// readRoutes reads a routes file.
func readRoutes(name string, src []byte, r *report) rawFile {
	f := &routesFile{report: r, name: name, anchors: map[string]ast.Node{}}
	var top rawFile
	body := f.parse(src)
	if body == nil {
		return top
	}
	before := len(f.problems)
	f.section(body, reflect.ValueOf(&top).Elem())
	if !top.Routes.set() && len(f.problems) == before {
		f.add(name+":1:1", "has no routes: it has routes: and a list")
	}
	return top
}

func (f *routesFile) at(t *token.Token) string {
	if t == nil || t.Position == nil {
		return f.name + ":1:1"
	}
	return fmt.Sprintf("%s:%d:%d", f.name, t.Position.Line, t.Position.Column)
}

// pos is where a node begins, which for a block mapping is its first key.
func (f *routesFile) pos(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return f.at(n.Values[0].Key.GetToken())
		}
	case *ast.MappingValueNode:
		return f.at(n.Key.GetToken())
	}
	return f.at(n.GetToken())
}

// resolve follows anchors and aliases to the value itself. nil: reported already.
func (f *routesFile) resolve(n ast.Node) ast.Node {
	if f.nodes++; f.nodes > maxNodes {
		if f.nodes == maxNodes+1 {
			f.add(f.pos(n), "is too much: aliases make the file too large")
		}
		return nil
	}
	switch n := n.(type) {
	case *ast.AnchorNode:
		v := f.resolve(n.Value)
		if v != nil && n.Name != nil {
			f.anchors[n.Name.GetToken().Value] = v
		}
		return v
	case *ast.AliasNode:
		v, ok := f.anchors[n.Value.GetToken().Value]
		if !ok {
			f.add(f.pos(n), "is an alias of an anchor that is not above it")
			return nil
		}
		return v
	case *ast.TagNode:
		f.add(f.pos(n), "has a tag: leave it out, and put what shall be text in quotes")
		return nil
	}
	return n
}

// A pair is one key of a mapping.
type pair struct {
	key   string
	at    string
	value ast.Node
}

// pairs lists a mapping, merged keys (<<) after its own. A key that is there
// twice is a mistake: readers differ in which of the two counts.
func (f *routesFile) pairs(n ast.Node) ([]pair, bool) {
	m, ok := n.(ast.MapNode)
	if _, alias := n.(*ast.AliasNode); !ok || alias {
		f.add(f.pos(n), "is "+kind(n)+": a mapping of keys and values belongs here")
		return nil, false
	}
	var own, merged []pair
	seen := map[string]bool{}
	for it := m.MapRange(); it.Next(); {
		if it.Key().IsMergeKey() {
			merged = append(merged, f.merged(it.Value())...)
			continue
		}
		s, ok := it.Key().(*ast.StringNode)
		if !ok {
			f.add(f.at(it.Key().GetToken()), "is a key that is not a word: put it in quotes if it is meant")
			continue
		}
		p := pair{s.Value, f.at(s.GetToken()), it.Value()}
		if seen[p.key] {
			f.add(p.at, "is a key that is here already: keep one of them")
			continue
		}
		seen[p.key] = true
		own = append(own, p)
	}
	for _, p := range merged {
		if !seen[p.key] {
			seen[p.key] = true
			own = append(own, p)
		}
	}
	return own, true
}

// merged returns what a merge key brings: one mapping or a list of them. A
// mapping could merge itself, so the depth has an end.
func (f *routesFile) merged(n ast.Node) []pair {
	f.depth++
	defer func() { f.depth-- }()
	if f.depth > maxMerges {
		f.add(f.pos(n), "is merged into itself, or too often: write it out")
		return nil
	}
	switch n := f.resolve(n).(type) {
	case nil:
		return nil
	case *ast.SequenceNode:
		var all []pair
		for _, v := range n.Values {
			if v := f.resolve(v); v != nil {
				p, _ := f.pairs(v)
				all = append(all, p...)
			}
		}
		return all
	default:
		p, _ := f.pairs(n)
		return p
	}
}

// section reads a mapping into a struct: its place, and a field for each key.
func (f *routesFile) section(n ast.Node, dst reflect.Value) bool {
	n = f.resolve(n)
	if n == nil {
		return false
	}
	place(dst.Addr(), f.pos(n))
	pairs, ok := f.pairs(n)
	if !ok {
		return false
	}
	if len(pairs) == 0 {
		f.add(f.pos(n), "is an empty mapping: say something in it, or leave it out")
	}
	known := map[string][]int{}
	var names []string
	for field := range fields(dst.Type()) {
		known[field.Tag.Get("yaml")] = field.Index
		names = append(names, field.Tag.Get("yaml"))
	}
	for _, p := range pairs {
		index, ok := known[p.key]
		if !ok {
			f.add(p.at, unknownKey(p.key, names))
			continue
		}
		f.value(p, dst.FieldByIndex(index))
	}
	return true
}

func unknownKey(key string, names []string) string {
	known := ": the nearest is " + closest(key, names)
	if !word.MatchString(key) {
		return "is not a known key" + known
	}
	return key + " is not a known key" + known
}

var word = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,39}$`)

// value reads what a key has into the leaf or the section for it.
func (f *routesFile) value(p pair, dst reflect.Value) {
	if isSection(dst.Type()) {
		section := reflect.New(dst.Type().Elem())
		place(section, p.at)
		f.section(p.value, section.Elem())
		dst.Set(section)
		return
	}
	n := f.resolve(p.value)
	switch l := dst.Addr().Interface().(type) {
	case *leaf[string]:
		readNode(f, l, p, n, f.text)
	case *leaf[secret.Value]:
		readNode(f, l, p, n, f.secret)
	case *leaf[bool]:
		readNode(f, l, p, n, f.boolean)
	case *leaf[int]:
		readNode(f, l, p, n, f.integer)
	case *leaf[Size]:
		readNode(f, l, p, n, f.size)
	case *leaf[time.Duration]:
		readNode(f, l, p, n, f.duration)
	case *leaf[[]item]:
		readNode(f, l, p, n, f.list)
	case *leaf[map[string][]item]:
		readNode(f, l, p, n, f.claims)
	case *leaf[[]rawRoute]:
		readNode(f, l, p, n, f.routes)
	case *leaf[[]rawBackend]:
		readNode(f, l, p, n, f.backends)
	case *leaf[[]rawWorkspace]:
		readNode(f, l, p, n, f.workspaces)
	}
}

func readNode[T any](f *routesFile, l *leaf[T], p pair, n ast.Node, read func(ast.Node) (T, error)) {
	l.at, l.bad = p.at, true
	if n == nil {
		return
	}
	l.at = f.pos(n)
	v, err := read(n)
	if err != nil {
		f.add(l.at, err.Error())
		return
	}
	l.v, l.bad = v, false
}
