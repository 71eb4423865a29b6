package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"amlproxy/internal/config"
)

// compose loads docker-compose.yml as `docker compose` would in a folder with
// these files besides it.
func compose(t *testing.T, files map[string]string) *types.Project {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"docker-compose.yml", "Dockerfile", "deploy"} {
		there, err := filepath.Abs(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(there, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	options, err := cli.NewProjectOptions([]string{filepath.Join(dir, "docker-compose.yml")},
		cli.WithWorkingDirectory(dir), cli.WithEnvFiles(), cli.WithDotEnv, cli.WithDefaultProfiles(), cli.WithConsistency(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// deployment are the files of somebody who followed .env.example and the README.
func deployment(t *testing.T) map[string]string {
	t.Helper()
	example, err := os.ReadFile("../../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		".env":          string(example),
		"client-secret": "the secret of your app registration", "cookie-secret": cookieSecret(t) + "\n",
		"routes.yaml":      block(t, string(readme), "file: routes.yaml"),
		"config.json":      `{"subscription_id": "11111111-2222-3333-4444-555555555555", "resource_group": "models", "workspace_name": "ws"}`,
		"principal-secret": "the secret of the service principal", "tls.crt": "", "tls.key": "",
	}
}

// environment returns what a replica of a service is started with, as far as it
// concerns the program, with files at their places on this machine.
func environment(t *testing.T, p *types.Project, name string) []string {
	t.Helper()
	service, err := p.GetService(name)
	if err != nil {
		t.Fatal(err)
	}
	var places []string // in the container, each followed by that on this machine
	for _, s := range service.Secrets {
		places = append(places, "/run/secrets/"+s.Source, p.Secrets[s.Source].File)
	}
	for _, c := range service.Configs {
		places = append(places, c.Target, p.Configs[c.Source].File)
	}
	var environ []string
	for key, value := range service.Environment {
		if value != nil {
			environ = append(environ, key+"="+strings.NewReplacer(places...).Replace(*value))
		}
	}
	slices.Sort(environ)
	return environ
}

func TestComposeAloneIsTheDemo(t *testing.T) {
	p := compose(t, nil)
	if names := p.ServiceNames(); !slices.Equal(names, []string{"demo"}) {
		t.Fatalf("these run: %v", names)
	}
	demo, _ := p.GetService("demo")
	if demo.GetScale() != 1 || !slices.Equal(demo.Command, []string{"demo"}) {
		t.Errorf("%d times %v", demo.GetScale(), demo.Command)
	}
	// The provider's port has to be the same inside and outside, and next to the proxy's.
	for i, want := range []string{"8080", "8081"} {
		if port := demo.Ports[i]; port.Published != want || port.Target != uint32(8080+i) || port.HostIP != "127.0.0.1" {
			t.Errorf("port %d: %+v", i, port)
		}
	}
	confined(t, demo)
}

func confined(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Privileged {
		t.Errorf("%s is not confined", s.Name)
	}
	for _, port := range s.Ports {
		if port.Target == 9090 {
			t.Errorf("%s publishes the operator's port", s.Name)
		}
	}
}

func TestComposeWithSettings(t *testing.T) {
	files := deployment(t)
	p := compose(t, files)
	running := map[string]int{}
	for name, service := range p.Services {
		confined(t, service)
		running[name] = service.GetScale()
		if published := len(service.Ports) > 0; published != (name == "nginx") && name != "demo" {
			t.Errorf("%s: ports %v", name, service.Ports)
		}
	}
	if running["demo"] != 0 || running["proxy"] != 2 || running["redis"] != 1 || running["nginx"] != 1 || len(running) != 4 {
		t.Errorf("these run: %v", running)
	}
	proxy, _ := p.GetService("proxy")
	if proxy.Build == nil || proxy.Build.Context != p.WorkingDir || proxy.Image != "amlproxy" {
		t.Errorf("built from %+v as %s", proxy.Build, proxy.Image)
	}
	environ := environment(t, p, "proxy")
	if code, out := once(t, environ, "check"); code != 0 || !strings.Contains(out, "2 routes") || strings.Contains(out, "warning") {
		t.Errorf("check: exit %d: %s\n%v", code, out, environ)
	}
	settings, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	if grace := time.Duration(*proxy.StopGracePeriod); grace <= settings.DrainDelay+settings.DrainTimeout {
		t.Errorf("killed after %v, and needs %v", grace, settings.DrainDelay+settings.DrainTimeout)
	}
	nginx, _ := p.GetService("nginx")
	if address := nginx.Networks["front"].Ipv4Address; len(settings.TrustedProxies) != 1 || settings.TrustedProxies[0].String() != address+"/32" {
		t.Errorf("%v are trusted, and nginx is %s", settings.TrustedProxies, address)
	}
	if !p.Networks["store"].Internal {
		t.Error("Redis reaches out")
	}
}

// TestComposeWithEveryLineOfTheExample has the lines too that the example leaves
// to be taken.
func TestComposeWithEveryLineOfTheExample(t *testing.T) {
	files := deployment(t)
	var lines []string
	for line := range strings.Lines(files[".env"]) {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			line = line[1:]
		}
		lines = append(lines, line)
	}
	files[".env"] = strings.Join(lines, "")
	p := compose(t, files)
	environ := environment(t, p, "proxy")
	if code, out := once(t, environ, "check"); code != 0 {
		t.Errorf("check: exit %d: %s\n%v", code, out, environ)
	}
	settings, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	if settings.Identity.ClientSecret.Reveal() != files["principal-secret"] {
		t.Error("the service principal's secret is not what its file holds")
	}
	if len(settings.TrustedProxies) != 2 {
		t.Errorf("%v are trusted: want nginx and the load balancer", settings.TrustedProxies)
	}
	nginx, _ := p.GetService("nginx")
	if nginx.Ports[0].Published != "443" || !strings.HasSuffix(p.Configs["front"].File, "/https.conf") {
		t.Errorf("%v %s", nginx.Ports, p.Configs["front"].File)
	}
}

// TestOneContainer is what docs/deploy.md does with one: the settings of
// .env.example, in a folder with the files that it names.
func TestOneContainer(t *testing.T) {
	dir := t.TempDir()
	files := deployment(t)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), binary, "check")
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH")}
	for line := range strings.Lines(files[".env"]) { // as --env-file reads it: no quotes, no shell
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			cmd.Env = append(cmd.Env, line)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "2 routes") {
		t.Errorf("%v: %s", err, out)
	}
}
