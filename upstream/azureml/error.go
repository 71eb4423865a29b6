package azureml

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
)

const (
	messageLimit  = 600       // bytes of a service's message in an error
	retryAfterCap = time.Hour // a longer pause would outlive the outage that asked for it
)

// An Error is a question to the workspace, or to Entra ID, that was answered with
// a refusal, with something that makes no sense, or not at all. It is for logs and
// for the operator; it holds no secret and no unparsed answer.
type Error struct {
	Op      string // "listing the keys of service diabetes"
	Status  int    // of the answer; 0 when there was none
	Code    string // the service's own: "AuthorizationFailed"
	Message string // the service's own, shortened

	// When a permission is missing: the action, the ARM scope it is missing on, and
	// the command that grants it with the least built-in role.
	Action, Scope, Grant string

	// Err is the cause; an *[upstream.RetryAfterError] when the answer was 429 or
	// 503 and said when to ask again.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": %d", e.Status)
		if e.Code == "" && e.Message == "" && e.Status >= 300 {
			b.WriteString(" " + http.StatusText(e.Status))
		}
	}
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.Grant != "" {
		fmt.Fprintf(&b, "; the action %s on %s is missing; grant it: %s", e.Action, e.Scope, e.Grant)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// refusal makes the error of an answer that is not 2xx.
func (w *Workspace) refusal(q question, got reply) *Error {
	code, message := parseError(got.body)
	if code == "" {
		code = tidy(got.header.Get("x-ms-error-code"))
	}
	// A service that echoes what it was sent must not put our token into a log.
	scrub := scrubber{got.sent}
	e := &Error{Op: q.op, Status: got.status, Code: scrub.clean(code), Message: scrub.clean(message)}
	if e.Status >= 300 && e.Status < 400 {
		e.Err = errors.New("redirects are not followed")
	}
	e.throttled(got.header)
	if e.Status == http.StatusForbidden {
		w.explain(e, q)
	}
	return e
}

// throttled notes when a 429 or a 503 said to ask again.
func (e *Error) throttled(header http.Header) {
	if e.Status != http.StatusTooManyRequests && e.Status != http.StatusServiceUnavailable {
		return
	}
	if after := retryAfter(header, time.Now()); after > 0 {
		e.Err = &upstream.RetryAfterError{After: after, Err: fmt.Errorf("asked to wait %s", after.Round(time.Second))}
	}
}

// parseError reads both shapes of an error, {"error":{"code","message"}} and
// {"code","statusCode","message"}, and Entra's {"error","error_description"}.
// What it cannot read is left out, never quoted.
func parseError(body []byte) (code, message string) {
	var flat struct {
		Error       json.RawMessage `json:"error"`
		Code        json.RawMessage `json:"code"`
		Message     json.RawMessage `json:"message"`
		Description json.RawMessage `json:"error_description"`
	}
	if json.Unmarshal(body, &flat) != nil {
		return "", ""
	}
	var inner struct {
		Code    json.RawMessage `json:"code"`
		Message json.RawMessage `json:"message"`
	}
	if json.Unmarshal(flat.Error, &inner) == nil && (inner.Code != nil || inner.Message != nil) {
		return word(inner.Code), word(inner.Message)
	}
	if name := word(flat.Error); name != "" {
		return name, word(flat.Description)
	}
	return word(flat.Code), word(flat.Message)
}

// word returns the text of a JSON string or number.
func word(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return tidy(s)
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return tidy(n.String())
	}
	return ""
}

// tidy makes foreign text one short printable line: it ends up in logs and on
// terminals.
func tidy(s string) string {
	if len(s) > messageLimit {
		s = s[:messageLimit] + "…"
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return strings.Join(strings.Fields(s), " ")
}

// A scrubber takes known secrets, and everything that looks like a JWT, out of
// foreign text.
type scrubber []secret.Value

var jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]*)*`)

func (s scrubber) clean(text string) string {
	for _, v := range s {
		if !v.IsZero() {
			text = strings.ReplaceAll(text, v.Reveal(), v.String())
			text = strings.ReplaceAll(text, url.QueryEscape(v.Reveal()), v.String())
		}
	}
	return jwt.ReplaceAllString(text, "[token]")
}

// retryAfter returns how long an answer asks to wait: in seconds or until a date
// (RFC 9110 §10.2.3), or in Azure's own milliseconds.
func retryAfter(header http.Header, now time.Time) time.Duration {
	var after time.Duration
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		after = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		after = at.Sub(now)
	} else if ms, err := strconv.ParseUint(header.Get("x-ms-retry-after-ms"), 10, 31); err == nil {
		after = time.Duration(ms) * time.Millisecond
	}
	return min(max(after, 0), retryAfterCap)
}

// failed makes the error of a token that could not be had. azidentity's own error
// prints Entra's whole answer over twenty lines; the code and the first sentence
// of it say the same.
func (t *tokens) failed(err error) error {
	t.mu.Lock()
	scrub := t.scrub
	t.mu.Unlock()
	e := &Error{Op: "asking Entra ID for a token"}
	if strings.HasPrefix(err.Error(), "ManagedIdentityCredential") {
		// It asks an address of the machine, and whatever answers there.
		e.Op = "asking the machine's managed identity for a token"
	}
	var failed *azidentity.AuthenticationFailedError
	if !errors.As(err, &failed) || failed.RawResponse == nil {
		e.Err = scrub.wrap(err)
		return e
	}
	e.Status = failed.RawResponse.StatusCode
	if body, readErr := runtime.Payload(failed.RawResponse); readErr == nil {
		e.Code, e.Message = parseError(body)
		e.Code, e.Message = scrub.clean(e.Code), scrub.clean(e.Message)
	}
	e.throttled(failed.RawResponse.Header)
	return e
}

// A scrubbedError prints its cause's text without secrets. The cause can be asked
// for with errors.Is, but not be reached: it would print them.
type scrubbedError struct {
	text string
	err  error
}

// wrap scrubs err. MSAL quotes whole an answer that it cannot read, in which
// there may be a token; that and what follows is cut off.
func (s scrubber) wrap(err error) error {
	text, _, _ := strings.Cut(err.Error(), "raw message was")
	text = strings.Join(strings.Fields(text), " ") // azidentity writes several lines
	return scrubbedError{s.clean(text), err}
}

func (e scrubbedError) Error() string        { return e.text }
func (e scrubbedError) Is(target error) bool { return errors.Is(e.err, target) }
