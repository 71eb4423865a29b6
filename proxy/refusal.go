package proxy

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A refusal is an answer that is not what the caller asked for. It has two
// audiences: everything but err is for the caller, err is for the Record alone.
type refusal struct {
	status  int
	problem string // the type of RFC 9457, and Record.Problem
	title   string
	detail  string // what the caller can do about it
	err     error

	login      bool   // signing in would help
	program    bool   // the caller is a program, whatever it says: no redirect, no page
	challenge  string // WWW-Authenticate, empty for none
	allow      string // Allow
	retryAfter time.Duration
	closing    bool // the connection cannot be used again
}

// A problem is a refusal for programs (RFC 9457). Its type is a relative
// reference on purpose: the same word in every deployment, and no promise about
// an address that is not ours.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty"`
	RequestID string `json:"request_id"`
	LoginURL  string `json:"login_url,omitempty"`
}

// refuse writes every refusal there is: for a person who can sign in, the way
// there; else problem+json for programs and a page for people.
func (x *exchange) refuse(no *refusal) {
	x.record.Problem, x.record.Err = no.problem, no.err
	x.record.Status, x.record.Upgraded = 0, false // if an upgrade failed half way
	if x.w.status != 0 {
		abort() // too late for words
	}
	// What is said, and whether it is a redirect, follows from these.
	x.w.always.Add("Vary", "Accept, Authorization, Cookie, Sec-Fetch-Mode")
	if no.login && !no.program && x.p.login != nil && navigates(x.r) {
		x.redirectToLogin()
		return
	}
	h := x.w.Header()
	setIf(h, "Www-Authenticate", no.challenge)
	setIf(h, "Allow", no.allow)
	if no.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(no.retryAfter.Seconds()))))
	}
	if no.closing && x.r.ProtoMajor == 1 {
		h.Set("Connection", "close")
	}
	if !no.program && prefersHTML(x.r.Header) {
		x.write(no.status, typeHTML, x.p.pages.refusal(x, no))
		return
	}
	told := problem{Type: no.problem, Title: no.title, Status: no.status, Detail: no.detail, RequestID: x.record.RequestID}
	if no.login && x.p.login != nil {
		// Without rd: where to return to, only the page that asked can know.
		told.LoginURL = originOfURL(x.p.publicURL) + "/oauth2/start"
	}
	body, _ := json.Marshal(told) // strings and a number: it cannot fail
	x.write(no.status, typeProblem, append(body, '\n'))
}

// redirectToLogin sends a person to sign in and then back. A POST cannot be
// repeated after the login, so it returns to the list of models.
func (x *exchange) redirectToLogin() {
	back, status := x.r.RequestURI, http.StatusFound
	if x.r.Method != http.MethodGet {
		back, status = "/", http.StatusSeeOther
	}
	h := x.w.Header()
	h.Set("Location", "/oauth2/start?rd="+url.QueryEscape(back))
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	x.w.WriteHeader(status)
}

// navigates reports whether a person waits in front of r and can be sent to sign
// in: a browser says so itself (Sec-Fetch-Mode), an older one asks for HTML. A
// script gets 401 instead, since it could do nothing with a login page.
func navigates(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return false
	}
	h := r.Header
	if h.Get("X-Requested-With") != "" || h.Get("Upgrade") != "" {
		return false
	}
	if mode := h.Get("Sec-Fetch-Mode"); mode != "" || h.Get("Sec-Fetch-Site") != "" || h.Get("Sec-Fetch-Dest") != "" {
		return mode == "navigate"
	}
	return r.Method == http.MethodGet && prefersHTML(h)
}

// prefersHTML reports whether Accept names HTML, and names no JSON that it likes
// better. "*/*" names neither: programs send it.
func prefersHTML(h http.Header) bool {
	html, data := 0.0, 0.0
	for item := range strings.SplitSeq(strings.Join(h.Values("Accept"), ","), ",") {
		name, rest, _ := strings.Cut(strings.ToLower(item), ";")
		switch strings.TrimSpace(name) {
		case "text/html", "application/xhtml+xml":
			html = max(html, quality(rest))
		case typeJSON, typeProblem:
			data = max(data, quality(rest))
		}
	}
	return html > 0 && html >= data
}

func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		if value, ok := strings.CutPrefix(strings.TrimSpace(param), "q="); ok {
			q, err := strconv.ParseFloat(value, 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}

// challenge returns a WWW-Authenticate value (RFC 6750 section 3) that also says
// where tokens come from (RFC 9728 section 5.1). Without a code it says only that
// something is missing.
func (p *Proxy) challenge(code, description, scope string) string {
	params := []string{`realm="amlproxy"`}
	for _, param := range [][2]string{{"error", code}, {"error_description", description}, {"scope", scope}, {"resource_metadata", p.metadataURL}} {
		if value := quotable(param[1]); value != "" {
			params = append(params, param[0]+`="`+value+`"`)
		}
	}
	return "Bearer " + strings.Join(params, ", ")
}

// quotable leaves of s what RFC 6750 section 3 allows between the quotes.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}

func setIf(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

// forPrograms makes a refusal one that never redirects.
func (no *refusal) forPrograms() *refusal {
	no.program = true
	return no
}
