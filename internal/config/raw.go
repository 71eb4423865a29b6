package config

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"amlproxy/internal/secret"
)

// A leaf is one value of a route as it was written, with the place where, so
// that whatever is found wrong with it later can name that place. A leaf that
// was not set has no place. The fields are unexported: a leaf is not walked into.
type leaf[T any] struct {
	v   T
	at  string
	bad bool // it could not be read; reported already, and v is zero
}

func (l leaf[T]) set() bool { return l.at != "" }

// good reports whether there is a value to judge.
func (l leaf[T]) good() bool { return l.at != "" && !l.bad }

// An item is an element of a list, and where it was written.
type item struct{ v, at string }

// A rawRoute is a route before it is judged: the same shape whether it came
// from the environment or from the file. The yaml tag names the key in the
// file, the env tag what follows ROUTES_n_; a field without an env tag is for
// the file alone. A test refuses every field here in every broken form.
type rawRoute struct {
	at string

	Name leaf[string] `yaml:"name" env:"NAME" doc:"Lower-case letters, digits and hyphens; unique. Required."`
	Path leaf[string] `yaml:"path" env:"PATH" doc:"Where it is served; /models/NAME when absent."`
	Host leaf[string] `yaml:"host" doc:"The one host that it is served on, with or without a port; every host when absent. Two routes may have one path on different hosts. Whoever signs in does so on PUBLIC_URL's host, and is signed in there alone."`
	rawTarget
	Backends leaf[[]rawBackend] `yaml:"backends" doc:"Several things to call, in the order they are tried, instead of one: a list of mappings with the keys below. The next one is taken only when nothing could be sent to the one before."`

	Public leaf[bool] `yaml:"public" env:"PUBLIC" doc:"true: anyone at all may call, without signing in."`
	Access *rawAccess `yaml:"access" doc:"Who may call; anyone signed in when absent."`

	Methods         leaf[[]item]        `yaml:"methods" env:"METHODS" oneof:"GET,HEAD,POST,PUT,PATCH,DELETE" doc:"Methods that may be used: GET and POST when absent."`
	Paths           leaf[[]item]        `yaml:"paths" env:"PATHS" doc:"What exactly may be called below the route; score and swagger.json when absent, * alone for all (in YAML in quotes)."`
	CORS            *rawCORS            `yaml:"cors" doc:"Pages of other origins that may call."`
	RateLimit       *rawRateLimit       `yaml:"rate_limit" doc:"How often each caller may call."`
	MaxConcurrent   leaf[int]           `yaml:"max_concurrent" doc:"How many calls may run at once; no limit when absent."`
	MaxBody         leaf[Size]          `yaml:"max_body" env:"MAX_BODY" doc:"The largest body; 64MiB when absent."`
	Timeout         leaf[time.Duration] `yaml:"timeout" env:"TIMEOUT" doc:"How long until the answer begins, from the last byte of the request on; 180s when absent."`
	IdentityHeaders leaf[[]item]        `yaml:"identity_headers" oneof:"user,email,groups" doc:"What the model is told about the caller: user, email, groups; nothing when absent."`
}

// A rawTarget is what is called, and how: in a route or in one of its backends.
type rawTarget struct {
	Service    leaf[string] `yaml:"service" env:"SERVICE" doc:"A v1 web service (ACI or AKS) in the workspace. Exactly one of service, endpoint, serverless and url is required."`
	Endpoint   leaf[string] `yaml:"endpoint" env:"ENDPOINT" doc:"A v2 online endpoint in the workspace."`
	Deployment leaf[string] `yaml:"deployment" env:"DEPLOYMENT" doc:"The one deployment of the endpoint to call; its traffic split when absent."`
	Serverless leaf[string] `yaml:"serverless" env:"SERVERLESS" doc:"A serverless endpoint in the workspace."`
	Workspace  leaf[string] `yaml:"workspace" doc:"Which of workspaces it is in; the one that the environment names when absent."`
	URL        leaf[string] `yaml:"url" env:"URL" doc:"The address of any scoring endpoint."`

	Auth             leaf[string]       `yaml:"auth" env:"AUTH" oneof:"auto,none,key,token,entra" doc:"auto, the default, asks the workspace. With url: none, key or entra, required."`
	Key              leaf[secret.Value] `yaml:"key" env:"KEY" doc:"The key, with url and auth: key."`
	KeyFile          leaf[string]       `yaml:"key_file" doc:"The file that holds it, instead; relative to the routes file."`
	SecondaryKey     leaf[secret.Value] `yaml:"secondary_key" env:"SECONDARY_KEY" doc:"The key to use when the first is rejected."`
	SecondaryKeyFile leaf[string]       `yaml:"secondary_key_file" doc:"The file that holds it, instead."`

	TLS *rawTLS `yaml:"tls" doc:"What TLS it is called with; as everything else when absent."`
}

