package config

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/caarlos0/env/v11"

	"amlproxy/internal/secret"
)

// Load reads the settings of an environment (entries as os.Environ has them)
// and of the files they name. The error is an [*Error] that lists every mistake.
func Load(environ []string) (*Settings, error) {
	r := &report{files: Files{}}
	e := readEnviron(environ, r)
	s := &Settings{}
	e.parse(s, Prefix, Prefix)
	e.parse(&s.Identity, "", "")
	for i := range e.counts[issuersFamily] {
		var b BearerIssuer
		e.parse(&b, issuersFamily+strconv.Itoa(i)+"_", issuersFamily+"n_")
		s.BearerIssuers = append(s.BearerIssuers, b)
	}
	s.Tracing = r.tracing(environ)
	c := &checker{environment: e, s: s}
	c.serving()
	c.login()
	c.redis()
	c.issuers()
	c.azure()
	raw := c.rawRoutes()
	c.workspaces(raw.Workspaces)
	c.routes(raw.Routes.v)
	c.useless()
	c.across()
	c.shared()
	s.Warnings, s.Files = r.warnings, r.files
	r.adrift = c.adrift()
	if err := r.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// parse reads the scalars of a struct by its tags. The prefix begins the names
// in the environment, generic those in the table of settings.
func (e *environment) parse(dst any, prefix, generic string) {
	err := env.ParseWithOptions(dst, env.Options{
		Environment: e.values,
		Prefix:      prefix,
		FuncMap: map[reflect.Type]env.ParserFunc{
			reflect.TypeFor[bool]():           scalarParser(parseBool),
			reflect.TypeFor[time.Duration]():  scalarParser(parseDuration),
			reflect.TypeFor[[]string]():       scalarParser(parseList),
			reflect.TypeFor[[]netip.Prefix](): scalarParser(parsePrefixes),
			reflect.TypeFor[[]secret.Value](): scalarParser(parseSecrets),
		},
	})
	if err == nil {
		return
	}
	var all env.AggregateError
	if !errors.As(err, &all) {
		e.add(prefix, "cannot be read")
		return
	}
	for _, err := range all.Errors {
		e.add(e.cause(err, prefix, generic))
	}
}

// cause turns an error of the env library, which names the Go field and may
// quote the value, into the name of the setting and what our own parser said.
func (e *environment) cause(err error, prefix, generic string) (where, what string) {
	var p env.ParseError
	if !errors.As(err, &p) {
		return prefix + "…", "cannot be read"
	}
	i := slices.IndexFunc(e.table, func(s setting) bool {
		return s.field == p.Name && s.typ == p.Type && len(s.name) > len(generic) && s.name[:len(generic)] == generic
	})
	if i < 0 {
		return prefix + "…", "cannot be read"
	}
	return prefix + e.table[i].name[len(generic):], p.Err.Error()
}

// scalarParser makes one of our parsers what the env library takes. All of ours fail
// with errors of their own that do not quote the value.
func scalarParser[T any](parse func(string) (T, error)) env.ParserFunc {
	return func(s string) (any, error) { return parse(s) }
}

func parseSecrets(s string) ([]secret.Value, error) {
	list, err := parseList(s)
	var secrets []secret.Value
	for _, v := range list {
		secrets = append(secrets, secret.New(v))
	}
	return secrets, err
}
