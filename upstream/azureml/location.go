package azureml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const configLimit = 1 << 20 // bytes of a config.json

// A Location names a workspace.
type Location struct {
	SubscriptionID, ResourceGroup, Workspace string

	File string // where it was read; empty when it was not in a file
}

// ID returns the workspace's ARM id.
func (l Location) ID() string {
	return "/subscriptions/" + l.SubscriptionID + "/resourceGroups/" + l.ResourceGroup +
		"/providers/Microsoft.MachineLearningServices/workspaces/" + l.Workspace
}

// check names everything that is missing, at once.
func (l Location) check() error {
	return errors.Join(
		checkName("subscription ID", l.SubscriptionID),
		checkName("resource group", l.ResourceGroup),
		checkName("workspace name", l.Workspace),
	)
}

// FindConfig finds the workspace's config.json as the Python SDK does: in
// .azureml, then in aml_config, then in the folder itself, config.json before
// project.json, each in path and then in all folders above it. When path is a
// file, it is that one. The error is [fs.ErrNotExist] when there is none; the
// first one found counts, even if it makes no sense.
func FindConfig(path string) (Location, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Location{}, fmt.Errorf("finding the workspace's config.json: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return readConfig(path)
	}
	for _, folder := range []string{".azureml", "aml_config", ""} {
		for _, name := range []string{"config.json", "project.json"} {
			if file := findUp(path, filepath.Join(folder, name)); file != "" {
				return readConfig(file)
			}
		}
	}
	return Location{}, fmt.Errorf("no config.json of a workspace in %s or above: %w", path, fs.ErrNotExist)
}

// findUp returns the file called name in dir or the nearest folder above it.
func findUp(dir, name string) string {
	for {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

func readConfig(file string) (Location, error) {
	f, err := os.Open(file)
	if err != nil {
		return Location{}, fmt.Errorf("reading the workspace's config: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, configLimit+1))
	if err != nil {
		return Location{}, fmt.Errorf("reading the workspace's config: %w", err)
	}
	if len(data) > configLimit {
		return Location{}, fmt.Errorf("%s: larger than %d bytes", file, configLimit)
	}
	return ParseConfig(file, data)
}

// ParseConfig reads a config.json: the keys subscription_id, resource_group and
// workspace_name, or Scope, an ARM id, which wins. Errors name file.
func ParseConfig(file string, data []byte) (Location, error) {
	var c struct {
		SubscriptionID text `json:"subscription_id"`
		ResourceGroup  text `json:"resource_group"`
		Workspace      text `json:"workspace_name"`
		Scope          text `json:"Scope"`
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // PowerShell writes a byte order mark
	if err := decode(data, &c); err != nil {
		return Location{}, fmt.Errorf("%s: not a JSON object", file)
	}
	l := Location{SubscriptionID: string(c.SubscriptionID), ResourceGroup: string(c.ResourceGroup), Workspace: string(c.Workspace)}
	if c.Scope != "" {
		var err error
		if l, err = parseScope(string(c.Scope)); err != nil {
			return Location{}, fmt.Errorf("%s: %w", file, err)
		}
	}
	if err := l.check(); err != nil {
		return Location{}, fmt.Errorf("%s: %s", file, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	l.File = file
	return l, nil
}

// parseScope reads a workspace's ARM id; what follows the workspace, a project
// for instance, is left out. ARM ids are compared without case.
func parseScope(scope string) (Location, error) {
	s := strings.Split(strings.TrimPrefix(scope, "/"), "/")
	if len(s) < 8 || !strings.EqualFold(s[0], "subscriptions") || !strings.EqualFold(s[2], "resourceGroups") ||
		!strings.EqualFold(s[4], "providers") || !strings.HasPrefix(strings.ToLower(s[5]), "microsoft.machinelearning") ||
		!strings.EqualFold(s[6], "workspaces") {
		return Location{}, fmt.Errorf("the Scope %.200q is not the ARM id of a workspace", scope)
	}
	return Location{SubscriptionID: s[1], ResourceGroup: s[3], Workspace: s[7]}, nil
}
