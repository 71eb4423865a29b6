package config_test

import (
	"strings"
	"testing"

	"amlproxy/internal/config"
)

func TestAdminListenIsReadAlone(t *testing.T) {
	for name, test := range map[string]struct {
		environ []string
		want    string
		mistake string
	}{
		"not set":          {nil, "127.0.0.1:9090", ""},
		"set":              {[]string{"AMLPROXY_ADMIN_LISTEN=:9191"}, ":9191", ""},
		"others are wrong": {[]string{"AMLPROXY_ADMIN_LISTEN=:9191", "AMLPROXY_LISTENN=x", "AMLPROXY_ROUTES_FILE=/nowhere"}, ":9191", ""},
		"empty":            {[]string{"AMLPROXY_ADMIN_LISTEN="}, "", "AMLPROXY_ADMIN_LISTEN"},
		"not an address":   {[]string{"AMLPROXY_ADMIN_LISTEN=9191"}, "", "AMLPROXY_ADMIN_LISTEN"},
		"set twice":        {[]string{"AMLPROXY_ADMIN_LISTEN=:1", "AMLPROXY_ADMIN_LISTEN=:2"}, "", "twice"},
		"another's name":   {[]string{"AMLPROXY_ADMIN_LISTENER=:1"}, "127.0.0.1:9090", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := config.AdminListen(test.environ)
			if test.mistake != "" {
				if err == nil || !strings.Contains(err.Error(), test.mistake) {
					t.Errorf("%q, %v; want a mistake in %s", got, err, test.mistake)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("%q, %v; want %q", got, err, test.want)
			}
		})
	}
}
