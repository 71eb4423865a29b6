package config

import "strings"

// AdminListen reads AMLPROXY_ADMIN_LISTEN and nothing else, for a health check:
// one that judged every setting would call a proxy unhealthy that does well with
// the routes it has, while the file of the next ones is being written.
func AdminListen(environ []string) (string, error) {
	const name = "ADMIN_LISTEN"
	var own []string
	for _, entry := range environ {
		if strings.HasPrefix(entry, Prefix+name+"=") {
			own = append(own, entry)
		}
	}
	r, s := &report{}, &Settings{}
	c := &checker{environment: readEnviron(own, r), s: s}
	c.parse(s, Prefix, Prefix)
	if v, ok := c.value(name); ok {
		c.note(name, parseHostPort(v))
	}
	return s.AdminListen, r.err()
}
