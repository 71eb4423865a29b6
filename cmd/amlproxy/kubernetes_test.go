package main_test

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"amlproxy/internal/config"
)

// A manifest is what of a Kubernetes object the test below looks at.
type manifest struct {
	Kind     string                `yaml:"kind"`
	Metadata struct{ Name string } `yaml:"metadata"`
	Spec     struct {
		Replicas     int              `yaml:"replicas"`
		MinAvailable int              `yaml:"minAvailable"`
		Selector     map[string]any   `yaml:"selector"`
		Ports        []map[string]any `yaml:"ports"`
		Template     struct {
			Metadata struct{ Labels map[string]string } `yaml:"metadata"`
			Spec     pod                                `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type pod struct {
	Grace    int `yaml:"terminationGracePeriodSeconds"`
	Security struct {
		RunAsUser int `yaml:"runAsUser"`
	} `yaml:"securityContext"`
	Containers []struct {
		Env   []struct{ Name, Value string }
		Ports []struct {
			Name string
			Port int `yaml:"containerPort"`
		}
		Startup   probe `yaml:"startupProbe"`
		Readiness probe `yaml:"readinessProbe"`
		Liveness  probe `yaml:"livenessProbe"`
		Security  struct {
			ReadOnly bool `yaml:"readOnlyRootFilesystem"`
		} `yaml:"securityContext"`
		Mounts []struct {
			Name string
			Path string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	}
	Volumes []struct{ Name string }
}

type probe struct {
	HTTP struct{ Path, Port string } `yaml:"httpGet"`
}

func manifests(t *testing.T) map[string]manifest {
	t.Helper()
	file, err := os.Open("../../deploy/kubernetes/amlproxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all := map[string]manifest{}
	for decoder := yaml.NewDecoder(file); ; {
		var m manifest
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[m.Kind] = m
	}
}

// TestKubernetesManifests starts from the manifests and the two commands of
// docs/deploy.md that make what they refer to.
func TestKubernetesManifests(t *testing.T) {
	all := manifests(t)
	deployment, p := all["Deployment"].Spec, all["Deployment"].Spec.Template.Spec
	if deployment.Replicas < 2 || all["PodDisruptionBudget"].Spec.MinAvailable != 1 || len(p.Containers) != 1 {
		t.Fatalf("%+v", all)
	}
	c := p.Containers[0]

	files := deploymentFiles(t)
	dir := t.TempDir()
	var environ []string
	for _, v := range c.Env {
		for _, mount := range c.Mounts {
			v.Value = strings.Replace(v.Value, mount.Path+"/", dir+"/", 1)
		}
		environ = append(environ, v.Name+"="+v.Value)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, out := once(t, environ, "check"); code != 0 || !strings.Contains(out, "2 routes") {
		t.Errorf("check: exit %d: %s", code, out)
	}
	settings, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	if grace, wanted := time.Duration(p.Grace)*time.Second, settings.DrainDelay+settings.DrainTimeout; grace <= wanted {
		t.Errorf("killed %v after SIGTERM, and needs %v", grace, wanted)
	}
	if p.Security.RunAsUser != 65532 || !c.Security.ReadOnly {
		t.Errorf("user %d, read-only root: %v", p.Security.RunAsUser, c.Security.ReadOnly)
	}

	ports := map[string]int{}
	for _, port := range c.Ports {
		ports[port.Name] = port.Port
	}
	if !maps.Equal(ports, map[string]int{"http": 8080, "admin": 9090}) {
		t.Errorf("ports %v", ports)
	}
	for path, probe := range map[string]probe{"/startupz": c.Startup, "/readyz": c.Readiness, "/livez": c.Liveness} {
		if probe.HTTP.Path != path || probe.HTTP.Port != "admin" {
			t.Errorf("%s is asked for at %+v", path, probe.HTTP)
		}
	}
	service := all["Service"].Spec
	if len(service.Ports) != 1 || service.Ports[0]["targetPort"] != "http" {
		t.Errorf("the Service has %v", service.Ports)
	}
	const label = "app.kubernetes.io/name"
	if service.Selector[label] != deployment.Template.Metadata.Labels[label] {
		t.Errorf("the Service selects %v, not %v", service.Selector, deployment.Template.Metadata.Labels)
	}
}

// deploymentFiles are those of the Secret and the ConfigMap.
func deploymentFiles(t *testing.T) map[string]string {
	t.Helper()
	files := deployment(t)
	maps.DeleteFunc(files, func(name, _ string) bool {
		return name != "client-secret" && name != "cookie-secret" && name != "routes.yaml" && name != "config.json"
	})
	return files
}
