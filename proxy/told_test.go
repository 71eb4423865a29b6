package proxy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"amlproxy/authn"
	"amlproxy/proxy"
	"amlproxy/upstream"
)

// toldUpstream is in everything that an upstream says, and in every cause.
const toldUpstream = "CANARY"

// A reason is a request that is refused, and by what.
type reason struct {
	line   string                                      // "POST /models/m" unless set
	fields string                                      // each ends with CRLF
	body   string                                      // with its framing; "Content-Length: 2\r\n\r\n{}" unless set
	model  func(*http.Request) (*http.Response, error) // what the Transport does
	config func(*proxy.Config)                         // changes the house
	before func(t *testing.T, h *house) (undo func())  // what happens first
}

func fails(err error) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		return nil, fmt.Errorf("%w: %s", err, toldUpstream)
	}
}

// says answers with what no caller is to see.
func says(status int) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		return &http.Response{
			StatusCode: status, Header: http.Header{"X-Said": {toldUpstream}, "Www-Authenticate": {toldUpstream}}, Body: io.NopCloser(strings.NewReader(toldUpstream)), ContentLength: int64(len(toldUpstream)),
		}, nil
	}
}

// reasons has one for every problem there is.
func reasons() map[string]reason {
	const alice, withBearer = "Cookie: amlproxy=alice\r\n", "Authorization: Bearer "
	login := func(err error) func(*proxy.Config) { return func(c *proxy.Config) { c.Login = gate{err} } }
	limit := func(r *proxy.Route) func(*proxy.Config) {
		return func(c *proxy.Config) {
			c.Routes[0].RateLimit, c.Routes[0].MaxConcurrent, c.Routes[0].MaxBody, c.Routes[0].Timeout = r.RateLimit, r.MaxConcurrent, r.MaxBody, r.Timeout
		}
	}
	return map[string]reason{
		"audit-unavailable": {fields: alice, config: func(c *proxy.Config) {
			c.Admit = func(context.Context, *proxy.Record) error { return errors.New(toldUpstream) }
		}},
		"authentication-unavailable": {fields: withBearer + "provider-down\r\n"},
		"bad-body": {fields: alice, body: "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n", model: func(r *http.Request) (*http.Response, error) {
			_, err := io.Copy(io.Discard, r.Body)
			return nil, fmt.Errorf("%w: %w: %s", upstream.ErrRequestBody, err, toldUpstream)
		}},
		"bad-framing":            {fields: "Connection: Upgrade\r\nUpgrade: websocket\r\n"},
		"bad-query":              {line: "GET /oauth2/auth?allowed_group=x", fields: alice},
		"bad-target":             {line: "POST /models/m;x"},
		"credential-rejected":    {fields: alice, model: says(http.StatusUnauthorized)},
		"credential-renewing":    {fields: alice, model: fails(upstream.ErrNotReplayable)},
		"credential-unavailable": {fields: alice, model: fails(upstream.ErrNoCredential)},
		"cross-site-request":     {fields: alice + "Sec-Fetch-Site: cross-site\r\n"},
		"internal":               {fields: alice, model: func(*http.Request) (*http.Response, error) { panic(toldUpstream) }},
		"invalid-request":        {fields: withBearer + "alice\r\n" + withBearer + "alice\r\n"},
		"invalid-token":          {fields: withBearer + "expired\r\n"},
		"login-failed":           {line: "GET /oauth2/callback?code=x", config: login(&authn.Error{Kind: authn.ErrInvalid, Err: errors.New(toldUpstream)})},
		"login-loop":             {line: "GET /oauth2/start?via=public", config: login(&authn.Error{Kind: authn.ErrForbidden, Err: fmt.Errorf("%w %s", authn.ErrLoop, toldUpstream)})},
		"method-not-allowed":     {line: "DELETE /models/m"},
		"not-allowed":            {fields: "Cookie: amlproxy=eve\r\n"},
		"not-found":              {line: "GET /nothing"},
		"rate-limited":           {fields: alice, config: limit(&proxy.Route{RateLimit: &proxy.RateLimit{Requests: 1, Per: time.Hour}}), before: once},
		"request-timeout": {fields: alice, body: "Content-Length: 20000000\r\n\r\n", config: func(c *proxy.Config) { c.BodyTimeout = 50 * time.Millisecond }, model: func(r *http.Request) (*http.Response, error) {
			_, err := io.Copy(io.Discard, r.Body)
			return nil, fmt.Errorf("%w: %w: %s", upstream.ErrRequestBody, err, toldUpstream)
		}},
		"sign-in-required":     {},
		"too-large":            {fields: alice, config: limit(&proxy.Route{MaxBody: 1})},
		"too-many-at-once":     held(alice, limit(&proxy.Route{MaxConcurrent: 1})),
		"upstream-timeout":     {fields: alice, config: limit(&proxy.Route{Timeout: 30 * time.Millisecond}), model: func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }},
		"upstream-unreachable": {fields: alice, model: fails(errors.New("dialling"))},
	}
}

// once has alice call the model before.
func once(t *testing.T, h *house) (undo func()) {
	t.Helper()
	if a := h.ask(t, "POST", "/models/m", "{}", "Cookie: amlproxy=alice"); a.status != http.StatusOK {
		t.Fatal(a.Status)
	}
	return func() {}
}

