package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"amlproxy/internal/secret"
)

const generated = "<!-- Written by `go test ./internal/config -update`; do not edit. -->\n\n"

// Reference returns the table of all settings, in Markdown. docs/settings.md is
// this text, and a test keeps it so.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Settings\n\n" + generated)
	b.WriteString("Every setting is an environment variable. A secret may be read from a file instead: add `_FILE` to its name.\n" +
		"A setting that is there but empty, that nothing knows, or that comes after a gap in the numbers is a mistake, and `amlproxy check` lists all of them.\n" +
		"Sizes are written like `64KiB`, durations like `90s`; elements of a list are separated by commas.\n\n" +
		"A deployment, for instance (`check` prints no values, so its output may be shown around):\n\n" + block("settings", "sh", settingsExample))
	chapters := []struct {
		title string
		rows  []setting
	}{
		{"", rows(reflect.TypeFor[Settings](), Prefix)},
		{"More issuers of bearer tokens, numbered from 0", rows(reflect.TypeFor[BearerIssuer](), issuersFamily+"n_")},
		{"Who the proxy is in Azure", rows(reflect.TypeFor[Identity](), "")},
		{"Simple routes without a file, numbered from 0", rows(reflect.TypeFor[rawRoute](), routesFamily+"n_")},
	}
	for _, c := range chapters {
		if c.title != "" {
			b.WriteString(chapter(c.title))
		}
		for _, s := range c.rows {
			if s.group != "" {
				b.WriteString(chapter(s.group))
			}
			b.WriteString(s.row())
		}
	}
	b.WriteString("\nWithout a service principal here, the proxy is who azidentity's default chain finds, by its own names (`AZURE_CLIENT_ID`, `IDENTITY_ENDPOINT`, …).\n" +
		"`HTTPS_PROXY` and `SSL_CERT_FILE` mean what they mean everywhere.\n")
	b.WriteString("\n## Traces\n\n" +
		"Spans are sent, by OTLP over HTTP, when OpenTelemetry's own `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set, and made for nobody else.\n" +
		"Of the exporter's variables these are read, each with `TRACES_` or without: `ENDPOINT`, `HEADERS`, `TIMEOUT`, `COMPRESSION`, `CERTIFICATE`, `CLIENT_CERTIFICATE`, `CLIENT_KEY`, and `PROTOCOL`, which has to be `http/protobuf`.\n" +
		"`OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`, `OTEL_SPAN_…`, `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` mean what they mean everywhere; an empty value is none.\n")
	return b.String()
}

func chapter(title string) string {
	return "\n## " + title + "\n\n| name | type | default | meaning |\n|---|---|---|---|\n"
}

func (s setting) row() string {
	def := "–"
	if s.def != "" {
		def = "`" + s.def + "`"
	}
	doc := s.doc
	if s.oneof != nil {
		doc += " One of `" + strings.Join(s.oneof, "`, `") + "`."
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", s.name, typeName(s.typ), def, doc)
}

// typeName says how a value is written, in the environment and in the file.
func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[bool](), reflect.TypeFor[leaf[bool]]():
		return "true, false"
	case reflect.TypeFor[leaf[int]]():
		return "number"
	case reflect.TypeFor[time.Duration](), reflect.TypeFor[leaf[time.Duration]]():
		return "duration"
	case reflect.TypeFor[Size](), reflect.TypeFor[leaf[Size]]():
		return "size"
	case reflect.TypeFor[URL]():
		return "URL"
	case reflect.TypeFor[[]string](), reflect.TypeFor[[]netip.Prefix](), reflect.TypeFor[leaf[[]item]]():
		return "list"
	case reflect.TypeFor[secret.Value](), reflect.TypeFor[leaf[secret.Value]]():
		return "secret"
	case reflect.TypeFor[[]secret.Value]():
		return "list of secrets"
	case reflect.TypeFor[leaf[map[string][]item]]():
		return "mapping of lists"
	case reflect.TypeFor[leaf[[]rawRoute]](), reflect.TypeFor[leaf[[]rawBackend]]():
		return "list of mappings"
	case reflect.TypeFor[leaf[[]rawWorkspace]]():
		return "mapping of mappings"
	}
	if isSection(t) {
		return "mapping"
	}
	return "text"
}

// RoutesReference returns the keys of the routes file, in Markdown; docs/routes.md
// is this text.
func RoutesReference() string {
	var b strings.Builder
	b.WriteString("# The routes file\n\n" + generated)
	b.WriteString("YAML, named by `AMLPROXY_ROUTES_FILE`. A key that is unknown, twice, empty or of another type is a mistake.\n" +
		"Anchors, aliases and merge keys are fine; tags and further documents are not. Only a route's name and what it calls are required:\n\n" +
		block("routes", "yaml", routesExample) + combining)
	writeKeys(&b, "The file", reflect.TypeFor[rawFile]())
	writeKeys(&b, "A route", reflect.TypeFor[rawRoute]())
	writeKeys(&b, "One of `backends`", reflect.TypeFor[rawBackend]())
	writeKeys(&b, "One of `workspaces`", reflect.TypeFor[rawWorkspace]())
	return b.String()
}

// writeKeys writes the keys of a mapping, then those of the mappings in it. all
// and none are described where they stand: their keys are those of access.
func writeKeys(b *strings.Builder, title string, t reflect.Type) {
	b.WriteString("\n## " + title + "\n\n")
	simple := t == reflect.TypeFor[rawRoute]() || t == reflect.TypeFor[rawAccess]() || t == reflect.TypeFor[rawCORS]()
	if simple {
		b.WriteString("| key | type | in the environment | meaning |\n|---|---|---|---|\n")
	} else {
		b.WriteString("| key | type | meaning |\n|---|---|---|\n")
	}
	for f := range fields(t) {
		fmt.Fprintf(b, "| `%s` | %s | ", f.Tag.Get("yaml"), typeName(f.Type))
		if env := f.Tag.Get("env"); simple && env != "" && env != "-" {
			b.WriteString("`" + routesFamily + "n_" + env + "` | ")
		} else if simple {
			b.WriteString("– | ")
		}
		b.WriteString(f.Tag.Get("doc") + " |\n")
	}
	for f := range fields(t) {
		if isSection(f.Type) && f.Tag.Get("env") != "-" {
			writeKeys(b, "`"+f.Tag.Get("yaml")+"`", f.Type.Elem())
		}
	}
}
