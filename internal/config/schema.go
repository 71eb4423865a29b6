package config

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"amlproxy/internal/secret"
)

// A schema is a part of a JSON Schema.
type schema map[string]any

// RoutesSchema returns the JSON Schema (draft 2020-12) of the routes file, for
// editors: docs/routes.schema.json is this text. It refuses what has no meaning
// anywhere, a misspelt key or a value of another type; what depends on other
// settings, amlproxy check alone can say.
func RoutesSchema() string {
	file := mapping(reflect.TypeFor[rawFile]())
	file["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	file["title"] = "Routes of amlproxy"
	file["required"] = []string{"routes"}
	text, _ := json.MarshalIndent(file, "", "  ") // texts, numbers and lists of them: it cannot fail
	return string(text) + "\n"
}

// mapping describes a struct of raw.go by its tags.
func mapping(t reflect.Type) schema {
	keys := schema{}
	for f := range fields(t) {
		s := valueOf(f.Type)
		restrict(s, f.Tag)
		s["description"] = f.Tag.Get("doc")
		keys[f.Tag.Get("yaml")] = s
	}
	s := schema{"type": "object", "properties": keys, "additionalProperties": false, "minProperties": 1}
	switch t {
	case reflect.TypeFor[rawRoute]():
		s["required"] = []string{"name"}
		s["oneOf"] = required("service", "endpoint", "serverless", "url", "backends")
	case reflect.TypeFor[rawBackend]():
		s["oneOf"] = required("service", "endpoint", "serverless", "url")
	case reflect.TypeFor[rawCORS]():
		s["required"] = []string{"origins"}
	case reflect.TypeFor[rawRateLimit]():
		s["required"] = []string{"requests", "per"}
	}
	return s
}

// required is for oneOf: exactly one of the keys is there.
func required(keys ...string) []schema {
	var all []schema
	for _, key := range keys {
		all = append(all, schema{"required": []string{key}})
	}
	return all
}

func valueOf(t reflect.Type) schema {
	list := schema{"type": "array", "minItems": 1, "items": schema{"type": "string", "minLength": 1}}
	switch t {
	case reflect.TypeFor[leaf[string]](), reflect.TypeFor[leaf[secret.Value]]():
		return schema{"type": "string", "minLength": 1}
	case reflect.TypeFor[leaf[bool]]():
		return schema{"type": "boolean"}
	case reflect.TypeFor[leaf[int]]():
		return schema{"type": "integer", "minimum": 1}
	case reflect.TypeFor[leaf[time.Duration]]():
		return schema{"type": "string", "pattern": `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)`}
	case reflect.TypeFor[leaf[Size]]():
		return schema{"type": []string{"integer", "string"}, "minimum": 1, "pattern": `^[0-9]+(B|[KMG]i?B)?$`}
	case reflect.TypeFor[leaf[[]item]]():
		return list
	case reflect.TypeFor[leaf[map[string][]item]]():
		return schema{"type": "object", "minProperties": 1, "additionalProperties": list}
	case reflect.TypeFor[leaf[[]rawRoute]]():
		return schema{"type": "array", "minItems": 1, "items": mapping(reflect.TypeFor[rawRoute]())}
	case reflect.TypeFor[leaf[[]rawBackend]]():
		return schema{"type": "array", "minItems": 1, "items": mapping(reflect.TypeFor[rawBackend]())}
	case reflect.TypeFor[leaf[[]rawWorkspace]]():
		return schema{"type": "object", "minProperties": 1, "additionalProperties": mapping(reflect.TypeFor[rawWorkspace]())}
	}
	return mapping(t.Elem())
}

// restrict narrows a value, or the elements of a list, to the words of its tag.
func restrict(s schema, tag reflect.StructTag) {
	words := tag.Get("oneof")
	if words == "" {
		return
	}
	if items, ok := s["items"].(schema); ok {
		s = items
	}
	s["enum"] = strings.Split(words, ",")
}
