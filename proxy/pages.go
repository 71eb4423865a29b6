package proxy

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the pages
	"encoding/base64"
	"fmt"
	"html/template"

	"amlproxy/authn"
)

var (
	//go:embed pages/pages.html
	pagesHTML string
	//go:embed pages/style.css
	styleCSS string
	//go:embed pages/models.js
	modelsJS string
)

// pages are what people see: one family, complete in itself. A page loads nothing
// but the models' own descriptions, and runs nothing but the script that its
// policy names by its hash; so text that finds its way in stays text.
type pages struct {
	templates *template.Template
	policy    string // Content-Security-Policy
}

func newPages() (*pages, error) {
	templates, err := template.New("").Parse(pagesHTML)
	if err != nil {
		return nil, fmt.Errorf("parsing the pages: %w", err)
	}
	return &pages{templates: templates, policy: "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; " +
		"connect-src 'self'; img-src data:; style-src " + hashOf(styleCSS) + "; script-src " + hashOf(modelsJS)}, nil
}

func hashOf(inline string) string {
	sum := sha256.Sum256([]byte(inline))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// A page is what the templates are given.
type page struct {
	Title  string
	Style  template.CSS
	Script template.JS // empty: the page has none
	Person string      // who is signed in, if it is known
	Login  bool        // people can sign in and out here

	Detail    string // of a refusal
	RequestID string
	Status    int
	SignIn    string // where to
	SignedOut bool   // just now

	Models []listed
}

func (p *pages) models(id *authn.Identity, login bool, models []listed) []byte {
	return p.render("models", page{Title: "Models", Script: template.JS(modelsJS), Person: signedInAs(id), Login: login, Models: models}) //nolint:gosec // our own file
}

func (p *pages) signIn(id *authn.Identity, to string, signedOut bool) []byte {
	title := "Sign in"
	if signedOut {
		title = "You have signed out"
	}
	return p.render("sign-in", page{Title: title, Person: signedInAs(id), Login: true, SignIn: to, SignedOut: signedOut})
}

func (p *pages) refusal(x *exchange, no *refusal) []byte {
	told := page{Title: no.title, Detail: no.detail, RequestID: x.record.RequestID, Status: no.status}
	told.Login = x.p.login != nil
	told.Person = signedInAs(x.record.Identity)
	if told.Login && (no.login || no.problem == "login-failed" || no.problem == "login-loop" || no.problem == "not-allowed") {
		told.SignIn = "/oauth2/sign_in"
	}
	return p.render("refusal", told)
}

// render fills a template. The templates are fixed and every page is rendered by a
// test; should one fail all the same, the caller still gets an answer.
func (p *pages) render(name string, data page) []byte {
	data.Style = template.CSS(styleCSS) //nolint:gosec // our own file
	var b bytes.Buffer
	if err := p.templates.ExecuteTemplate(&b, name, data); err != nil {
		return []byte("<!doctype html><title>amlproxy</title><p>This page could not be made.")
	}
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
