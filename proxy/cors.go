package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// exposed are the fields that a page may read besides those it always may: what
// Azure ML's inference server says about a run, and what a refusal says.
var exposed = []string{"Retry-After, Traceparent, WWW-Authenticate, X-Request-Id, " +
	"X-Ms-Client-Request-Id, X-Ms-Request-Id, X-Ms-Run-Fn-Exec-Ms, X-Ms-Run-Function-Failed, X-Ms-Server-Version, " +
	"Ms-Azureml-Model-Error-Reason, Ms-Azureml-Model-Error-Statuscode"}

// Other values that answers to pages have in common; see noStore.
var (
	byOrigin  = []string{"Origin"}
	anyOrigin = []string{"*"}
	yes       = []string{"true"}
)

// preflightAge is how long a browser may remember a preflight, in seconds: short
// enough that a changed rule is followed within a coffee.
const preflightAge = "600"

// cors is a CORS made ready. A nil one lets no page of another origin read anything.
type cors struct {
	all     bool            // every origin, without credentials
	origins map[string]bool // the value: whether with credentials
	methods string
}

func newCORS(from *CORS, methods []string) (*cors, error) {
	if from == nil {
		return nil, nil
	}
	c := &cors{origins: make(map[string]bool), methods: strings.Join(methods, ", ")}
	if len(from.Origins) == 0 {
		return nil, errors.New("origins: an empty list")
	}
	for _, origin := range from.Origins {
		if origin == "*" {
			if from.Credentials || len(from.Origins) > 1 {
				return nil, errors.New(`origins: "*" stands alone and excludes credentials`)
			}
			c.all = true
			continue
		}
		if err := checkOrigin(origin); err != nil {
			return nil, err
		}
		c.origins[origin] = from.Credentials
	}
	return c, nil
}

// checkOrigin takes an origin only in the one form in which browsers write it;
// "null" is the origin of every sandboxed frame there is (CVE-2024-41657).
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || !validHost(u.Host) ||
		origin != u.Scheme+"://"+u.Host || origin != strings.ToLower(origin) {
		return fmt.Errorf("origins: %q is not scheme://host[:port] in lower case", origin)
	}
	return nil
}

// union returns what pages may read that belongs to no route: an origin of any
// route may, with credentials if one route lets it.
func union(routes []*route) *cors {
	u := &cors{origins: make(map[string]bool), methods: "GET"}
	for _, rt := range routes {
		if rt.cors == nil {
			continue
		}
		u.all = u.all || rt.cors.all
		for origin, credentials := range rt.cors.origins {
			u.origins[origin] = u.origins[origin] || credentials
		}
	}
	return u
}

// addTo adds to an answer what lets the page that asked read it; to that of a
// preflight, what the page may send. It is added to every answer, refusals included:
// a page that cannot read a 401 cannot say "sign in again".
func (c *cors) addTo(answer http.Header, r *http.Request) {
	if c == nil {
		return
	}
	origin, ok := originOf(r)
	credentials, known := c.origins[origin]
	if !c.all || len(c.origins) > 0 {
		answer["Vary"] = join(answer["Vary"], byOrigin)
	}
	switch {
	case ok && known:
		answer["Access-Control-Allow-Origin"] = r.Header["Origin"]
		if credentials {
			answer["Access-Control-Allow-Credentials"] = yes
		}
	case c.all: // without Origin too: a cache would hand that answer to a page
		answer["Access-Control-Allow-Origin"] = anyOrigin
	default:
		return
	}
	if !isPreflight(r) {
		answer["Access-Control-Expose-Headers"] = exposed
		return
	}
	answer.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	answer.Set("Access-Control-Allow-Methods", c.methods)
	answer.Set("Access-Control-Max-Age", preflightAge)
	if asked := r.Header.Get("Access-Control-Request-Headers"); validNames(asked) {
		// Whatever a page may send, a program may send too; what must not reach the
		// model is removed on the way there.
		answer.Set("Access-Control-Allow-Headers", asked)
	}
}

func validNames(list string) bool {
	if list == "" || len(list) > 1024 {
		return false
	}
	for name := range strings.SplitSeq(list, ",") {
		if !httpguts.ValidHeaderFieldName(strings.TrimSpace(name)) {
			return false
		}
	}
	return true
}

// isPreflight reports whether r is a CORS preflight as the Fetch standard defines it.
func isPreflight(r *http.Request) bool {
	_, ok := originOf(r)
	return ok && r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
}

// originOf returns the one Origin of r. Two of them are none: which one a browser
// would then have meant cannot be known.
func originOf(r *http.Request) (string, bool) {
	all := r.Header["Origin"]
	if len(all) != 1 || all[0] == "" {
		return "", false
	}
	return all[0], true
}
