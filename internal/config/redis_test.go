package config_test

import (
	"strings"
	"testing"

	"amlproxy/internal/config"
)

func TestRedisURL(t *testing.T) {
	for value, mistake := range map[string]string{
		"redis://cache:6379": "",
		"redis://cache":      "",

		"rediss://user:s3cr3t@cache.example:6380/1": "",
		"redis://:s3cr3t@127.0.0.1:6379/0":          "",
		"http://cache:6379":                         "is not an address of Redis",
		"cache:6379":                                "is not an address of Redis",
		"redis://":                                  "is not an address of Redis",
		"redis://cache:99999":                       "port",
		"redis://cache/zero":                        "no number of a database",
		"redis://cache?max_retries=9":               "has a query",
		"redis://:s3cr3t%zz@cache":                  "is not an address of Redis",
	} {
		t.Run(value, func(t *testing.T) {
			s, err := config.Load(oneRoute("AMLPROXY_REDIS_URL=" + value))
			if mistake == "" {
				if err != nil || s.RedisURL.Reveal() != value || len(s.Notes) > 0 {
					t.Errorf("%v, notes %q", err, s.Notes)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), "AMLPROXY_REDIS_URL") || !strings.Contains(err.Error(), mistake) {
				t.Errorf("got %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "s3cr3t") {
				t.Error("the password is repeated")
			}
		})
	}
}

func TestRefreshWithoutRedisIsSaid(t *testing.T) {
	s, err := config.Load(oneRoute("AMLPROXY_OIDC_SCOPES=openid,offline_access"))
	if err != nil || len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "until it restarts") {
		t.Fatalf("%v, notes %q", err, s.Notes)
	}
	if all := strings.Join(s.Warnings, "\n"); !strings.Contains(all, "AMLPROXY_OIDC_SCOPES: asks for offline_access without AMLPROXY_REDIS_URL") {
		t.Errorf("warnings %q", s.Warnings)
	}
	s, err = config.Load(oneRoute("AMLPROXY_OIDC_SCOPES=openid,offline_access", "AMLPROXY_REDIS_URL=redis://cache"))
	if err != nil || strings.Contains(strings.Join(s.Warnings, "\n"), "offline_access") {
		t.Errorf("%v, warnings %q", err, s.Warnings)
	}
}