// held is refused because somebody else is at the model meanwhile.
func held(fields string, config func(*proxy.Config)) reason {
	reached := make(chan struct{}, 1)
	return reason{
		fields: fields, config: config,
		model: func(r *http.Request) (*http.Response, error) {
			reached <- struct{}{}
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		before: func(t *testing.T, h *house) func() {
			t.Helper()
			c, err := net.Dial("tcp", h.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, "POST /models/m HTTP/1.1\r\nHost: x\r\nCookie: amlproxy=alice\r\nContent-Length: 0\r\n\r\n")
			<-reached
			return func() { _ = c.Close() }
		},
	}
}

// TestEveryRefusalSaysWhatToDo, to a program and to a person: what happened, what
// helps, and the id to ask with; and nothing that an upstream said, or a cause.
func TestEveryRefusalSaysWhatToDo(t *testing.T) {
	all := reasons()
	for _, problem := range proxy.Problems() {
		why, ok := all[problem]
		if !ok {
			t.Errorf("nothing here is refused as %s", problem)
			continue
		}
		for _, accept := range []string{"application/json", "text/html"} {
			t.Run(problem+" as "+accept, func(t *testing.T) {
				head, body := why.ask(t, accept, "")
				rec := head.Header.Get("X-Request-Id")
				var headers strings.Builder
				_ = head.Header.Write(&headers)
				if strings.Contains(headers.String()+body, toldUpstream) {
					t.Errorf("the upstream, or a cause, is told:\n%s\n%s", headers.String(), body)
				}
				if head.Header.Get("Cache-Control") != "no-store" || rec == "" || head.StatusCode < 400 {
					t.Errorf("%d %s", head.StatusCode, headers.String())
				}
				if accept == "text/html" {
					isPage(t, head, body)
					return
				}
				var p map[string]any
				if err := json.Unmarshal([]byte(body), &p); err != nil || head.Header.Get("Content-Type") != "application/problem+json" {
					t.Fatalf("%v %s", head.Header, body)
				}
				if p["type"] != problem || p["status"] != float64(head.StatusCode) || p["request_id"] != rec || p["title"] == "" || p["detail"] == nil {
					t.Errorf("%s", body)
				}
			})
		}
	}
}

// TestPagesMayReadEveryRefusalOfARoute if they may read its answers, and no others
// may: a page that cannot read why cannot say so.
func TestPagesMayReadEveryRefusalOfARoute(t *testing.T) {
	for problem, why := range reasons() {
		if why.line != "" && why.line != "DELETE /models/m" || problem == "bad-framing" {
			continue // it is of no route
		}
		for origin, may := range map[string]string{"https://app.example.com": "https://app.example.com", "https://evil.example": "", "null": "", "https://app.example.com.evil.example": ""} {
			head, _ := why.ask(t, "application/json", origin)
			if got := head.Header.Get("Access-Control-Allow-Origin"); got != may {
				t.Errorf("%s to %s: Access-Control-Allow-Origin %q", problem, origin, got)
			}
			if (head.Header.Get("Access-Control-Allow-Credentials") == "true") != (may != "") || strings.Contains(head.Header.Get("Access-Control-Expose-Headers"), "Retry-After") != (may != "") {
				t.Errorf("%s to %s: %v", problem, origin, head.Header)
			}
			if !strings.Contains(strings.Join(head.Header.Values("Vary"), ","), "Origin") {
				t.Errorf("%s to %s: Vary %q", problem, origin, head.Header.Values("Vary"))
			}
		}
	}
}

// isPage fails unless a page is whole, speaks, and can be used without seeing it.
func isPage(t *testing.T, head *http.Response, body string) {
	t.Helper()
	for _, want := range []string{
		`<html lang="en">`, `<meta name="viewport"`, `<main id="content">`, `<h1>`, `href="#content"`, `</html>`, `<a class="button`,
		fmt.Sprintf(`<p class="status">%d</p>`, head.StatusCode), `<code id="request-id">` + head.Header.Get("X-Request-Id") + `</code>`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	said := regexp.MustCompile(`</h1>\s*<p>([^<]{15,})</p>`).FindStringSubmatch(body)
	if said == nil || !strings.HasSuffix(said[1], ".") {
		t.Errorf("the page does not say what to do:\n%s", body)
	}
	if strings.Count(body, "<h1>") != 1 || strings.Contains(body, "<script") || strings.Contains(body, `<img`) {
		t.Errorf("%s", body)
	}
}

// ask builds a house in which the request is refused, and asks there.
func (why reason) ask(t *testing.T, accept, origin string) (*http.Response, string) {
	t.Helper()
	model := why.model
	if model == nil {
		model = says(http.StatusOK)
	}
	c := proxy.Config{Login: gate{}, ReadTimeout: 100 * time.Millisecond, Routes: []proxy.Route{{
		Name: "m", Paths: []string{"*"}, CORS: &proxy.CORS{Origins: []string{"https://app.example.com"}, Credentials: true}, Transport: roundTrip(model), Access: &proxy.Access{Any: proxy.Rules{Groups: []string{"ml-users"}}},
	}}}
	if why.config != nil {
		why.config(&c)
	}
	h := open(t, c)
	if why.before != nil {
		defer why.before(t, h)()
	}
	conn, err := net.Dial("tcp", h.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	line, body := why.line, why.body
	if line == "" {
		line = "POST /models/m"
	}
	if body == "" && !strings.HasPrefix(line, "GET ") {
		body = "Content-Length: 2\r\n\r\n{}"
	} else if body == "" {
		body = "\r\n"
	}
	if origin != "" {
		origin = "Origin: " + origin + "\r\n"
	}
	_, _ = io.WriteString(conn, line+" HTTP/1.1\r\nHost: models.example.com\r\nAccept: "+accept+"\r\n"+origin+"Connection: close\r\n"+why.fields+body)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	said, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(said)
}
