package config

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// parse returns the one document of the file, nil when there is none to read.
func (f *routesFile) parse(src []byte) ast.Node {
	start := f.name + ":1:1"
	src = bytes.TrimPrefix(src, []byte("\ufeff")) // editors on Windows write a byte order mark
	if !utf8.Valid(src) || strings.ContainsRune(string(src), 0) {
		f.add(start, "is not UTF-8 text")
		return nil
	}
	file, err := parse(src)
	if err != nil {
		where, what := f.syntax(err)
		f.add(where, what)
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType:
		case doc.Body.Type() == ast.DirectiveType:
			f.add(f.pos(doc.Body), "is a directive: leave it out")
			return nil
		case body != nil:
			f.add(f.pos(doc.Body), "begins a second document: put all routes into one")
			return nil
		default:
			body = doc.Body
		}
	}
	if body == nil {
		f.add(start, "is empty: it begins with routes: and a list")
	}
	return body
}

var (
	errDeep = errors.New("is nested deeper than routes can be")
	errMuch = errors.New("has more words and signs than the routes of one proxy need: 50000 is the most")
)

var errParser = errors.New("cannot be parsed as YAML")

// parse calls the library. A file that makes it panic must not end a proxy that
// reads its routes again while it serves.
func parse(src []byte) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			file, err = nil, errParser
		}
	}()
	tokens := lexer.Tokenize(string(src))
	switch {
	case tooDeep(tokens):
		return nil, errDeep
	case len(tokens) > maxTokens:
		return nil, errMuch
	}
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// maxDepth is more than routes can use. The parser needs memory by the square of
// the depth: a small file of brackets alone would take all there is.
const (
	maxDepth  = 20
	maxIndent = 200
)

// tooDeep counts what opens a level: brackets, dashes in one line, indentation.
func tooDeep(tokens token.Tokens) bool {
	brackets, dashes, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			dashes, line = 0, t.Position.Line
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.SequenceEntryType, token.MappingKeyType:
			dashes++
		}
		if brackets > maxDepth || dashes > maxDepth || t.Position.IndentNum > maxIndent {
			return true
		}
	}
	return false
}

// quoted is what a message of the library may repeat from the source.
var quoted = regexp.MustCompile("\"[^\"]*\"?|`[^`]*`?")

// syntax says where the library stopped and why, without what it quotes.
func (f *routesFile) syntax(err error) (where, what string) {
	if errors.Is(err, errDeep) || errors.Is(err, errMuch) {
		return f.name + ":1:1", err.Error()
	}
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil {
		return f.name + ":1:1", errParser.Error()
	}
	return f.at(at.GetToken()), "is not valid YAML: " + quoted.ReplaceAllString(at.GetMessage(), "…")
}
