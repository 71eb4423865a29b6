package authntest

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
)

//go:embed pages
var pageFiles embed.FS

// The icon is part of the page, and empty but for a colour.
const icon = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Ccircle cx='4' cy='4' r='4' fill='%232563eb'/%3E%3C/svg%3E"

// pages are what people see. None of them needs JavaScript.
type pages struct {
	form, relay   *template.Template
	style, script string
	policy        string // Content-Security-Policy of all pages
	relayPolicy   string // and of the one that sends itself
}

// page is one page: a form, or a text.
type page struct {
	Title, Text       string
	Form              bool
	Username, Mistake string
	Notes             []string
}

func newPages() (*pages, error) {
	t, err := template.ParseFS(pageFiles, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	style, err := pageFiles.ReadFile("pages/style.css")
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	script, err := pageFiles.ReadFile("pages/relay.js")
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	p := &pages{form: t.Lookup("page.html"), relay: t.Lookup("relay.html"), style: string(style), script: string(script)}
	// form-action names no host: browsers apply it to the redirects after the form
	// too, which lead to the client and from there wherever it wants. It still keeps out javascript:.
	p.policy = "default-src 'none'; img-src data:; style-src " + hash(style) +
		"; form-action http: https:; base-uri 'none'; frame-ancestors 'none'"
	p.relayPolicy = p.policy + "; script-src " + hash(script)
	return p, nil
}

// hash names one inline style or script in a Content-Security-Policy.
func hash(source []byte) string {
	sum := sha256.Sum256(source)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// show answers with a page.
func (p *pages) show(w http.ResponseWriter, status int, content page) {
	p.write(w, status, p.policy, p.form, map[string]any{
		"Page": content, "Style": template.CSS(p.style), "Icon": template.URL(icon), //nolint:gosec // both are embedded in this package
	})
}

// post answers with a page that posts params to a client: OAuth 2.0 Form Post
// Response Mode. It sends itself; without JavaScript there is a button.
func (p *pages) post(w http.ResponseWriter, to string, params url.Values) {
	p.write(w, http.StatusOK, p.relayPolicy, p.relay, map[string]any{
		"To": to, "Params": params, "Style": template.CSS(p.style), "Script": template.JS(p.script), "Icon": template.URL(icon), //nolint:gosec // all three are embedded
	})
}

func (p *pages) write(w http.ResponseWriter, status int, policy string, t *template.Template, data any) {
	var body bytes.Buffer
	if err := t.Execute(&body, data); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin") // no-referrer would make the form's own Origin null
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w)
}
