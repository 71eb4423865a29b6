package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// redis judges where sessions and limits are shared, and says what follows from not sharing
// them. The URL may hold a password, so nothing of it is repeated.
func (c *checker) redis() {
	where := c.place("REDIS_URL")
	if c.s.Login() && !c.has("REDIS_URL") {
		c.s.Notes = append(c.s.Notes, where+": is not set: a back-channel logout, a sign-out and a sign-out everywhere are known to the one process that is told, until it restarts")
	}
	switch {
	case c.has("REDIS_URL"):
		c.redisURL(where, c.s.RedisURL.Reveal())
	case !c.s.Login():
	case slices.Contains(c.s.OIDCScopes, "offline_access"):
		c.warn(Prefix+"OIDC_SCOPES", "asks for offline_access without "+Prefix+"REDIS_URL: each replica then uses the refresh token by itself, which a provider that lets it work once may take for a theft; with more than one replica, share the sessions")
	}
}

// shared says so if there is nothing that replicas could share. A limit may come
// with the next routes file, so that is no mistake.
func (c *checker) shared() {
	limited := slices.ContainsFunc(c.s.Routes, func(r Route) bool { return r.RateLimit != nil })
	if c.has("REDIS_URL") && !c.s.Login() && !limited {
		c.s.Notes = append(c.s.Notes, c.place("REDIS_URL")+": nothing is shared so far: there is no login, and no route has a rate_limit")
	}
}

func (c *checker) redisURL(where, value string) {
	if value == "" {
		return
	}
	u, err := url.Parse(value)
	if err != nil || u.Opaque != "" || (u.Scheme != "redis" && u.Scheme != "rediss") || u.Hostname() == "" {
		c.add(where, "is not an address of Redis: redis://[user:password@]host[:port][/database], or rediss:// for TLS")
		return
	}
	if u.RawQuery != "" || u.Fragment != "" {
		c.add(where, "has a query or a fragment: how Redis is used is not for the address to say")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			c.add(where, "has a port that is none")
		}
	}
	if base := strings.Trim(u.Path, "/"); base != "" {
		if _, err := strconv.ParseUint(base, 10, 16); err != nil {
			c.add(where, "has a path that is no number of a database")
		}
	}
	if u.Scheme == "redis" && !loopback(u.Hostname()) && u.User != nil {
		c.warn(where, "sends its password in the clear: use rediss:// unless the network is trusted")
	}
}
