package config_test

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"amlproxy/internal/config"
)

func routesSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(config.RoutesSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("routes.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	return c.MustCompile("routes.schema.json")
}

// judge returns what the schema says of a routes file, as an editor would.
func judge(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(text, "§", "")), &doc); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s.Validate(doc)
}

// An editor marks nothing that amlproxy takes, and marks every option that is
// misspelt or of another type.
func TestSchemaOfTheRoutesFile(t *testing.T) {
	s := routesSchema(t)
	for _, o := range options() {
		if o.good != "" && strings.HasPrefix(o.document(o.key, o.good), "routes:") {
			if err := judge(t, s, o.document(o.key, o.good)); err != nil {
				t.Errorf("%s: %v\n%s", o.key, err, o.document(o.key, o.good))
			}
		}
		for _, w := range o.wrong {
			if strings.HasPrefix(w, "!!") { // a tag means nothing to a schema
				continue
			}
			if judge(t, s, o.document(o.key, w)) == nil {
				t.Errorf("%s: %s is taken", o.key, w)
			}
		}
		key, last := "", o.key
		if i := strings.LastIndexByte(o.key, '.'); i >= 0 {
			key, last = o.key[:i+1], o.key[i+1:]
		}
		if judge(t, s, o.document(key+last+"x", "a")) == nil {
			t.Errorf("%sx is taken", o.key)
		}
	}
}

// The words of an enumeration are those that amlproxy takes, all of them.
func TestWordsOfTheSchema(t *testing.T) {
	for key, words := range map[string]string{
		"auth: %":               "auto none key token entra",
		"methods: [%]":          "GET HEAD POST PUT PATCH DELETE",
		"identity_headers: [%]": "user email groups",
		"rate_limit: {requests: 1, per: 1s, by: %}": "user client address route",
	} {
		for word := range strings.FieldsSeq(words) {
			text := "routes: [{name: m, service: s, " + strings.Replace(key, "%", word, 1) + "}]\n"
			file, _ := routesFile(t, text)
			if _, err := config.Load(login("AMLPROXY_ROUTES_FILE=" + file)); err != nil {
				t.Errorf("%s: %v", text, err)
			}
			if err := judge(t, routesSchema(t), text); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
}
