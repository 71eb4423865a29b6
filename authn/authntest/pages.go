package authntest

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the style and the script
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"
)

var (
	//go:embed pages/style.css
	styleCSS string
	//go:embed pages/relay.js
	relayJS string
)

// The icon is part of the page, and empty but for a colour.
const icon = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Ccircle cx='4' cy='4' r='4' fill='%232563eb'/%3E%3C/svg%3E"

// pages are what people see. None of them needs JavaScript.
type pages struct {
	policy      string // Content-Security-Policy of all pages
	relayPolicy string // and of the one that sends itself
}

// page is one page: a form, or a text.
type page struct {
	Title, Text       string
	Form              bool
	Username, Mistake string
	Notes             []string
}

func newPages() *pages {
	// form-action names no host: browsers apply it to the redirects after the form
	// too, which lead to the client and from there wherever it wants. It still keeps out javascript:.
	policy := "default-src 'none'; img-src data:; style-src " + hash(styleCSS) +
		"; form-action http: https:; base-uri 'none'; frame-ancestors 'none'"
	return &pages{policy: policy, relayPolicy: policy + "; script-src " + hash(relayJS)}
}

// hash names one inline style or script in a Content-Security-Policy.
func hash(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// show answers with a page.
func (p *pages) show(w http.ResponseWriter, status int, content page) {
	write(w, status, p.policy, document(content.Title, "",
		paragraph(content.Text),
		g.If(content.Form, content.form()),
		notes(content.Notes),
	))
}

// post answers with a page that posts params to a client: OAuth 2.0 Form Post
// Response Mode. It sends itself; without JavaScript there is a button. The
// address is a redirect URI, which op has found registered, and http or https.
func (p *pages) post(w http.ResponseWriter, to string, params url.Values) {
	var fields g.Group
	for _, name := range slices.Sorted(maps.Keys(params)) {
		for _, value := range params[name] {
			fields = append(fields, h.Input(h.Type("hidden"), h.Name(name), h.Value(value)))
		}
	}
	write(w, http.StatusOK, p.relayPolicy, document("Signing in", relayJS,
		h.Form(h.Method("post"), h.Action(to), fields, h.Button(g.Text("Continue"))),
	))
}

func write(w http.ResponseWriter, status int, policy string, document g.Node) {
	var body bytes.Buffer
	_ = document.Render(&body) // a buffer takes everything
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "same-origin") // no-referrer would make the form's own Origin null
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w)
}
