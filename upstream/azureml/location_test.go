package azureml_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"amlproxy/upstream/azureml"
)

// place writes a config.json that names the workspace after its own path.
func place(t *testing.T, root, file string) {
	t.Helper()
	path := filepath.Join(root, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	text := object(map[string]any{"subscription_id": "s", "resource_group": "g", "workspace_name": strings.ReplaceAll(file, "/", ":")})
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConfigIsFoundAsTheSDKFindsIt(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b", "c")
	if err := os.MkdirAll(deep, 0o750); err != nil {
		t.Fatal(err)
	}
	// From the last resort to the first choice: the folder counts more than the
	// name of the file, and that more than how near it is.
	for _, file := range []string{
		"project.json", "a/b/c/project.json", "config.json", "a/b/c/config.json",
		"aml_config/project.json", "a/b/c/aml_config/project.json", "aml_config/config.json", "a/b/aml_config/config.json",
		".azureml/project.json", "a/.azureml/project.json", ".azureml/config.json", "a/b/c/.azureml/config.json",
	} {
		place(t, root, file)
		found, err := azureml.FindConfig(deep)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(file, "/", ":"); found.Workspace != want || found.File != filepath.Join(root, file) {
			t.Errorf("found %s in %s, want %s", found.Workspace, found.File, want)
		}
	}
	found, err := azureml.FindConfig(filepath.Join(root, "project.json"))
	if err != nil || found.Workspace != "project.json" {
		t.Errorf("a file was not taken for itself: %+v, %v", found, err)
	}
}

func TestAMissingConfigCanBeToldFromABrokenOne(t *testing.T) {
	dir := t.TempDir()
	if _, err := azureml.FindConfig(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := azureml.FindConfig(dir); errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), file) {
		t.Error(err)
	}
}

func TestParseConfig(t *testing.T) {
	const id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
	for text, want := range map[string]string{
		`{"subscription_id":"s","resource_group":"g","workspace_name":"w","other":[1]}`:    id,
		"\ufeff" + `{"subscription_id":"s","resource_group":"g","workspace_name":"w"}`:     id,
		`{"Scope":"` + id + `","subscription_id":"x","workspace_name":"y"}`:                id,
		`{"Scope":"` + id + `/projects/p"}`:                                                id,
		`{"Id":null,"Scope":"` + strings.ToLower(id) + `"}`:                                id,
		`{"Scope":"/subscriptions/s"}`:                                                     "not the ARM id of a workspace",
		`{"Scope":"` + strings.Replace(id, "MachineLearningServices", "Storage", 1) + `"}`: "not the ARM id of a workspace",
		`{"Scope":"` + strings.Replace(id, "/w", "/", 1) + `"}`:                            "not the ARM id of a workspace",
		`{"subscription_id":"s"}`:                                                          "the resource group is missing; the workspace name is missing",
		`{"subscription_id":"s","resource_group":"g","workspace_name":"../w"}`:             "cannot be a name",
		`{"subscription_id":1,"resource_group":null,"workspace_name":"w"}`:                 "the subscription ID is missing; the resource group is missing",
		`null`: "missing",
		`[]`:   "not a JSON object",
		``:     "not a JSON object",
	} {
		l, err := azureml.ParseConfig("some/config.json", []byte(text))
		if err != nil {
			wantText(t, err, "some/config.json: ", want)
			continue
		}
		if l.ID() != want || l.File != "some/config.json" {
			t.Errorf("%s: %+v", text, l)
		}
	}
}
