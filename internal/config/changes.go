package config

import (
	"fmt"
	"os"
	"reflect"
	"slices"

	"amlproxy/internal/secret"
)

// Files are files that settings are read from, by their names, and what tells one
// that changed from the one that was read. A file that is not there is in it too:
// it may come.
type Files map[string]string

// Format writes no name: people put a secret itself where its file belongs.
func (f Files) Format(s fmt.State, _ rune) { _, _ = fmt.Fprintf(s, "[%d files]", len(f)) }

// Stamps returns files as they are now.
func Stamps(names ...string) Files {
	f := Files{}
	for _, name := range names {
		f[name] = stamp(name)
	}
	return f
}

// Now returns the same files as they are now.
func (f Files) Now() Files {
	now := make(Files, len(f))
	for name := range f {
		now[name] = stamp(name)
	}
	return now
}

// stamp looks at the file and not at the link to it, which is what container
// platforms exchange.
func stamp(name string) string {
	info, err := os.Stat(name)
	if err != nil {
		return "none"
	}
	return fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size())
}

// remember keeps the stamp of a file that is about to be read: if it changes while it is, the
// next look at it shows that.
func (r *report) remember(name string) {
	if _, known := r.files[name]; !known && r.files != nil {
		r.files[name] = stamp(name)
	}
}

// Restart returns the names of the settings that differ between two Settings and
// that a running proxy cannot take over. All others it can: the routes, secrets
// (but for what is said here), keys and certificates.
func Restart(running, fresh *Settings) []string {
	var names []string
	for _, part := range []struct {
		prefix     string
		old, fresh reflect.Value
	}{
		{Prefix, reflect.ValueOf(running).Elem(), reflect.ValueOf(fresh).Elem()},
		{"", reflect.ValueOf(&running.Identity).Elem(), reflect.ValueOf(&fresh.Identity).Elem()},
	} {
		for f := range fields(part.old.Type()) {
			name := f.Tag.Get("env")
			if name == "" || name == "-" || f.Tag.Get("live") == "true" {
				continue
			}
			if !same(part.old.FieldByIndex(f.Index), part.fresh.FieldByIndex(f.Index)) {
				names = append(names, part.prefix+name)
			}
		}
	}
	if !reflect.DeepEqual(running.BearerIssuers, fresh.BearerIssuers) {
		names = append(names, issuersFamily+"…")
	}
	return names
}

// same compares secrets by what they hold, which reflection cannot see.
func same(a, b reflect.Value) bool {
	switch a := a.Interface().(type) {
	case secret.Value:
		return a.Equal(b.Interface().(secret.Value)) //nolint:forcetypeassert // both are the same field
	case []secret.Value:
		return slices.EqualFunc(a, b.Interface().([]secret.Value), secret.Value.Equal) //nolint:forcetypeassert // as above
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