// A rawTLS is for the file alone, and so are its keys.
type rawTLS struct {
	at string

	CAFile     leaf[string] `yaml:"ca_file" doc:"Roots (PEM) to trust instead of all others; relative to the routes file, as are the next two. Read again when they change."`
	CertFile   leaf[string] `yaml:"cert_file" doc:"Certificate chain (PEM) to show to the endpoint; needs key_file."`
	KeyFile    leaf[string] `yaml:"key_file" doc:"Private key (PEM) of that certificate."`
	ServerName leaf[string] `yaml:"server_name" doc:"The name that the endpoint's certificate must be for; the host of its address when absent."`
}

// places are where its values were written.
func (t *rawTarget) places() []string {
	all := []string{
		t.Service.at, t.Endpoint.at, t.Deployment.at, t.Serverless.at, t.Workspace.at, t.URL.at,
		t.Auth.at, t.Key.at, t.KeyFile.at, t.SecondaryKey.at, t.SecondaryKeyFile.at,
	}
	if t.TLS != nil {
		all = append(all, t.TLS.at)
	}
	return slices.DeleteFunc(all, func(at string) bool { return at == "" })
}

// A rawBackend is one of several targets. Its env tags mean nothing: a list of
// mappings is for the file alone.
type rawBackend struct {
	at string

	rawTarget
}

// A rawFile is the routes file, or what the environment says instead of it.
type rawFile struct {
	Workspaces leaf[[]rawWorkspace] `yaml:"workspaces" doc:"Workspaces besides the one that the environment names: a mapping of names, made of lower-case letters, digits and hyphens, to the keys below."`
	Routes     leaf[[]rawRoute]     `yaml:"routes" doc:"What is served: a list of mappings with the keys below. Required."`
}

// A rawWorkspace is one of the named workspaces.
type rawWorkspace struct {
	name, at string
	bad      bool // not a mapping; reported already

	SubscriptionID leaf[string] `yaml:"subscription_id" doc:"With resource_group and workspace_name: which workspace it is."`
	ResourceGroup  leaf[string] `yaml:"resource_group" doc:"See subscription_id."`
	WorkspaceName  leaf[string] `yaml:"workspace_name" doc:"See subscription_id."`
	Config         leaf[string] `yaml:"config" doc:"The workspace's config.json, instead of the three; relative to the routes file."`
}

// rawRules are the lists that an access rule is made of.
type rawRules struct {
	Groups   leaf[[]item]            `yaml:"groups" env:"GROUPS" doc:"Groups, as the groups claim has them."`
	Roles    leaf[[]item]            `yaml:"roles" env:"ROLES" doc:"Roles, as the roles claim has them."`
	Scopes   leaf[[]item]            `yaml:"scopes" env:"SCOPES" doc:"Scopes of a bearer token."`
	Emails   leaf[[]item]            `yaml:"emails" env:"EMAILS" doc:"Verified e-mail addresses."`
	Domains  leaf[[]item]            `yaml:"domains" env:"DOMAINS" doc:"Domains of verified e-mail addresses."`
	Subjects leaf[[]item]            `yaml:"subjects" doc:"Subjects (sub)."`
	Clients  leaf[[]item]            `yaml:"clients" doc:"Client IDs of the program that holds the token."`
	Claims   leaf[map[string][]item] `yaml:"claims" doc:"Any other claims: a name with a list of values."`
}

type rawAccess struct {
	at string

	rawRules
	All    *rawSection `yaml:"all" env:"-" doc:"The same lists: every one must be met as well."`
	None   *rawSection `yaml:"none" env:"-" doc:"The same lists: none may be met."`
	Public leaf[bool]  `yaml:"public" doc:"The same as public of the route."`
}

