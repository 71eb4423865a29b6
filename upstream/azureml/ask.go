package azureml

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"

	"amlproxy/internal/secret"
)

const apiVersion = "2024-04-01"

// A question is one call to the workspace.
type question struct {
	op     string // "listing the keys of service diabetes"
	method string
	url    string
	action string // the permission it needs ...
	scope  string // ... and the ARM id it is needed on
	body   string // JSON, or nothing
	once   bool   // it changes something: a repeat would change it again
}

// ask puts q and has parse read the answer. Every error is an *[Error].
func (w *Workspace) ask(ctx context.Context, q question, parse func([]byte) error) error {
	return w.askThrough(ctx, w.send, q, parse)
}

func (w *Workspace) askThrough(ctx context.Context, send sender, q question, parse func([]byte) error) error {
	got, err := w.call(ctx, send, q)
	if err != nil {
		return err
	}
	if err := parse(got.body); err != nil {
		return &Error{Op: q.op, Status: got.status, Err: err}
	}
	return nil
}

// call puts q and returns an answer that is 2xx.
func (w *Workspace) call(ctx context.Context, send sender, q question) (reply, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, fmt.Errorf("no answer within %s: %w", callTimeout, context.DeadlineExceeded))
	defer cancel()
	if q.once {
		// azcore may repeat what was performed and whose answer was lost.
		ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
	}
	got, err := w.put(ctx, send, q)
	// Who answers 401 has performed nothing, so this repeat is none.
	if err == nil && got.status == http.StatusUnauthorized && w.reject(ctx, got.sent) {
		got, err = w.put(ctx, send, q)
	}
	if err == nil && (got.status < 200 || got.status > 299) {
		err = w.refusal(q, got)
	}
	return got, err
}

// A reply is what came back.
type reply struct {
	status int
	header http.Header
	body   []byte
	sent   secret.Value // the token that was sent, if any
}

// put sends q once, as far as this package is concerned.
func (w *Workspace) put(ctx context.Context, send sender, q question) (reply, error) {
	req, err := runtime.NewRequest(ctx, q.method, q.url)
	if err != nil {
		return reply{}, &Error{Op: q.op, Err: err}
	}
	req.Raw().Header.Set("Accept", "application/json")
	if q.body != "" {
		if err := req.SetBody(streaming.NopCloser(strings.NewReader(q.body)), "application/json"); err != nil {
			return reply{}, &Error{Op: q.op, Err: err}
		}
	}
	resp, err := send(req)
	if err != nil {
		return reply{}, q.unanswered(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := runtime.Payload(resp)
	if err != nil {
		return reply{}, q.unanswered(ctx, err)
	}
	got := reply{status: resp.StatusCode, header: resp.Header, body: body}
	if resp.Request != nil {
		got.sent = secret.New(strings.TrimPrefix(resp.Request.Header.Get("Authorization"), "Bearer "))
	}
	return got, nil
}

// unanswered makes the error of a question without an answer.
func (q question) unanswered(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	e := &Error{Op: q.op, Err: err}
	var large tooLargeError
	if errors.As(err, &large) {
		e.Status = large.status
	}
	// Entra's refusal is the one to show: it has the status and the code.
	var identity *Error
	if errors.As(err, &identity) {
		e.Err = identity
	}
	return e
}

// reject replaces the identity's token that was answered 401: Entra may have
// revoked it, and azcore alone would use it until it expires. It reports whether
// there is another one.
func (w *Workspace) reject(ctx context.Context, sent secret.Value) bool {
	if sent.IsZero() {
		return false
	}
	next, err := w.identity.get(ctx, w.armToken, sent)
	return err == nil && !next.value.Equal(sent)
}
