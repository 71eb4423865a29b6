package proxy

import (
	"net/http"
	"strings"
)

// keepPrivate makes an answer one for this caller alone. A model knows nothing of
// callers, and says "public" of what only some may see; a shared cache would then
// hand it to anybody. How long the caller's own cache keeps it is the model's to
// say, and without a word of the model nothing is kept.
func keepPrivate(h http.Header) {
	if said := h["Cache-Control"]; len(said) == 0 {
		h["Cache-Control"] = noStore
	} else {
		h.Set("Cache-Control", private(strings.ToLower(strings.Join(said, ","))))
	}
	h["Vary"] = join(h["Vary"], byCaller)
}

// forCaches reports whether a field goes before Cache-Control in some cache (RFC
// 9213), or is all that one of HTTP/1.0 knows. No answer that is one caller's has one.
func forCaches(name string) bool {
	switch name {
	case "Surrogate-Control", "Edge-Control", "Expires":
		return true
	}
	return strings.HasSuffix(name, "Cdn-Cache-Control")
}

// private returns what is left of the model's directives (RFC 9111 section 5.2.2).
func private(said string) string {
	// A quoted value may hold a comma, and private="field" means that field alone.
	if strings.Trim(said, " ,") == "" || strings.Contains(said, `"`) {
		return "no-store"
	}
	kept := []string{"private"}
	for directive := range strings.SplitSeq(said, ",") {
		directive = strings.TrimSpace(directive)
		switch name, _, _ := strings.Cut(directive, "="); name {
		case "no-store":
			return "no-store"
		case "max-age", "no-cache", "must-revalidate", "no-transform", "immutable":
			kept = append(kept, directive)
		}
	}
	return strings.Join(kept, ", ")
}