// A rawSection is the value of all and of none; they do not nest.
type rawSection struct {
	at string

	rawRules
}

type rawCORS struct {
	at string

	Origins     leaf[[]item] `yaml:"origins" env:"CORS_ORIGINS" doc:"The origins, exactly as browsers write them. Required."`
	Credentials leaf[bool]   `yaml:"credentials" doc:"true: with the session's cookie; for origins of the proxy's own site."`
}

type rawRateLimit struct {
	at string

	Requests leaf[int]           `yaml:"requests" doc:"How many requests. Required."`
	Per      leaf[time.Duration] `yaml:"per" doc:"In which time. Required."`
	Burst    leaf[int]           `yaml:"burst" doc:"How many at once; as many as requests when absent."`
	By       leaf[string]        `yaml:"by" oneof:"user,client,address,route" doc:"Who shares a limit: each user (the default), client or address, or all of the route."`
}

// fileKeys are the keys of a route that only the file can say.
func fileKeys() []string {
	var keys []string
	for f := range fields(reflect.TypeFor[rawRoute]()) {
		if f.Tag.Get("env") == "" {
			keys = append(keys, f.Tag.Get("yaml"))
		}
		if isSection(f.Type) {
			for g := range fields(f.Type.Elem()) {
				if g.Tag.Get("env") == "" || g.Tag.Get("env") == "-" {
					keys = append(keys, f.Tag.Get("yaml")+"_"+g.Tag.Get("yaml"), g.Tag.Get("yaml"))
				}
			}
		}
	}
	return keys
}

// envRoute reads one route from the environment; family ends in its number.
func (e *environment) envRoute(family string) rawRoute {
	var r rawRoute
	r.at = cmp.Or(e.fill(reflect.ValueOf(&r).Elem(), family), family+"NAME")
	return r
}

// fill sets the leaves whose settings are there, making the sections that are
// needed for it. It returns the first of these settings, "" when there is none.
func (e *environment) fill(v reflect.Value, prefix string) (first string) {
	for f := range fields(v.Type()) {
		name, field := f.Tag.Get("env"), v.FieldByIndex(f.Index)
		switch {
		case name == "" && isSection(f.Type):
			section := reflect.New(f.Type.Elem())
			if at := e.fill(section.Elem(), prefix); at != "" {
				place(section, at)
				field.Set(section)
				first = cmp.Or(first, at)
			}
		case name != "" && name != "-" && e.seen[prefix+name]:
			first = cmp.Or(first, prefix+name)
			e.setLeaf(field.Addr().Interface(), prefix+name)
		}
	}
	return first
}

// place says where a section was written.
func place(section reflect.Value, at string) {
	switch s := section.Interface().(type) {
	case *rawRoute:
		s.at = at
	case *rawBackend:
		s.at = at
	case *rawAccess:
		s.at = at
	case *rawSection:
		s.at = at
	case *rawCORS:
		s.at = at
	case *rawTLS:
		s.at = at
	case *rawRateLimit:
		s.at = at
	}
}

// setLeaf reads one value of a route from the environment.
func (e *environment) setLeaf(dst any, name string) {
	text, ok := e.values[name]
	var err error
	switch l := dst.(type) {
	case *leaf[string]:
		*l = leaf[string]{text, name, !ok}
	case *leaf[secret.Value]:
		*l = leaf[secret.Value]{secret.New(text), name, !ok}
	case *leaf[bool]:
		err = readLeaf(l, text, name, ok, parseBool)
	case *leaf[Size]:
		err = readLeaf(l, text, name, ok, parseSize)
	case *leaf[time.Duration]:
		err = readLeaf(l, text, name, ok, parseDuration)
	case *leaf[[]item]:
		err = readLeaf(l, text, name, ok, func(s string) ([]item, error) {
			list, err := parseList(s)
			var items []item
			for _, v := range list {
				items = append(items, item{v, name})
			}
			return items, err
		})
	}
	if err != nil {
		e.add(name, err.Error())
	}
}

func readLeaf[T any](l *leaf[T], text, at string, ok bool, parse func(string) (T, error)) (err error) {
	l.at = at
	if ok {
		l.v, err = parse(text)
	}
	l.bad = !ok || err != nil
	return err
}
