package app

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"amlproxy/internal/config"
)

const (
	whichWorkspace = config.Prefix + "WORKSPACE_CONFIG"
	noWorkspace    = "is not set, and there is %w: download it from the portal into the folder that amlproxy " +
		"is started in, or set AMLPROXY_SUBSCRIPTION_ID, AMLPROXY_RESOURCE_GROUP and AMLPROXY_WORKSPACE_NAME"
)

// Load is [config.Load], and tells of a config.json that is missing together with
// all other mistakes: the settings do not know where it is looked for.
func Load(environ []string) (*config.Settings, error) {
	s, err := config.Load(environ)
	var all *config.Error
	if !errors.As(err, &all) || !all.Adrift {
		return s, err
	}
	if _, missing := Locate(config.Workspace{}); errors.Is(missing, fs.ErrNotExist) {
		all.Problems = slices.Insert(all.Problems, settingsBefore(all.Problems, whichWorkspace), config.Problem{
			Where: whichWorkspace, What: fmt.Errorf(noWorkspace, missing).Error(),
		})
	}
	return s, err
}

// settingsBefore counts the problems whose place is a setting before name. Those in
// files come after all settings.
func settingsBefore(problems []config.Problem, name string) int {
	n := slices.IndexFunc(problems, func(p config.Problem) bool {
		return strings.Contains(p.Where, ":") || p.Where > name
	})
	if n < 0 {
		return len(problems)
	}
	return n
}
