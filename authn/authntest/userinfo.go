package authntest

import "net/http"

// userinfo is op's, with the challenges that RFC 6750 section 3 asks for.
func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) {
	a := hold(http.HandlerFunc(p.op.userinfo), r)
	if a.status >= http.StatusBadRequest {
		code := "invalid_token"
		if body, ok := a.object(); ok && body["error"] == "insufficient_scope" {
			code = "insufficient_scope"
		} else {
			a.status = http.StatusUnauthorized
		}
		a.header.Set("WWW-Authenticate", `Bearer error="`+code+`"`)
	}
	a.header.Set("Cache-Control", "no-store")
	a.send(w)
}
