package azureml

import (
	"fmt"
	"strings"
)

// region returns where the workspace is, as far as its hosts had to be
// discovered: a call for this alone would need a permission that endpoints do not.
func (w *Workspace) region() string {
	w.hosts.mu.Lock()
	defer w.hosts.mu.Unlock()
	return w.hosts.known.region
}

// compareRegions has the operator told, once, when the endpoint is in another
// region than its workspace. The workspace issues the tokens and lists the keys
// whatever region the endpoint is in: its outage becomes the endpoint's, and each
// renewal crosses the distance.
func (s *source) compareRegions(at place) {
	workspace := s.w.region()
	if s.w.notice == nil || at.region == "" || workspace == "" || sameRegion(at.region, workspace) {
		return
	}
	s.mu.Lock()
	first := !s.told
	s.told = true
	s.mu.Unlock()
	if first {
		s.w.notice(fmt.Sprintf("%s is in %s and its workspace in %s: its credentials can be renewed only while %[3]s is up, and come from there",
			s.what, tidy(at.region), tidy(workspace)))
	}
}

// sameRegion compares names as Azure writes them: "westeurope", "West Europe".
func sameRegion(a, b string) bool {
	plain := func(name string) string { return strings.ToLower(strings.ReplaceAll(name, " ", "")) }
	return plain(a) == plain(b)
}
