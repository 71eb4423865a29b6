package proxy

import (
	"net/http"
	"strings"
)

// A listed model is one that the caller may call.
type listed struct {
	Name    string `json:"name"`
	Path    string `json:"path"`
	Score   string `json:"score_url"`
	Swagger string `json:"swagger_url"`
}

// serveList answers "/" unless a route takes it: the models that the caller may
// call. Without a login there is no way to become somebody here, so that a caller
// without a credential sees what is open to everyone.
func (p *Proxy) serveList(x *exchange) *refusal {
	if x.target.path != "/" {
		return notFound()
	}
	x.record.Endpoint = "models"
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		return methodNotAllowed("GET, HEAD")
	}
	id, no := p.authenticate(x)
	if no != nil && (!no.login || p.login != nil) {
		return no
	}
	models := []listed{}
	for _, rt := range p.table.Load().sorted {
		if rt.public || rt.access.allows(id) {
			models = append(models, p.listed(rt))
		}
	}
	if prefersHTML(x.r.Header) {
		x.write(http.StatusOK, typeHTML, p.pages.models(id, p.login != nil, models))
		return nil
	}
	x.writeJSON(http.StatusOK, map[string]any{"models": models})
	return nil
}

func (p *Proxy) listed(rt *route) listed {
	base := ""
	if p.publicURL != nil {
		base = originOfURL(p.publicURL)
	}
	if rt.elsewhere {
		base = p.publicURL.Scheme + "://" + rt.host
	}
	below := strings.TrimSuffix(rt.path, "/")
	return listed{Name: rt.name, Path: rt.path, Score: base + below + "/score", Swagger: base + below + "/swagger.json"}
}
