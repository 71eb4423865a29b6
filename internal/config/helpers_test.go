package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"amlproxy/internal/config"
)

const cookieSecret = "v8Q0yM2nXk7rJ4tWb1zLh6pGd9sFaEcUiOoKqRxTmYk="

// login is an environment that is fine as soon as there is a route.
func login(more ...string) []string {
	return append([]string{
		"AMLPROXY_OIDC_ISSUER=https://idp.example.com",
		"AMLPROXY_OIDC_CLIENT_ID=amlproxy",
		"AMLPROXY_PUBLIC_URL=https://models.example.com",
		"AMLPROXY_COOKIE_SECRET=" + cookieSecret,
		"PATH=/bin", "HOME=/",
	}, more...)
}

// oneRoute is login with a route in the environment.
func oneRoute(more ...string) []string {
	return login(append([]string{"AMLPROXY_ROUTES_0_NAME=model", "AMLPROXY_ROUTES_0_SERVICE=svc"}, more...)...)
}

// set replaces settings of an environment, or adds them. "NAME" alone removes.
func set(environ []string, entries ...string) []string {
	for _, e := range entries {
		name, _, has := strings.Cut(e, "=")
		environ = slices.DeleteFunc(slices.Clone(environ), func(old string) bool { return strings.HasPrefix(old, name+"=") })
		if has {
			environ = append(environ, e)
		}
	}
	return environ
}

// routesFile writes a routes file and returns its name. A § in the text is left
// out, and where tells its place.
func routesFile(t testing.TB, text string) (name, where string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "routes.yaml")
	if before, after, ok := strings.Cut(text, "§"); ok {
		line := before[strings.LastIndexByte(before, '\n')+1:]
		where = fmt.Sprintf("%s:%d:%d", name, strings.Count(before, "\n")+1, len([]rune(line))+1)
		text = before + after
	}
	write(t, name, text)
	return name, where
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// problems loads what must not load.
func problems(t testing.TB, environ []string) []config.Problem {
	t.Helper()
	s, err := config.Load(environ)
	var e *config.Error
	if !errors.As(err, &e) || s != nil || len(e.Problems) == 0 {
		t.Fatalf("loaded, or failed with no *config.Error: %v", err)
	}
	return e.Problems
}

// refused checks that loading names a place and says something about it.
func refused(t testing.TB, environ []string, where, what string) {
	t.Helper()
	all := problems(t, environ)
	if !slices.ContainsFunc(all, func(p config.Problem) bool {
		return p.Where == where && strings.Contains(p.What, what)
	}) {
		t.Errorf("no mistake at %s with %q, but: %v", where, what, all)
	}
}

func load(t testing.TB, environ []string) *config.Settings {
	t.Helper()
	s, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
