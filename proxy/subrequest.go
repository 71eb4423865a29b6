package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"amlproxy/authn"
)

// serveAuth answers the subrequest of another proxy (nginx auth_request, Traefik
// ForwardAuth, Caddy forward_auth): 202, 401 or 403, and who is calling. It never
// redirects; that is for the proxy that asked. It decides nothing else than it was
// asked for, so a parameter that it does not know is refused and not ignored: a
// restriction that is misspelt must not let everybody in (CVE-2021-21411).
func (p *Proxy) serveAuth(x *exchange) *refusal {
	rules, err := p.authRules(x.r.URL.RawQuery)
	if err != nil {
		return &refusal{status: http.StatusBadRequest, problem: "bad-query", title: "This question cannot be answered", detail: sentence(err.Error()), err: err}
	}
	id, no := p.authenticate(x)
	if no != nil {
		return no.forPrograms()
	}
	for _, rule := range rules {
		if !rule.allows(id) {
			return p.notAllowed(id, "", p.leftOut(rule.why(id), id, x.r.URL.Query()["allowed_groups"]))
		}
	}
	identityFields{user: true, email: true, groups: true}.set(x.w.Header(), "X-Auth-Request-", id)
	if single(id.Username) {
		x.w.Header().Set("X-Auth-Request-Preferred-Username", id.Username)
	}
	x.write(http.StatusAccepted, typeJSON, nil)
	return nil
}

// leftOut adds to why what the operator has to know: a session could not meet
// allowed_groups, whoever it is of, since it holds the groups that routes name.
func (p *Proxy) leftOut(why error, id *authn.Identity, lists []string) error {
	if p.keepsGroup == nil || id == nil || id.Method != authn.BySession {
		return why
	}
	for _, group := range strings.Split(strings.Join(lists, ","), ",") {
		if group != "" && !p.keepsGroup(group) {
			return fmt.Errorf("%w; sessions leave out what allowed_groups asks for, since no route names it: list it in AMLPROXY_SESSION_GROUPS", why)
		}
	}
	return why
}

// nobody is a rule that lets nobody in.
var nobody = &access{}

// authRules returns the rules that all must let the caller in. A route that is not
// there lets nobody in, and a public one anyone signed in.
func (p *Proxy) authRules(query string) ([]*access, error) {
	asked, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the query is malformed")
	}
	rules := []*access{nil} // anyone signed in
	routes := p.table.Load().byName
	for name, values := range asked {
		for _, value := range values {
			switch name {
			case "route":
				rt := routes[value]
				if rt == nil {
					rules = append(rules, nobody)
				} else {
					rules = append(rules, rt.access)
				}
			case "allowed_groups":
				rule, err := newAccess(&Access{Any: Rules{Groups: strings.Split(value, ",")}})
				if err != nil {
					rule = nobody // allowed_groups= : a list without a group
				}
				rules = append(rules, rule)
			default:
				return nil, errors.New("only route and allowed_groups can be asked for")
			}
		}
	}
	return rules, nil
}
