package authntest

import "net/http"

// signOut is the end_session endpoint of OpenID Connect RP-Initiated Logout 1.0.
// op checks the hint and the return address; the browser's session is ended
// whether or not they are right, and without asking: somebody who clicked on "sign
// out" means it, and a stranger's link here costs a user a login at most.
func (p *Provider) signOut(w http.ResponseWriter, r *http.Request) {
	p.endSession(w, r)
	w.Header().Set("Cache-Control", "no-store")
	p.op.endSession(w, r)
}

// signedOut is where a sign-out ends that names no address to return to.
func (p *Provider) signedOut(w http.ResponseWriter, _ *http.Request) {
	p.pages.show(w, http.StatusOK, page{Title: "Signed out", Text: "You are no longer signed in here."})
}
