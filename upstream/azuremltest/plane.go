package azuremltest

import (
	"net/http"
	"strings"
)

// A plane is one of the three hosts on which Azure answers calls about the
// workspace: its operations, counted and spoiled on the way in.
type plane struct {
	azure *Azure
	name  string
	fail  shape
	mux   *http.ServeMux
}

func newPlane(a *Azure, name string, fail shape) *plane {
	p := &plane{azure: a, name: name, fail: fail, mux: http.NewServeMux()}
	p.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.serve(w, r, "unknown "+r.Method+" "+r.URL.Path, func(*http.Request) answer {
			return fail(http.StatusNotFound, "NotFound", "The request "+r.Method+" "+r.URL.Path+" is not known here.")
		})
	})
	return p
}

// on adds an operation. A name that ends in a slash is completed by what the
// pattern calls {name}.
func (p *plane) on(pattern, name string, do operation) {
	p.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		op := name
		if strings.HasSuffix(op, "/") {
			op += r.PathValue("name")
		}
		p.serve(w, r, op, do)
	})
}

func (p *plane) serve(w http.ResponseWriter, r *http.Request, op string, do operation) {
	p.azure.counts.add(op)
	p.azure.faults.take(p.name, op).serve(w, r, p.azure.clock, p.fail, do)
}

// checkBearer says why a bearer token is not accepted by ARM or by model
// management, in ARM's words; ok if it is.
func (a *Azure) checkBearer(r *http.Request) (code, message string, ok bool) {
	text, isBearer := bearer(r)
	if !isBearer {
		return "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.", false
	}
	t, known := a.mint.find(text)
	switch {
	case !known:
		return "InvalidAuthenticationToken", "The access token is invalid.", false
	case !a.clock.Now().Before(t.expires):
		return "ExpiredAuthenticationToken", "The access token expiry is in the past.", false
	case !sameAudience(t.audience, a.options.ARMAudience):
		return "InvalidAuthenticationTokenAudience", "The access token has been obtained for wrong audience or resource '" + t.audience +
			"'. It should exactly match with one of the allowed audiences '" + a.options.ARMAudience + "'.", false
	}
	return "", "", true
}

// bearer returns the token of the one Authorization field, whose scheme is
// compared without case (RFC 9110, section 11.1).
func bearer(r *http.Request) (string, bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, credential, found := strings.Cut(values[0], " ")
	return credential, found && strings.EqualFold(scheme, "Bearer") && credential != ""
}

// challenge is what ARM and model management ask for with a 401. It names no
// claims: those would be a challenge of continuous access evaluation.
func (a *Azure) challenge(code string) string {
	return `Bearer authorization_uri="` + a.entra.url + "/" + a.options.Tenant + `", error="invalid_token", error_description="` + code + `"`
}
