package proxy

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the style and the script
	"encoding/base64"

	g "maragu.dev/gomponents"

	"amlproxy/authn"
)

var (
	//go:embed pages/style.css
	styleCSS string
	//go:embed pages/models.js
	modelsJS string
)

// pages are what people see: one family, complete in itself. A page loads nothing
// but the models' own descriptions, and runs nothing but the script that its
// policy names by its hash; so text that finds its way in stays text.
type pages struct {
	policy string // Content-Security-Policy
}

func newPages() *pages {
	return &pages{policy: "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; " +
		"connect-src 'self'; img-src data:; style-src " + hashOf(styleCSS) + "; script-src " + hashOf(modelsJS)}
}

func hashOf(inline string) string {
	sum := sha256.Sum256([]byte(inline))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// A page is what its markup is made of.
type page struct {
	title  string
	script string // empty: the page has none
	person string // who is signed in, if it is known
	login  bool   // people can sign in and out here

	detail    string // of a refusal
	requestID string
	status    int
	signIn    string // where to: a path of ours
	signedOut bool   // just now

	models []listed
}

func (p *pages) models(id *authn.Identity, login bool, models []listed) []byte {
	told := page{title: "Models", script: modelsJS, person: signedInAs(id), login: login, models: models}
	return told.around(told.modelCards())
}

func (p *pages) signIn(id *authn.Identity, to string, signedOut bool) []byte {
	told := page{title: "Sign in", person: signedInAs(id), login: true, signIn: to, signedOut: signedOut}
	if signedOut {
		told.title = "You have signed out"
	}
	return told.around(told.signInCard())
}

func (p *pages) refusal(x *exchange, no *refusal) []byte {
	told := page{title: no.title, detail: no.detail, requestID: x.record.RequestID, status: no.status}
	told.login = x.p.login != nil
	told.person = signedInAs(x.record.Identity)
	if told.login && (no.login || no.problem == "login-failed" || no.problem == "login-loop" || no.problem == "not-allowed") {
		told.signIn = "/oauth2/sign_in"
	}
	return told.around(told.refusalCard())
}

// around puts what all pages have around the content of one.
func (p page) around(content g.Node) []byte {
	var b bytes.Buffer
	_ = p.document(content).Render(&b) // a buffer takes everything
	return b.Bytes()
}

// signedInAs returns how to call a person.
func signedInAs(id *authn.Identity) string {
	if id == nil {
		return ""
	}
	for _, name := range []string{id.Name, id.Username, id.Email, id.Subject} {
		if name != "" {
			return name
		}
	}
	return ""
}
